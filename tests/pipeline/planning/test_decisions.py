"""Single decisions, against what a person would decide from the numbers."""

from dataclasses import replace

import pytest

from gridgate.pipeline.planning.decisions.grid import decide_spacing, half_resolution
from gridgate.pipeline.planning.decisions.intensity import (
    decide_body_threshold,
    decide_intensity,
    decide_modality,
)
from gridgate.pipeline.planning.decisions.labels import (
    decide_expected,
    decide_foreground_share,
    decide_keep_largest,
    decide_mirror_axes,
)
from gridgate.transforms.intensity import intensity_transforms

from .fingerprints import fingerprint, size

LIVER = {"liver": size()}


def test_the_spacing_is_the_median() -> None:
    found = decide_spacing(
        fingerprint([LIVER] * 3, spacing=[(1.0, 1.0, 2.0), (0.5, 0.5, 1.0), (0.8, 0.8, 1.5)])
    )
    assert found.value == [0.8, 0.8, 1.5]
    assert "median of 3 cases" in found.reason and "0.5 x 0.5 x 1 to 1 x 1 x 2 mm" in found.reason


def test_thick_slices_get_their_tenth_percentile() -> None:
    # 11 cases: the percentiles 0, 10, ..., 100 are the cases themselves
    spacing = [(0.8, 0.8, 1.0 + 0.5 * number) for number in range(11)]
    few = fingerprint([LIVER] * 11, spacing=spacing, shape=(512, 512, 90))
    assert decide_spacing(few).value == [0.8, 0.8, 1.5]
    assert "10th percentile" in decide_spacing(few).reason
    # as many slices as columns: nnU-Net's rule wants thick and few
    many = fingerprint([LIVER] * 11, spacing=spacing, shape=(512, 512, 400))
    assert decide_spacing(many).value == [0.8, 0.8, 3.5]
    # the finest scans are finer than the plane: no finer than that
    fine = [(0.8, 0.8, 0.3), (0.8, 0.8, 0.3), *[(0.8, 0.8, 5.0)] * 8]
    assert decide_spacing(
        fingerprint([LIVER] * 10, spacing=fine, shape=(512, 512, 60))
    ).value == pytest.approx([0.8, 0.8, 0.8], abs=1e-3)
    # along x as along z
    turned = fingerprint(
        [LIVER] * 11, spacing=[(z, y, x) for x, y, z in spacing], shape=(90, 512, 512)
    )
    assert decide_spacing(turned).value == [1.5, 0.8, 0.8]


def test_half_resolution_where_a_window_sees_little() -> None:
    found = fingerprint([LIVER] * 3, spacing=(0.8, 0.8, 2.5), shape=(500, 500, 100))
    half = half_resolution(found, [0.8, 0.8, 2.5], [160, 160, 80])
    assert half is not None
    assert half.value == [1.6, 1.6, 2.5]  # thick slices stay
    # 160 * 160 * 80 of 500 * 500 * 100 voxels
    assert "sees 8% of the median case of 500 x 500 x 100" in half.reason
    assert half_resolution(found, [0.8, 0.8, 2.5], [320, 320, 96]) is None
    # a window larger than the case sees all of it, and no more
    assert half_resolution(found, [0.8, 0.8, 2.5], [512, 32, 2048]) is not None


@pytest.mark.parametrize(
    ("channels", "modality", "mode"),
    [
        (["CT"], "CT", "ct_zscore"),
        (["MRI"], "MR", "zscore"),
        (["FLAIR", "T1w", "t1gd", "T2w"], "MR", "zscore"),
        (["CT", "PET"], None, "per_channel"),
        (["CT", "CT"], "CT", "ct_zscore"),
        (["noNorm"], None, "zscore"),
    ],
)
def test_modality_and_intensity(channels: list[str], modality: str | None, mode: str) -> None:
    found = fingerprint([LIVER] * 3, channels=channels)
    assert decide_modality(found).value == modality
    intensity = decide_intensity(found)
    assert intensity.value["mode"] == mode
    intensity_transforms(intensity.value)  # the transforms take it
    if mode == "ct_zscore":
        assert intensity.value == {
            "mode": "ct_zscore",
            "low": -90.0,
            "high": 210.0,
            "mean": 50.0,
            "std": 40.0,
        }
    if mode == "per_channel":
        assert [one["mode"] for one in intensity.value["channels"]] == ["ct_zscore", "zscore"]
    assert decide_body_threshold(found).value == (-500 if modality == "CT" else None)


@pytest.mark.parametrize(
    ("low", "high", "medians", "window"),
    [
        # one bone among soft tissue: the percentiles reach far into it
        (-105.0, 1614.0, {"cord": 35.0, "mandible": 673.0}, (-200.0, 400.0)),
        (-950.0, 1400.0, {"lung": -850.0, "rib": 500.0}, (-950.0, 400.0)),
        # teeth and jaw differ in density alone
        (-105.0, 2600.0, {"cord": 35.0, "mandible": 673.0, "teeth": 1700.0}, None),
        (100.0, 1614.0, {"mandible": 673.0}, None),
        (-60.0, 210.0, {"liver": 100.0, "spleen": 110.0}, None),
        # a few dense voxels of a soft label
        (-60.0, 900.0, {"liver": 100.0, "vertebra": 250.0}, None),
    ],
)
def test_one_dense_label_among_soft_tissue_has_a_window(
    low: float, high: float, medians: dict[str, float], window: tuple[float, float] | None
) -> None:
    found = fingerprint([LIVER] * 3)
    numbers = replace(found.intensities[0], low=low, high=high, labels=medians)
    intensity = decide_intensity(replace(found, intensities=(numbers,)))
    if window is None:
        assert intensity.value["mode"] == "ct_zscore"
        assert (intensity.value["low"], intensity.value["high"]) == (low, high)
    else:
        assert intensity.value == {"mode": "window", "low": window[0], "high": window[1]}
        assert "is the only dense label" in intensity.reason
    intensity_transforms(intensity.value)  # the transforms take it


