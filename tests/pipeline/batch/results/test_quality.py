"""Hints at what looks wrong, and none on sound masks; volumes against scipy."""

from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import ndimage

from gridgate.data.errors import ConfigError
from gridgate.data.phantom.phantom import PHANTOM_LABELS, make_phantom
from gridgate.pipeline.batch.results.label_places import centres_mm, missing_slices
from gridgate.pipeline.batch.results.quality import case_hints, check_expectations, look_first
from gridgate.pipeline.batch.results.volumes import label_volumes, region_volumes
from gridgate.pipeline.plans.planning import PLANS, read_plan
from gridgate.transforms.connected import connected_components

NAMES = ["background", "liver", "cord"]
AFFINE = np.diag([10.0, 10.0, 10.0, 1.0])  # a voxel is 1 ml


def sound() -> np.ndarray:
    labels = np.zeros((20, 20, 20), np.uint8)
    labels[5:15, 5:15, 5:15] = 1  # 1000 ml
    labels[2:4, 2:4, :] = 2  # runs through
    return labels


def hints(labels: np.ndarray, affine: np.ndarray = AFFINE, **options: Any) -> list[str]:
    options = {"expected": {"liver": {"ml": [600, 3000]}, "cord": {"cut": True}}, **options}
    volumes = label_volumes(labels, affine=affine, names=NAMES)
    return case_hints(labels, affine=affine, names=NAMES, volumes=volumes, **options)


def test_a_sound_mask_has_none() -> None:
    assert hints(sound()) == [] == hints(np.asfortranarray(sound()))
    assert hints(sound(), margin=0.8, mirror_agreement=0.97, removed={1: (3, 5)}) == []


def test_volumes_out_of_range_and_absent_labels() -> None:
    labels = sound()
    labels[5:15, 5:15, 7:15] = 0
    assert hints(labels) == ["liver: 200 ml, expected 600 to 3000"]
    labels[labels == 1] = 0
    assert hints(labels) == ["liver: absent, expected 600 to 3000 ml"]
    assert hints(labels, expected={"cord": {"cut": True}}) == []
    assert hints(np.zeros_like(labels), expected={}) == ["nothing was found"]


def test_pieces() -> None:
    labels = sound()
    labels[17, 17, 17] = 1  # a speck is no hint
    assert hints(labels) == []
    labels[15:19, 15:19, 15:19] = 0
    labels[16:19, 16:19, 16:19] = 1
    assert (
        hints(labels)
        == hints(np.asfortranarray(labels))
        == [
            "liver: 2 pieces, expected 1, 1 slices between without it",
        ]
    )
    labels[12:15, 5:15, 15] = 1  # no slice is empty between them
    labels[15, 15, 15] = 0
    expected = {"liver": {"pieces": 2}, "cord": {"cut": True}}
    assert hints(labels, expected=expected) == []
    assert hints(sound(), expected=expected) == ["liver: 1 piece, expected 2"]
    assert hints(labels, expected={"liver": {"pieces": 0}, "cord": {"cut": True}}) == []
    assert hints(sound(), removed={1: (4, 250), 2: (1, 0)}) == [
        "liver: 4 pieces, 20 % outside the largest was removed"
    ]


def test_a_label_next_to_nothing() -> None:
    labels = sound()
    labels[labels == 2] = 0
    labels[17, 17, 17] = 2
    small = np.diag([2.0, 2.0, 2.0, 1.0])  # 8 cubic millimetres
    expected = {"liver": {"ml": [1, 3000]}}
    assert hints(labels, small, expected=expected) == ["cord: 0.008 ml, next to nothing"]
    for said in ({"pieces": 0}, {"ml": [0, 10]}):
        assert hints(labels, small, expected={**expected, "cord": said}) == []


