"""What is read of nnU-Net's folders, and what is refused by name."""

from __future__ import annotations

import json
import pickle
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from gridgate.data.errors import CheckpointError, ConfigError
from gridgate.networks.nnunet import nnunet_network
from gridgate.pipeline.models.importing.label_names import read_label_names, whole_labels
from gridgate.pipeline.models.importing.nnunet.architecture import architecture
from gridgate.pipeline.models.importing.nnunet.checkpoint import read_nnunet_checkpoint
from gridgate.pipeline.models.importing.nnunet.folder import read_nnunet_model
from gridgate.pipeline.models.importing.nnunet.labels import nnunet_labels
from gridgate.pipeline.models.importing.nnunet.model import (
    NnunetOptions,
    import_nnunet,
    import_parts,
)
from gridgate.pipeline.models.importing.nnunet.plan import nnunet_plan
from gridgate.pipeline.plans.plan import Plan

from .conftest import MakeModel


def plan_of(folder: Path, **options: Any) -> Plan:
    return nnunet_plan(read_nnunet_model(folder), "x", **options)


def test_a_plan_holds_what_the_folder_says(make_model: MakeModel) -> None:
    model = make_model(mirror=(1, 0), plans={"transpose_forward": [2, 0, 1]})
    plan = plan_of(model)
    assert plan.labels == ["background", "liver", "spleen"]
    assert (plan.roi_size, plan.spacing) == ([10, 12, 14], [2.0, 1.5, 1.5])
    assert plan.test_mirror_axes == [0, 1]
    assert plan.intensity == {
        "mode": "ct_zscore", "low": -180.0, "high": 320.0, "mean": 20.0, "std": 120.0
    }  # fmt: skip
    assert plan.nnunet is not None
    assert plan.nnunet["transpose"] == [2, 0, 1]
    assert plan.nnunet["orientation"] is None
    assert plan.nnunet["resampling"]["order"] == 3
    assert plan.nnunet["restoring"] == {
        "order": 1, "order_z": 0, "separate_z": None, "anisotropy": 3.0
    }  # fmt: skip
    assert plan.modality == "CT" and plan.dataset == "Dataset901_Made"
    assert plan_of(model, mirroring=False).test_mirror_axes == []
    assert (plan_of(model, orientation="lps").nnunet or {})["orientation"] == "LPS"


def test_readers_that_turn_scans(make_model: MakeModel) -> None:
    model = make_model(plans={"image_reader_writer": "NibabelIOWithReorient"})
    assert (plan_of(model).nnunet or {})["orientation"] == "RAS"


def test_channels_that_are_normalised_each_in_its_way(make_model: MakeModel) -> None:
    schemes = ["ZScoreNormalization", "NoNormalization"]
    plan = plan_of(
        make_model(channels=2, normalization_schemes=schemes, use_mask_for_norm=[True, False])
    )
    assert plan.intensity["channels"] == [{"mode": "zscore_nonzero"}, {"mode": "none"}]
    assert plan.channels == 2 and plan.modality is None


def test_a_configuration_inherits_and_lowres_is_one(make_model: MakeModel) -> None:
    lowres = {"inherits_from": "3d_fullres", "spacing": [4.0, 3.0, 3.0], "next_stage": "x"}
    model = make_model(configuration="3d_lowres")
    plans = json.loads((model / "plans.json").read_text())
    plans["configurations"]["3d_lowres"] = lowres
    (model / "plans.json").write_text(json.dumps(plans))
    plan = plan_of(model.parent)  # of the dataset's folder the one model that is run here
    assert plan.spacing == [4.0, 3.0, 3.0] and plan.roi_size == [10, 12, 14]


def test_linear_resampling_by_torch(make_model: MakeModel) -> None:
    function = "resample_torch_fornnunet"
    kwargs = {"is_seg": False, "force_separate_z": False, "memefficient_seg_resampling": False}
    plan = plan_of(make_model(resampling_fn_data=function, resampling_fn_data_kwargs=kwargs))
    assert (plan.nnunet or {})["resampling"] == {
        "order": 1, "order_z": 0, "separate_z": False, "anisotropy": 3.0
    }  # fmt: skip
    odd = make_model("odd", resampling_fn_data=function, resampling_fn_data_kwargs={"mode": "area"})
    with pytest.raises(ConfigError, match="area"):
        plan_of(odd)


def test_a_class_of_another_package_is_another_network(make_model: MakeModel) -> None:
    plans = make_model() / "plans.json"
    text = plans.read_text()
    assert text.count("dynamic_network_architectures.architectures.unet.PlainConvUNet") == 1
    plans.write_text(
        text.replace("dynamic_network_architectures.architectures.unet", "my_fork.unet")
    )
    with pytest.raises(ConfigError, match=r"the network 'my_fork\.unet\.PlainConvUNet' is not"):
        plan_of(plans.parent)


