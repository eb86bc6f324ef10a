"""Each planted fault is found, and named with its cause; the sound cases stay silent."""

import re
from pathlib import Path

import pytest

from gridgate.data.datasets.soundness.findings import Report

EXPECTED = [
    # case, kind, level, what its text says
    ("image_cut_off", "image-unreadable", "error", "cut off or damaged"),
    ("label_cut_off", "label-unreadable", "error", "cut off or damaged"),
    ("image_of_zero_bytes", "image-unreadable", "error", "zero bytes"),
    ("lonely_volume", "pair-missing", "error", "has no label map"),
    ("orphan_drawing", "pair-missing", "error", "has no image"),
    ("name_in_other_case", "names-differ", "error", "only the names differ"),
    ("identity_affine", "label-no-geometry", "error", "mm apart.*affine is the identity"),
    ("shifted_30_mm", "label-shifted", "error", r"centres are 30\.0 mm apart.*another origin"),
    ("lps_as_ras", "label-mirrored", "error", "mm apart.*along x and y.*LPS"),
    ("axes_zyx", "label-transposed", "error", "mm apart.*transposed axes"),
    ("half_a_voxel", "label-half-voxel", "", r"half a voxel.*mm, along i, j, k.*corner"),
    ("fifth_of_a_voxel", "label-nearly", "warning", r"mm \(0\.20 voxels\)"),
    ("turned_10_degrees", "label-turned", "error", r"turned by 10\.0 degrees"),
    ("other_voxel_size", "label-spacing", "error", "other voxel sizes"),
    ("label_qform_is_right", "label-form", "error", r"60\.0 mm.*sform against qform"),
    ("image_qform_is_right", "image-form", "error", r"60\.0 mm.*sform against qform"),
    ("image_forms_disagree", "forms-disagree", "warning", r"12\.0 mm apart"),
    ("another_scans", "label-elsewhere", "error", r"1040\.6 mm.*another scan"),
    ("cropped_to_labels", "label-cropped", "note", "extent is cropped"),
    ("one_slice_less", "label-cropped", "note", "extent is cropped"),
    ("half_resolution", "label-resampled", "note", "other voxels than its image"),
    ("value_9", "label-undeclared", "error", r"does not declare: 9 \("),
    ("value_255_at_rim", "label-undeclared", "error", r"255 \(.*often means 'ignore'"),
    ("minus_one", "label-undeclared", "error", "negative value"),
    ("times_51", "label-scaled", "error", "times 51"),
    ("times_099", "label-fractions", "error", r"fractions \(0\.99"),
    ("interpolated", "label-interpolated", "error", "interpolation"),
    ("empty", "label-empty", "warning", "no voxel is labelled"),
    ("three_voxels", "label-tiny", "warning", r"right_parotid.*\(3 voxels\)"),
    ("no_brainstem", "label-missing", "note", "has no brainstem"),
    ("in_the_air", "label-outside-body", "error", "in the air around the body"),
    ("constant", "image-constant", "error", "all voxels have the value 0"),
    ("windowed", "image-clipped", "warning", r"-160\.\.240 HU.*clipped"),
    ("picture", "image-8-bit", "error", "8 bits"),
    ("picture_scaled_back", "image-8-bit", "warning", "different values.*scaled back"),
    ("unsigned", "image-hu-offset", "error", "offset of 1024 was probably not subtracted"),
    ("zero_to_one", "image-scaled", "error", r"0\.\.1"),
    ("nan", "image-not-finite", "error", "2 voxels are NaN or infinite"),
    ("nan_outside_labels", "label-not-finite", "error", "voxels are NaN or infinite"),
    ("files_exchanged", "files-swapped", "error", "probably exchanged"),
    ("slope_10", "image-beyond-hu", "note", "wrong slope"),
    ("slope_10", "intensity-outlier", "warning", "unlike the other cases"),
    ("centimetres", "spacing-unit", "error", "in cm; multiply it by 10"),
    ("slices_too_thin", "spacing-absurd", "error", "no scanner makes such"),
    ("no_orientation", "orientation-guessed", "warning", "no orientation"),
    ("image_identity", "image-no-geometry", "error", "saved without its geometry"),
    ("sides_swapped", "sides-swapped", "error", "right_parotid and left_parotid"),
    ("label_flipped_z", "label-flipped", "error", "mirrored along z against its image"),
    ("label_flipped_y", "label-flipped", "error", "mirrored along y against its image"),
    ("label_flipped_xy", "label-flipped", "error", "mirrored along x and y against its image"),
    ("both_flipped_z", "case-mirrored", "error", "both mirrored along z"),
    ("values_exchanged", "labels-swapped", "error", "brainstem and mandible"),
    (
        "brainstem_in_the_neck",
        "position-outlier",
        "warning",
        "(brainstem|spinal_cord) lies to the other labels",
    ),
    ("brainstem_grown", "volume-outlier", "note", "brainstem.*times the usual volume"),
    ("shifted_inside", "label-outside-body", "", "of mandible"),
    ("twice", "case-twice", "error", "sound_00.*counts twice"),
    ("twice_turned", "case-twice", "error", "sound_04.*counts twice"),
    ("twice_with_other_labels", "case-twice-labels-differ", "error", "another label map"),
    ("tested_and_trained", "case-in-train-and-test", "error", "test case that is trained on"),
    ("sound_03", "label-twice", "error", "label_of_another.*their images differ"),
    ("", "count-differs", "warning", "numTraining is 1000, but 90"),
]