@pytest.mark.parametrize("letters", ["RAS", "LPS", "LPI", "RAI"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_sides_that_are_exchanged(letters: str, order: Any) -> None:
    """A box at the patient's right is called left, and the other way round."""
    names = ["background", "left_kidney", "right_kidney", "liver"]
    signs = [1.0 if letter in "RAS" else -1.0 for letter in letters]
    affine = np.diag([*(10 * sign for sign in signs), 1.0])
    labels = np.zeros((20, 20, 20), np.uint8, order=order)
    right = slice(14, 18) if letters[0] == "R" else slice(2, 6)
    left = slice(2, 6) if letters[0] == "R" else slice(14, 18)
    for side, value in ((right, 2), (left, 1)):
        labels[side, 8:12, 8:12] = value
    labels[9:11, 5:7, 5:7] = 3

    def found(map_: np.ndarray, regions: bool = False) -> list[str]:
        told: dict[str, Any] = {"affine": affine, "names": names}
        volumes = region_volumes(map_, **told) if regions else label_volumes(map_, **told)
        return case_hints(map_, volumes=volumes, expected={}, regions=regions, **told)

    assert found(labels) == []
    exchanged = np.array([0, 2, 1, 3], np.uint8)[labels]
    told = ["left_kidney lies to the right of right_kidney: sides may be exchanged"]
    assert found(exchanged) == told
    bits = np.array([0, 1, 2, 4], np.uint8)  # of regions
    assert found(bits[labels], regions=True) == []
    assert found(bits[exchanged], regions=True) == told
    exchanged[exchanged == 1] = 0  # one side alone tells nothing
    assert found(exchanged) == []


@given(
    arrays(np.uint8, (5, 6, 7), elements=st.integers(0, 3)),
    st.permutations(range(3)),
    st.sampled_from("RL"),
    st.sampled_from("SI"),
)
def test_places_are_those_that_scipy_finds(
    labels: np.ndarray, order: list[int], side: str, up: str
) -> None:
    labels = labels.transpose(order)
    affine = np.diag([2.0 if side == "R" else -2.0, 3.0, 4.0 if up == "S" else -4.0, 1.0])
    affine[:3, 3] = 5, -6, 7
    found = connected_components(labels)
    centres, gaps = centres_mm(found, affine), missing_slices(found, affine)
    assert set(centres) == set(gaps) == set(np.unique(labels)) - {0}
    for value, centre in centres.items():
        index = ndimage.center_of_mass(labels == value)
        assert np.allclose(centre, affine[:3, :3] @ index + affine[:3, 3])
        used = [bool((labels[:, :, z] == value).any()) for z in range(labels.shape[2])]
        inner = used[used.index(True) : len(used) - used[::-1].index(True)]
        assert gaps[value] == inner.count(False)


@pytest.mark.parametrize(
    ("axis", "end", "letters", "side"),
    [
        (0, 0, "RAS", "left"),
        (0, -1, "LPS", "left"),
        (1, -1, "RAS", "front"),
        (2, 0, "RAS", "lower"),
        (2, 0, "RAI", "upper"),
    ],
)
def test_a_label_that_is_cut_off_by_the_volumes_border(
    axis: int, end: int, letters: str, side: str
) -> None:
    labels = np.zeros((20, 20, 20), np.uint8)
    labels[5:15, 5:15, 5:15] = 1
    np.moveaxis(labels, axis, 0)[end, 8:12, 8:12] = 1
    affine = np.diag([*(10.0 if letter in "RAS" else -10.0 for letter in letters), 1.0])
    assert hints(labels, affine) == [f"liver: cut off at the {side} border"]


def test_unsure_and_disagreeing() -> None:
    found = hints(sound(), margin=0.12, mirror_agreement=0.5)
    assert [text.split(":")[0] for text in found] == [
        "unsure where labels meet",
        "mirrored views disagree",
    ]


def test_the_bundles_expectations_are_sound_and_hold_for_phantoms() -> None:
    plans = {path.stem: read_plan(path) for path in PLANS.glob("*.yaml")}
    for plan in plans.values():
        check_expectations(plan.expected or {}, plan.labels)
    expected, names = plans["phantom_attention_unet"].expected or {}, list(PHANTOM_LABELS)
    for seed in (102, 103):
        phantom = make_phantom(seed)
        affine = phantom.grid.affine
        volumes = label_volumes(phantom.labels, affine=affine, names=names)
        options: dict[str, Any] = {"affine": affine, "names": names, "expected": expected}
        assert case_hints(phantom.labels, volumes=volumes, **options) == []
        half = phantom.labels.copy()
        half[phantom.labels.shape[0] // 2 :] = 0
        volumes = label_volumes(half, affine=affine, names=names)
        assert any(
            "kidney: absent" in hint for hint in case_hints(half, volumes=volumes, **options)
        )


def test_a_real_label_map_that_is_wrong_is_found(shared_data: Path) -> None:
    """Of 110 clinical label maps one calls 422 ml spinal cord; the hints put it among the first."""
    plan = read_plan(PLANS / "head_neck_attention_unet.yaml")
    names, rows = plan.labels, []
    for path in sorted((shared_data / "openkbp_head_neck" / "labelsTr").glob("*.nii.gz")):
        image = nib.load(path)
        labels = np.asarray(image.dataobj).astype(np.uint8)
        volumes = label_volumes(labels, affine=image.affine, names=names)
        found = case_hints(
            labels,
            affine=image.affine,
            names=names,
            volumes=volumes,
            expected=plan.expected or {},
            margin=0.9,
        )
        cord = next(volume.ml for volume in volumes if volume.name == "spinal_cord")
        rows.append(
            {"case": path.name, "hint_count": len(found), "hints": "; ".join(found), "cord": cord}
        )
    hinted = [row for row in rows if row["hint_count"]]
    assert len(rows) == 110 and len(hinted) < 15
    assert max(rows, key=lambda row: row["cord"]) in hinted


def test_expectations_are_checked() -> None:
    for expected in (
        {"lung": {}},
        {"liver": {"volume": 3}},
        {"liver": {"ml": [5, 1]}},
        {"liver": {"ml": [1]}},
    ):
        with pytest.raises(ConfigError, match="expected::"):
            check_expectations(expected, NAMES)  # type: ignore[arg-type]


def test_what_to_look_at_first() -> None:
    rows = [
        {"case": "a", "hint_count": 1, "margin": "0.9"},
        {"case": "b", "hint_count": 0, "margin": "0.1"},
        {"case": "c", "hint_count": "3", "margin": ""},
        {"case": "d", "hint_count": 1, "margin": "0.2"},
    ]
    assert [row["case"] for row in look_first(rows)] == ["c", "d", "a"]


@pytest.mark.parametrize("order", ["C", "F"])
def test_volumes_and_means_are_scipys(order: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gridgate.pipeline.batch.results.volumes._VOXELS_AT_A_TIME", 500)
    rng = np.random.default_rng(0)
    labels = np.asarray(rng.integers(0, 4, (9, 10, 11)), dtype=np.uint8, order=order)  # type: ignore[call-overload]
    labels[labels == 2] = 0
    scan = np.asarray(rng.integers(-1000, 2000, labels.shape), dtype=np.int16, order="F")
    affine = np.array([[2.0, 0.5, 0, 0], [0, 3, 0, 0], [0, 0, -1.5, 0], [0, 0, 0, 1]])
    found = label_volumes(labels, affine=affine, names=["none", "a", "b", "c"], scan=scan)
    assert [volume.name for volume in found] == ["a", "b", "c"]
    for value, volume in enumerate(found, start=1):
        assert volume.voxels == (labels == value).sum()
        assert volume.ml == pytest.approx(volume.voxels * 9 / 1000)
        if volume.voxels:
            assert volume.mean == pytest.approx(ndimage.mean(scan, labels, value))
        else:
            assert volume.mean is None
    assert label_volumes(labels, affine=affine, names=["none", "a", "b", "c"])[0].mean is None


@given(
    labels=arrays(
        np.uint8,
        st.tuples(*[st.integers(1, 9)] * 3),
        elements=st.integers(0, 2),
        fill=st.nothing(),
    ),
    turned=st.sampled_from([np.eye(3), np.eye(3)[[1, 2, 0]], np.eye(3)[[2, 0, 1]]]),
    margin=st.sampled_from([None, 0.0, 1.0]),
    regions=st.booleans(),
)
def test_no_mask_makes_a_hint_fail(
    labels: np.ndarray, turned: np.ndarray, margin: float | None, regions: bool
) -> None:
    """A hint that raises would lose the case: the mask is there, and its row says failed."""
    affine = np.eye(4)
    affine[:3, :3] = turned
    measure = region_volumes if regions else label_volumes
    volumes = measure(labels, affine=affine, names=NAMES)
    case_hints(
        labels,
        affine=affine,
        names=NAMES,
        volumes=volumes,
        expected={"liver": {"pieces": 2}},
        margin=margin,
        regions=regions,
    )


def test_noise_is_many_pieces_and_no_error() -> None:
    """Each piece is a speck of its label: the slices between pieces are nobody's."""
    labels = np.zeros((60, 60, 60), np.uint8)
    labels[2::4, 2::4, 2::4] = 1
    assert hints(labels, expected={}) == ["liver: 3375 pieces, expected 1"]