def test_the_older_form_of_plans_is_the_same_network() -> None:
    older = {
        "UNet_class_name": "PlainConvUNet",
        "UNet_base_num_features": 32,
        "unet_max_num_features": 100,
        "n_conv_per_stage_encoder": [2, 2, 2],
        "n_conv_per_stage_decoder": [2, 2],
        "pool_op_kernel_sizes": [[1, 1, 1], [1, 2, 2], [2, 2, 2]],
        "conv_kernel_sizes": [[1, 3, 3], [3, 3, 3], [3, 3, 3]],
        "patch_size": [32, 64, 64],
    }
    found = architecture(older, of="plans.json")
    options = found["options"]
    assert (found["name"], found["network"]) == ("nnunet", "PlainConvUNet")
    assert options["features_per_stage"] == [32, 64, 100] and options["n_stages"] == 3
    assert options["n_conv_per_stage"] == [2, 2, 2] and options["conv_bias"] is True
    residual = architecture({**older, "UNet_class_name": "ResidualEncoderUNet"}, of="plans.json")
    assert residual["options"]["n_blocks_per_stage"] == [2, 2, 2]


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"previous_stage": "3d_lowres"}, "second stage of a cascade"),
        ({"patch_size": [10, 12]}, "not a 3D configuration"),
        ({"preprocessor_name": "Mine"}, "preprocessor_name 'Mine'"),
        ({"resampling_fn_data": "mine"}, "resampling_fn_data 'mine'"),
        ({"normalization_schemes": ["RGBTo01Normalization"]}, "RGBTo01Normalization"),
        ({"plans": {"image_reader_writer": "NaturalImage2DIO"}}, "NaturalImage2DIO"),
        ({"plans": {"label_manager": "Mine"}}, "label_manager 'Mine'"),
        ({"architecture": {"network_class_name": "a.b.Primus"}}, "a.b.Primus"),
        ({"labels": {"background": 0, "a": 1, "b": 3}}, "without gaps"),
        ({"labels": {"background": 0, "a": [1, 2], "b": 2}}, "regions_class_order None"),
    ],
)
def test_what_is_not_run_here_is_refused_by_name(
    make_model: MakeModel, settings: dict[str, Any], told: str
) -> None:
    with pytest.raises(ConfigError, match=told):
        plan_of(make_model(**settings))


def test_folders_that_are_none(make_model: MakeModel, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="there is no such folder"):
        read_nnunet_model(tmp_path / "nowhere")
    (tmp_path / "v1").mkdir()
    with pytest.raises(ConfigError, match="no result folder of nnU-Net v2"):
        read_nnunet_model(tmp_path / "v1")
    (tmp_path / "v1" / "plans.pkl").write_bytes(b"")
    with pytest.raises(ConfigError, match="a model of nnU-Net v1"):
        read_nnunet_model(tmp_path / "v1")
    model = make_model()
    shutil.copytree(model, model.parent / "other__3d_fullres")
    with pytest.raises(ConfigError, match="holds several models"):
        read_nnunet_model(model.parent)


def test_folds_are_found_and_chosen(make_model: MakeModel) -> None:
    model = make_model(folds=3)
    assert list(read_nnunet_model(model).folds) == ["fold_0", "fold_1", "fold_2"]
    assert list(read_nnunet_model(model, folds=["2", "fold_0"]).folds) == ["fold_2", "fold_0"]
    (model / "fold_0").rename(model / "fold_all")
    assert list(read_nnunet_model(model).folds) == ["fold_1", "fold_2"]
    for fold in (1, 2):
        shutil.rmtree(model / f"fold_{fold}")
    assert list(read_nnunet_model(model).folds) == ["fold_all"]
    with pytest.raises(CheckpointError, match=r"checkpoint_final\.pth: give --checkpoint"):
        read_nnunet_model(model, checkpoint="checkpoint_best.pth")
    with pytest.raises(CheckpointError, match="there is no such checkpoint"):
        read_nnunet_model(model, folds=["7"])