@pytest.mark.parametrize(
    ("case", "kind", "level", "says"),
    EXPECTED,
    ids=[f"{case}:{kind}" for case, kind, *_ in EXPECTED],
)
def test_a_planted_fault_is_found_and_explained(
    report: Report, case: str, kind: str, level: str, says: str
) -> None:
    of_case = [finding for finding in report.findings if finding.case == case]
    found = [finding for finding in of_case if finding.kind == kind]
    assert len(found) == 1, [finding.kind for finding in of_case]
    assert re.search(says, found[0].text, re.DOTALL), found[0].text
    assert level in ("", found[0].level)
    if case not in ("", "name_in_other_case"):
        assert f"{case}.nii.gz" in found[0].text


def test_a_fault_is_told_once(report: Report) -> None:
    """One cause, one finding: consequences of a fault are not told as further faults."""
    more = {
        *("slope_10:label-outside-body", "image_identity:image-no-geometry"),
        *("no_orientation:case-mirrored", "twice_with_other_labels:label-missing"),
        "shifted_inside:intensity-outlier",
    }
    expected = {f"{case}:{kind}" for case, kind, *_ in EXPECTED}
    told = {
        f"{finding.case}:{finding.kind}"
        for finding in report.findings
        if finding.kind != "image-beyond-hu"  # some of the real scans have it
    }
    assert told - expected - more == set()


def test_sound_cases_are_silent(report: Report) -> None:
    said = [
        finding.text
        for finding in report.findings
        if finding.case.startswith("sound") and finding.kind != "image-beyond-hu"
    ]
    assert len(said) == 1, said  # the label map that was copied to another case


def test_each_kind_is_in_the_documents() -> None:
    repository = Path(__file__).resolve().parents[4]
    page = repository / "docs" / "tasks" / "check.md"
    sources = (repository / "data" / "datasets" / "soundness").rglob("*.py")
    made = re.compile(r'Finding\(\s*"([a-z0-9-]+)"|kind = "([a-z0-9-]+)"|": "(label-[a-z-]+)",')
    kinds = {
        name for path in sources for names in made.findall(path.read_text()) for name in names
    } - {""}
    assert len(kinds) > 40
    told = set(re.findall(r"`([a-z0-9-]+)`", page.read_text()))
    assert kinds - told - {"a", "b"} == set()
