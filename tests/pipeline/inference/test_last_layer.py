"""Features blended and then classified are the blended logits; what is no last layer stays."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from monai.networks.nets import DynUNet
from torch import nn

from gridgate.pipeline.inference.last_layer import without_last_layer
from gridgate.pipeline.inference.sliding_window import SlidingWindow

ROI = (16, 16, 16)


class Net(nn.Module):
    """Few features, many classes; what comes after the last layer is said."""

    def __init__(self, after: nn.Module | None = None, **layer: Any) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.body = nn.Sequential(nn.Conv3d(1, 4, 3, padding=1), nn.InstanceNorm3d(4), nn.ReLU())
        self.head = nn.Conv3d(4, 12, 1, **layer)
        self.after = after

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.head(self.body(x))
        return logits if self.after is None else torch.as_tensor(self.after(logits))


def image() -> torch.Tensor:
    return torch.randn(1, 1, 30, 22, 20, generator=torch.Generator().manual_seed(1))


def blended_by_hand(net: nn.Module, inferer: SlidingWindow, scan: torch.Tensor) -> torch.Tensor:
    """By MONAI's own inferer, which knows of no last layer."""
    from monai.inferers import SlidingWindowInferer

    with torch.no_grad():
        plain = SlidingWindowInferer(ROI, overlap=inferer.overlaps, mode="gaussian")
        return torch.as_tensor(plain(scan, net))


@pytest.mark.parametrize("options", [{}, {"bias": False}], ids=str)
def test_scores_are_monais(options: dict[str, Any]) -> None:
    net, inferer = Net(**options).eval(), SlidingWindow(ROI, amp=False)
    assert without_last_layer(net, (1, *ROI)) is not None
    got = inferer(image(), net)
    torch.testing.assert_close(got, blended_by_hand(net, inferer, image()), rtol=0, atol=5e-5)


def test_a_network_as_nnunet_has_it() -> None:
    torch.manual_seed(0)
    net = DynUNet(
        3, 1, 20, [3, 3, 3], [1, 2, 2], [2, 2], filters=[4, 8, 8], deep_supervision=True,
        deep_supr_num=1,
    ).eval()  # fmt: skip
    found = without_last_layer(net, (1, *ROI))
    assert found is not None and found[1].classes == 20 and found[1].weight.shape == (20, 4)
    scan, inferer = image(), SlidingWindow(ROI, amp=False)
    got = inferer(scan, net)
    torch.testing.assert_close(got, blended_by_hand(net, inferer, scan), rtol=0, atol=5e-5)


def test_probabilities_are_of_the_blended_logits() -> None:
    net = Net().eval()
    logits = SlidingWindow(ROI, amp=False)(image(), net)
    chances = SlidingWindow(ROI, amp=False, probabilities=True)(image(), net)
    torch.testing.assert_close(chances, logits.softmax(1), rtol=0, atol=5e-5)


def test_where_no_window_runs_is_background() -> None:
    net, region = Net().eval(), torch.zeros(30, 22, 20, dtype=torch.bool)
    region[28, 20, 18] = True
    scores = SlidingWindow(ROI, amp=False)(image(), net, region=region)
    assert scores.shape[1] == 12
    assert (scores[0, 0, :8] == 0).all() and (scores[0, 1:, :8] == -30).all()
    none = SlidingWindow(ROI, amp=False)(image(), net, region=torch.zeros_like(region))
    assert none.shape[1] == 12 and (none.argmax(1) == 0).all()


def test_the_sums_have_as_many_channels_as_features(monkeypatch: pytest.MonkeyPatch) -> None:
    from gridgate.pipeline.inference import window_run

    made = []
    wanted = window_run.Accumulator

    def watched(*args: Any, **options: Any) -> Any:
        made.append(wanted(*args, **options).sums.shape[-1])
        return wanted(*args, **options)

    watched.bytes_needed = wanted.bytes_needed  # type: ignore[attr-defined]
    monkeypatch.setattr(window_run, "Accumulator", watched)
    net = Net().eval()
    SlidingWindow(ROI, amp=False)(image(), net)
    SlidingWindow(ROI, amp=False, mirror_axes=(0,))(image(), net)
    assert made == [4, 12], "mirrored windows are compared by their labels"


def test_the_network_stays_and_shares_its_weights() -> None:
    net = Net().eval()
    before = net(image())
    found = without_last_layer(net, (1, *ROI))
    assert found is not None
    shared = {tensor.data_ptr() for tensor in net.parameters()}
    assert all(tensor.data_ptr() in shared for tensor in found[0].parameters())
    assert torch.equal(net(image()), before)


class Twice(nn.Module):
    """The layer is used for two things."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Conv3d(1, 4, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.as_tensor(self.layer(x[:, :1] + self.layer(x).mean(1, keepdim=True)))


@pytest.mark.parametrize(
    "net",
    [
        pytest.param(Net(nn.Softmax(1)), id="softmax comes after"),
        pytest.param(Net(nn.Hardtanh()), id="clipped"),
        pytest.param(nn.Sequential(nn.Conv3d(1, 4, 3, padding=1)), id="3x3x3"),
        pytest.param(nn.Sequential(nn.Conv3d(1, 8, 1), nn.Conv3d(8, 9, 1)), id="little to save"),
        pytest.param(nn.Sequential(nn.Conv3d(2, 8, 1, groups=2)), id="groups"),
        pytest.param(Twice(), id="used twice"),
        pytest.param(nn.Conv3d(1, 4, 1), id="nothing before it"),
    ],
)
def test_what_is_no_last_layer_is_left_alone(net: nn.Module) -> None:
    assert without_last_layer(net.eval(), (1, *ROI)) is None


def test_a_network_in_training_is_not_looked_at() -> None:
    assert without_last_layer(Net().train(), (1, *ROI)) is None


def test_a_network_that_takes_only_its_own_windows_is_left_alone() -> None:
    class Fixed(Net):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            if x.shape[2:] != (64, 64, 64):
                raise IndexError("64 x 64 x 64, please")
            return super().forward(x)

    assert without_last_layer(Fixed().eval(), (1, 64, 64, 64)) is None
