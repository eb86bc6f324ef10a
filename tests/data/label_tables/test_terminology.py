"""Codes of labels: of the plan, of known names as DICOM has them, private ones elsewhere."""

from typing import Any

import pytest
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code as DicomCode

from gridgate.data.errors import ConfigError
from gridgate.data.label_tables.known import ABNORMAL, ANATOMY, VERTEBRAE
from gridgate.data.label_tables.table import LabelTable
from gridgate.data.label_tables.terminology import (
    ABNORMAL as ABNORMAL_STRUCTURE,
)
from gridgate.data.label_tables.terminology import (
    ANATOMICAL,
    PRIVATE,
    SIDES,
    Code,
    planned_terminology,
    terminology_of,
)

PANCREAS = {"type": ["SCT", "15776009", "Pancreas"]}


def dicom(code: Code) -> DicomCode:
    return DicomCode(code.value, code.scheme, code.meaning)


def test_every_code_is_one_of_dicoms() -> None:
    entries = [getattr(codes.SCT, keyword) for keyword in codes.SCT.dir()]
    known = {code.value for code in entries}
    meanings = {(code.value, code.meaning) for code in entries}
    rows = [(value, meaning) for _, value, meaning, _ in (*ANATOMY, *ABNORMAL)]
    rows += [(code.value, code.meaning) for code in (ANATOMICAL, ABNORMAL_STRUCTURE)]
    rows += [(code.value, code.meaning) for code in SIDES.values()]
    rows += [(value, f"{level.upper()} vertebra") for level, value in VERTEBRAE.items()]
    assert len(rows) > 150
    assert [row for row in rows if row[0] not in known] == []
    assert [row for row in rows if row not in meanings] == []


@pytest.mark.parametrize(
    ("name", "keyword", "side"),
    [
        ("Spleen", "Spleen", None),
        ("kidney_right", "Kidney", "Right"),
        ("Left kidney", "Kidney", "Left"),
        ("parotid (L)", "ParotidGland", "Left"),
        ("adrenal_gland_right", "AdrenalGland", "Right"),
        ("inferior_vena_cava", "InferiorVenaCava", None),
        ("postcava", "InferiorVenaCava", None),
        ("lungs", "Lung", None),
        ("lung_upper_lobe_left", "UpperLobeOfLung", "Left"),
        ("heart_atrium_left", "Atrium", "Left"),
        ("vertebrae_L5", "L5Vertebra", None),
        ("vertebra T12", "T12Vertebra", None),
        ("rib_left_7", "Rib", "Left"),
        ("tumour", "Neoplasm", None),
        ("brainstem", "BrainStem", None),
        ("urinary_bladder", "Bladder", None),
        ("optic_chiasm", "OpticChiasm", None),
        ("stomach", "Stomach", None),
    ],
)
def test_known_names(name: str, keyword: str, side: str | None) -> None:
    found = terminology_of(name)
    assert dicom(found.type) == getattr(codes.SCT, keyword)
    assert (found.modifier.meaning if found.modifier else None) == side
    abnormal = keyword == "Neoplasm"
    category = "MorphologicallyAbnormalStructure" if abnormal else "AnatomicalStructure"
    assert dicom(found.category) == getattr(codes.SCT, category)


@pytest.mark.parametrize(
    ("name", "finding", "organ", "side"),
    [
        ("liver tumor", "Neoplasm", "Liver", None),
        ("kidney_cyst_left", "Cyst", "Kidney", "Left"),
        ("lung nodules", "Nodule", "Lung", None),
    ],
)
def test_a_finding_in_an_organ(name: str, finding: str, organ: str, side: str | None) -> None:
    found = terminology_of(name)
    assert dicom(found.category) == codes.SCT.MorphologicallyAbnormalStructure
    assert dicom(found.type) == getattr(codes.SCT, finding)
    assert found.region is not None and dicom(found.region) == getattr(codes.SCT, organ)
    assert (found.modifier.meaning if found.modifier else None) == side


@pytest.mark.parametrize("name", ["pancreatic tumour", "left and right kidney", "anterior", "?"])
def test_other_names_get_a_private_code(name: str) -> None:
    found = terminology_of(name)
    assert (found.type.scheme, found.type.meaning) == (PRIVATE, name)
    assert found.type.value and found.modifier is None and found.category == ANATOMICAL


def test_private_codes_are_short_and_differ() -> None:
    values = [
        terminology_of(f"a rather long name of a label, number {k}").type.value for k in range(50)
    ]
    assert len(set(values)) == 50 and max(len(value) for value in values) <= 16


def test_a_meaning_holds_no_separator_of_dicom_or_slicer() -> None:
    meaning = terminology_of("a^b~c|d\\e\nf" + "x" * 80).type.meaning
    assert meaning == "a b c d e f" + "x" * 53


def test_the_plan_decides_and_its_values_may_be_numbers() -> None:
    table = LabelTable.of(
        ["background", "tail", "liver"],
        {
            "tail": {
                "type": ["SCT", 15776009, "Pancreas"],
                "modifier": ["99X", "T", "Tail"],
                "region": None,
            }
        },
    )
    tail, liver = (label.terminology for label in table.foreground)
    assert tail.type == Code("SCT", "15776009", "Pancreas") and tail.category == ANATOMICAL
    assert tail.modifier == Code("99X", "T", "Tail") and tail.region is None
    assert liver == terminology_of("liver")


@pytest.mark.parametrize(
    ("terminology", "told"),
    [
        ({"spleen": PANCREAS}, "spleen, which is no foreground label; there are liver"),
        ({"background": PANCREAS}, "background"),
        (["liver"], "is wanted"),
        ({"liver": "Liver"}, "no mapping with a type"),
        ({"liver": {"category": ["SCT", "1", "x"]}}, "no mapping with a type"),
        ({"liver": {**PANCREAS, "colour": 1}}, "colour is none of category, type, modifier"),
        ({"liver": {"type": ["SCT", "1"]}}, "not \\[scheme, value, meaning\\]"),
        ({"liver": {"type": None}}, "not \\[scheme, value, meaning\\]"),
        ({"liver": {"type": ["SCT", "", "x"]}}, "value '' is no text"),
        ({"liver": {"type": ["SCT", True, "x"]}}, "value True is no text"),
        ({"liver": {"type": ["SCT", "1", "x" * 65]}}, "1 to 64 characters"),
        ({"liver": {"type": ["SCT", "1", "a^b"]}}, "must not hold"),
    ],
)
def test_what_a_plan_cannot_say(terminology: Any, told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        LabelTable.of(["background", "liver"], terminology)


def test_a_plan_that_says_all() -> None:
    told = {part: ["99X", part.upper(), part] for part in ("category", "modifier", "region")}
    found = planned_terminology("liver", {**PANCREAS, **told})
    assert found.category.meaning == "category" and found.region == Code("99X", "REGION", "region")