class Bad:
    """What a pickle could do."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> Any:
        return (Path.touch, (self.marker,))


def test_numbers_of_numpy_are_read_and_no_object_is_made(
    make_model: MakeModel, tmp_path: Path
) -> None:
    marker = tmp_path / "touched"
    bad = make_model("bad", checkpoint={"logging": Bad(marker)})
    with pytest.raises(CheckpointError, match="holds more than tensors and numbers"):
        read_nnunet_model(bad)
    assert not marker.exists()
    odd = make_model("odd", checkpoint={"_best_ema": np.array([Bad(marker)], dtype=object)[0:1]})
    with pytest.raises(CheckpointError):
        read_nnunet_model(odd)
    assert not marker.exists()
    numbers = {"a": np.float16(0.5), "b": np.int64(3), "c": np.bool_(True), "d": np.float64("nan")}
    assert read_nnunet_model(make_model("good", checkpoint={"logging": numbers})).folds


def test_files_that_are_no_checkpoints(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint_final.pth"
    path.write_bytes(pickle.dumps({"a": 1}))
    with pytest.raises(CheckpointError, match="not a checkpoint that loads safely"):
        read_nnunet_checkpoint(path)
    torch.save({"state_dict": {}}, path)
    with pytest.raises(CheckpointError, match=r"no checkpoint of nnU-Net v2"):
        read_nnunet_checkpoint(path)


@pytest.mark.usefixtures("stand_in")
def test_nothing_is_written_when_something_does_not_fit(
    make_model: MakeModel, tmp_path: Path
) -> None:
    wrong = make_model(checkpoint={"network_weights": {"first.weight": torch.zeros(1)}})
    with pytest.raises(CheckpointError, match="not of the network that is described there"):
        import_nnunet(wrong, tmp_path / "bundle")
    assert not (tmp_path / "bundle").exists()
    (tmp_path / "bundle").mkdir()
    with pytest.raises(ConfigError, match="exists already"):
        import_nnunet(make_model("good"), tmp_path / "bundle")


def test_a_missing_package_is_named(make_model: MakeModel, tmp_path: Path) -> None:
    try:
        import dynamic_network_architectures  # noqa: F401
    except ImportError:
        with pytest.raises(ConfigError, match=r"pip install 'gridgate\[nnunet\]'"):
            import_nnunet(make_model(), tmp_path / "bundle")
    else:
        pytest.skip("the package is installed")


@pytest.mark.usefixtures("stand_in")
def test_parts_that_cannot_be_one(make_model: MakeModel, tmp_path: Path) -> None:
    one = make_model("a")
    regions = make_model("b", labels={"background": 0, "x": [1, 2], "y": 2}, order=[1, 2])
    two = make_model("c", channels=2)
    other = make_model("d", labels={"background": 0, "livre": 1})
    names = {"liver": 1, "spleen": 2}
    for second, told in (
        (regions, "its labels are regions"),
        (two, "takes 2 channels"),
        (other, "'livre' is not among those of --labels; the nearest there is 'liver'"),
    ):
        with pytest.raises(ConfigError, match=told):
            import_parts([one, second], tmp_path / "whole", NnunetOptions(), names=names)
    assert not (tmp_path / "whole").exists()


@pytest.mark.usefixtures("stand_in")
def test_labels_of_two_parts_and_of_none_are_told(
    make_model: MakeModel, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    models = [
        make_model("a", labels={"background": 0, "liver": 1, "cancer": 2}),
        make_model("b", labels={"background": 0, "pancreas": 1, "cancer": 2}),
    ]
    names = {"liver": 1, "pancreas": 2, "cancer": 3, "heart": 4}
    import_parts(models, tmp_path / "whole", NnunetOptions(), names=names)
    assert re.search("cancer: a label of .+ and .+, so it has one value", caplog.text)
    assert "no model has the label heart, so no mask will" in caplog.text


@pytest.mark.usefixtures("stand_in")
def test_settings_that_cannot_be_run_are_refused_before_anything_is_written(
    make_model: MakeModel, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match="RAZ"):
        import_nnunet(make_model(), tmp_path / "bundle", NnunetOptions(orientation="RAZ"))
    assert not (tmp_path / "bundle").exists()


def test_names_of_labels(tmp_path: Path) -> None:
    file = tmp_path / "names.json"
    file.write_text('{"1": "spleen", "2": "liver"}')
    assert read_label_names(file) == {"spleen": 1, "liver": 2}
    file.write_text('{"background": 0, "liver": 2, "spleen": 1}')
    assert whole_labels(read_label_names(file)) == ["background", "spleen", "liver"]
    for wrong in ("[]", "{}", '{"a": 1, "b": 1}', '{"a": "b"}', "x"):
        file.write_text(wrong)
        with pytest.raises(ConfigError, match=r"names\.json"):
            read_label_names(file)
    with pytest.raises(ConfigError, match="without gaps"):
        whole_labels({"a": 1, "b": 3})


def test_regions_keep_their_order() -> None:
    labels = {"background": 0, "b": [2, 3], "a": 3, "ignore": 4}
    dataset = {"labels": labels, "regions_class_order": [2, 3]}
    found = nnunet_labels(dataset, of=Path("dataset.json"))
    assert found.names == ["background", "b", "a"] and found.region_values == [2, 3]
    plain = {"labels": {"b": 2, "background": 0, "a": 1, "ignore": 3}}
    assert nnunet_labels(plain, of=Path("d")).names == ["background", "a", "b"]


@pytest.mark.usefixtures("stand_in")
def test_only_classes_of_torch_are_made_by_name() -> None:
    options: dict[str, Any] = {"strides": [[1, 1, 1]], "features_per_stage": [2]}
    for name in ("os.system", "torch.nn.functional.relu", "torch.nn.modules.x.Nothing", "Conv3d"):
        with pytest.raises(ValueError, match="no class of torch"):
            nnunet_network(
                network="PlainConvUNet",
                options={**options, "conv_op": name},
                in_channels=1,
                out_channels=2,
            )
    with pytest.raises(ValueError, match="there are PlainConvUNet"):
        nnunet_network(network="Primus", options=options, in_channels=1, out_channels=2)
