"""Ids of cases: safe as paths and unique, whatever the names."""

import os
import tempfile
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from gridgate.data.ids import safe_id, unique_ids, why_unsafe
from gridgate.data.images.names import MASK_SUFFIXES
from gridgate.data.inputs.find import find_cases

from .found import ids, touch

PARTS = st.text(st.characters(exclude_characters="/", codec=None), max_size=12) | st.sampled_from(
    [
        "..",
        ".",
        " ",
        "con",
        "a.nii.gz",
        "b.seg.nrrd",
        "c.mha",
        "A",
        "a",
        "ä",
        "a\u0308",
        "x" * 300,
        "\udc80",
        "a:b",
        "nul.txt",
    ]
)


@given(st.lists(PARTS, min_size=1, max_size=4).map("/".join), st.booleans())
def test_ids_are_safe(name: str, flat: bool) -> None:
    made = safe_id(name, flat=flat)
    assert safe_id(made, flat=flat) == made and why_unsafe(made) is None
    assert flat is False or "/" not in made
    root = Path("/masks")
    assert os.path.normpath(root / made) == str(root / made)
    assert (root / made).is_relative_to(root) and made
    made.encode()
    for part in made.split("/"):
        assert part not in ("", ".", "..") and len(part.encode()) <= 180
        assert not part.startswith(".") and not part.endswith((".", " "))
        assert not set(part) & set('<>:"\\|?*\0\n')
    assert not any(part.lower().endswith((*MASK_SUFFIXES, ".dcm")) for part in made.split("/")[:-1])


@given(
    st.lists(
        st.tuples(st.sampled_from("aAbBäÄ"), st.sampled_from(["a", "a_nii", "A_NII", "b", "c"]))
    )
)
def test_ids_are_unique_whatever_the_case(wanted: list[tuple[str, str]]) -> None:
    made = unique_ids(wanted)
    assert len({name.casefold() for name in made}) == len(wanted)
    for (name, _), one in zip(wanted, made, strict=True):
        if [other.lower() for other, _ in wanted].count(name.lower()) == 1:
            assert one == name


@given(
    st.sets(
        st.tuples(
            st.sampled_from(["", "p/", "P/", "p_q/", "p/q/"]),
            st.sampled_from(["a", "A", "a_nii", "q_a", "a.b"]),
            st.sampled_from([".nii", ".nii.gz", ".NRRD", ".mha"]),
        ),
        min_size=1,
        max_size=12,
    ),
    st.booleans(),
)
def test_no_two_files_give_one_mask(files: set[tuple[str, str, str]], flat: bool) -> None:
    with tempfile.TemporaryDirectory() as folder:
        touch(Path(folder), *("".join(file) for file in files))
        found = find_cases(folder, flat=flat)
    assert sorted(os.path.relpath(case["image"], folder) for case in found.cases) == sorted(
        "".join(f) for f in files
    )
    assert len({name.lower() for name in ids(found)}) == len(files)
