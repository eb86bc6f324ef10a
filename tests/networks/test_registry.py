"""Networks by name."""

import doctest
import inspect
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from monai.networks import nets

from gridgate import networks
from gridgate.networks import (
    NETWORKS,
    AttentionUNet,
    UNet,
    build,
    network_facts,
    network_options,
    official,
    registry,
)
from gridgate.pipeline.plans.planning import new_plan_settings


def test_builds_by_name_with_options() -> None:
    net = build("attention_unet", out_channels=3, variant="ct_single", feature_scale=32)
    assert isinstance(net, AttentionUNet) and len(net.gate4.gates) == 1
    assert net.eval()(torch.zeros(1, 1, 16, 16, 16)).shape == (1, 3, 16, 16, 16)
    assert isinstance(
        build("unet", spatial_dims=2, in_channels=2, out_channels=2, feature_scale=32), UNet
    )
    tiny = {"img_size": 32, "hidden_size": 24, "mlp_dim": 48, "num_heads": 2, "feature_size": 2}
    assert isinstance(build("unetr", out_channels=2, **tiny), nets.UNETR)


def test_unknown_network_names_the_nearest_and_lists_all() -> None:
    with pytest.raises(
        ValueError, match=r"'attention_unet'.*Known: .*attention_unet, .*unet, .*unetr"
    ) as caught:
        build("atention_unet", out_channels=2)
    assert "Did you mean 'attention_unet'" in str(caught.value)
    assert all(name in str(caught.value) for name in NETWORKS)


def test_unknown_option_names_the_nearest_and_lists_all() -> None:
    with pytest.raises(
        ValueError,
        match=r"option of the network 'unet'.*Did you mean 'feature_scale'.*align_corners",
    ):
        build("unet", out_channels=2, feature_scal=4)
    with pytest.raises(ValueError, match="Known"):
        build("unet", out_channels=2, qqqq=4)
    with pytest.raises(ValueError, match="Did you mean 'init_filters'"):
        build("SegResNet", out_channels=2, init_filter=4)


def test_the_papers_and_monais_are_there() -> None:
    papers = "unet attention_unet unetr unet_plus_plus unet_plus unet_e wide_unet uctransnet "
    papers += "transfuse transunet"
    monais = "DynUNet MedNeXt SegResNet SwinUNETR UNETR UNet VNet"
    assert set(NETWORKS) >= {*papers.split(), *monais.split()}


@pytest.mark.parametrize("name", sorted(NETWORKS))
def test_every_network_says_what_it_is(name: str) -> None:
    facts = network_facts(name)
    assert facts.title and re.search(r"\b(19|20)\d\d\b", facts.reference)
    known = network_options(name)
    for options in (facts.paper, facts.small, facts.paper_2d, facts.small_2d, facts.tiny.options):
        assert set(options or {}) <= set(known)
    for options in (facts.paper, facts.small, facts.paper_2d, facts.small_2d, facts.training):
        # plans are written as YAML and JSON: what is read back is the same
        assert json.loads(json.dumps(options)) == options


def test_facts_belong_to_their_network() -> None:
    titles = [network_facts(name).title for name in NETWORKS]
    assert len(set(titles)) == len(titles)
    assert network_facts("unet_plus").reference == network_facts("unet_plus_plus").reference
    assert network_facts("wide_unet").tiny != network_facts("unet_plus_plus").tiny
    with pytest.raises(ValueError, match="Did you mean 'unetr'"):
        network_facts("unettr")


def test_a_new_network_is_a_file_and_one_line(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """What a reader would do, tried: build, options, facts, plan and converter know it."""
    (tmp_path / "one_convolution.py").write_text(ONE_CONVOLUTION)
    monkeypatch.setattr("gridgate.networks.__path__", [*networks.__path__, str(tmp_path)])
    monkeypatch.setitem(registry._HOMES, "one_convolution", "one_convolution.OneConvolution")
    net = build("one_convolution", out_channels=3, kernel=5)
    assert net(torch.zeros(1, 1, 8, 8, 8)).shape == (1, 3, 8, 8, 8)
    assert "one_convolution" in NETWORKS and network_options("one_convolution") == {"kernel": 3}
    found, missing, unexpected = official.convert("one_convolution", net.state_dict(), kernel=5)
    assert found.keys() == net.state_dict().keys() and missing == unexpected == []
    made = new_plan_settings("one_convolution", "msd_hippocampus")
    assert made["network"] == {"name": "one_convolution", "kernel": 1}
    assert made["references"][0] == "Nobody. One convolution. 2026"
    assert made["training"]["learning_rate"] == 0.5
    assert "One convolution" in made["title"]


ONE_CONVOLUTION = """
from torch import nn
from gridgate.networks.facts import NetworkFacts, described

@described(
    NetworkFacts(
        title="One convolution",
        reference="Nobody. One convolution. 2026",
        small={"kernel": 1},
        training={"learning_rate": 0.5},
    )
)
class OneConvolution(nn.Module):
    def __init__(self, spatial_dims=3, in_channels=1, out_channels=2, *, kernel=3):
        super().__init__()
        self.divisor = (1,) * spatial_dims
        kind = nn.Conv3d if spatial_dims == 3 else nn.Conv2d
        self.convolution = kind(in_channels, out_channels, kernel, padding=kernel // 2)

    def forward(self, x):
        return self.convolution(x)
"""


@pytest.mark.parametrize("name", sorted(NETWORKS))
@pytest.mark.parametrize("spatial_dims", [2, 3])
def test_every_network_has_defaults_and_says_what_it_takes(name: str, spatial_dims: int) -> None:
    with torch.device("meta"):
        net = build(name, spatial_dims=spatial_dims, in_channels=2, out_channels=5)
        window = [96 if spatial_dims == 3 else 192] * spatial_dims
        assert len(net.divisor) == spatial_dims
        assert all(isinstance(size, int) and 96 % size == 0 for size in net.divisor)
        with torch.no_grad():
            assert net.eval()(torch.empty(1, 2, *window)).shape == (1, 5, *window)
    assert sum(getattr(net, "head_weights", (1.0,))) == pytest.approx(1)
    assert (
        "spatial_dims" not in network_options(name)
        and inspect.Parameter.empty not in network_options(name).values()
    )


def test_unet_has_the_forms_of_two_papers() -> None:
    def count(spatial_dims: int, out_channels: int, **options: Any) -> int:
        with torch.device("meta"):
            net = build("unet", spatial_dims=spatial_dims, out_channels=out_channels, **options)
        return sum(parameter.numel() for parameter in net.parameters())

    assert count(3, 4) == count(3, 4, form="oktay") == 5_888_004
    assert count(2, 1, form="zhou") == 7_759_521
    with pytest.raises(ValueError, match="oktay, zhou"):
        build("unet", out_channels=2, form="ronneberger")
    with pytest.raises(
        ValueError, match=r"feature_scale is no option of the U-Net of form 'zhou'.*dropout"
    ):
        build("unet", out_channels=2, form="zhou", feature_scale=4)


def test_networks_are_imported_without_what_only_exports_need() -> None:
    code = (
        "import sys, gridgate.networks as n; from gridgate.networks import UCTransNet, official; "
        "print(n.UCTransNet is UCTransNet, callable(official.convert), 'onnx' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.split() == ["True", "True", "False"], done.stderr


def test_the_examples_are_true() -> None:
    assert doctest.testmod(registry) == (0, 5)