def pair(one: tuple[float, float, float], other: tuple[float, float, float]) -> dict[str, object]:
    return {"a": size(centre=one), "b": size(centre=other)}


def test_labels_that_always_lie_alike_are_not_mirrored() -> None:
    # b lies in front of a in each case, to either side, and as high or low
    cases = [pair((0, 0, 0), (side * 9, 10, side * 7)) for side in (1, -1, 1, -1, 1, -1)]
    found = decide_mirror_axes(fingerprint(cases, labels=("a", "b")))  # type: ignore[arg-type]
    assert found.value == [0, 2]
    assert "along y a and b always lie the same way round" in found.reason
    # a single label, or too few cases to say
    assert decide_mirror_axes(fingerprint([LIVER] * 9)).value == [0, 1, 2]
    few = fingerprint(cases[:3], labels=("a", "b"))  # type: ignore[arg-type]
    assert decide_mirror_axes(few).value == [0, 1, 2]


@pytest.mark.parametrize(
    "labels",
    [("left atrium",), ("lung_upper_lobe_left", "liver"), ("Kidney_L",), ("FemurR", "liver")],
)
def test_a_side_without_its_other_is_never_mirrored(labels: tuple[str, ...]) -> None:
    cases = [dict.fromkeys(labels, size())] * 6
    found = decide_mirror_axes(fingerprint(cases, labels=labels))
    assert found.value == [1, 2] and f"{labels[0]} has a side" in found.reason


@pytest.mark.parametrize(
    "names",
    [
        ("left_kidney", "right_kidney"),
        ("Kidney L", "Kidney R"),
        ("kidney-left", "kidney-right"),
    ],
)
@pytest.mark.parametrize(("third", "mirrored"), [(0.0, True), (40.0, False), (-9.0, False)])
def test_two_sides_are_mirrored_unless_something_lies_on_one(
    names: tuple[str, str], third: float, mirrored: bool
) -> None:
    labels = (*names, "third")
    x = (-40.0, 40.0, third)
    cases = [
        {
            name: size(centre=(5.0 * number + mm, 0.0, 0.0))
            for name, mm in zip(labels, x, strict=True)
        }
        for number in range(6)
    ]
    found = fingerprint(cases, labels=labels)
    assert decide_mirror_axes(found).value == ([0, 1, 2] if mirrored else [1, 2])


def test_labels_of_one_piece_are_kept_to_their_largest() -> None:
    whole, parted = size(), size(largest=0.7)
    cases = [{"liver": whole, "tumour": parted}] * 20
    assert decide_keep_largest(fingerprint(cases, labels=("liver", "tumour"))).value == [1]
    assert decide_keep_largest(fingerprint([{"liver": whole}] * 20)).value is True
    assert decide_keep_largest(fingerprint([{"liver": parted}] * 20)).value is False
    # one odd label map of twenty changes nothing, two do
    odd = [{"liver": parted}, *[{"liver": whole}] * 19]
    assert decide_keep_largest(fingerprint(odd)).value is True
    assert decide_keep_largest(fingerprint([*odd[:1], *odd[:-1]])).value is False


def test_plausible_volumes() -> None:
    cases = [{"liver": size(1000.0 + 10 * number)} for number in range(11)]
    assert decide_expected(fingerprint(cases)).value == {"liver": {"ml": [700.0, 1500.0]}}
    some = [*cases, {}]  # absent in one case: absence is plausible
    assert decide_expected(fingerprint(some)).value == {"liver": {"ml": [0.0, 1500.0]}}
    undrawn = fingerprint(some)
    undrawn = replace(
        undrawn, cases=(*undrawn.cases[:-1], replace(undrawn.cases[-1], unannotated=("liver",)))
    )  # nobody drew it there, which says nothing about absence
    assert decide_expected(undrawn).value == {"liver": {"ml": [700.0, 1500.0]}}
    odd = [{"cord": size(10.0, largest=0.5, at_border=True)}] * 5
    found = decide_expected(fingerprint(odd, labels=("cord", "never")))
    assert found.value == {"cord": {"ml": [7.0, 14.0], "pieces": 0, "cut": True}}


def test_rare_labels_are_drawn_more_often() -> None:
    common, rare = size(share=0.01), size(share=1e-5)
    assert decide_foreground_share(fingerprint([{"liver": common}] * 4)).value == 0.5
    cases = [{"liver": common, "tumour": rare}, {"liver": common}, {"liver": common}]
    found = decide_foreground_share(fingerprint(cases, labels=("liver", "tumour")))
    assert found.value == 0.67
    assert "tumour, has 1e-05" in found.reason and "tumour (1 of 3)" in found.reason
