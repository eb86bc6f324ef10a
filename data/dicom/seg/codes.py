"""What a label's name is called in SNOMED CT; other names get a private code."""

from __future__ import annotations

import re
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pydicom.sr.coding import Code

PRIVATE_SCHEME = "99GRIDGATE"

# Name without its side -> keyword in pydicom's code dictionary.
_ANATOMY = {
    "adrenal": "AdrenalGland",
    "adrenal gland": "AdrenalGland",
    "aorta": "Aorta",
    "atrium": "Atrium",
    "bladder": "Bladder",
    "body": "BodyStructure",
    "bone": "Bone",
    "brain": "Brain",
    "brain stem": "BrainStem",
    "brainstem": "BrainStem",
    "bronchus": "Bronchus",
    "clavicle": "Clavicle",
    "clavicula": "Clavicle",
    "colon": "Colon",
    "duodenum": "Duodenum",
    "esophagus": "Esophagus",
    "eye": "Eye",
    "femur": "Femur",
    "gall bladder": "Gallbladder",
    "gallbladder": "Gallbladder",
    "heart": "Heart",
    "hepatic vein": "HepaticVein",
    "hip": "Hip",
    "hippocampus": "Hippocampus",
    "humerus": "Humerus",
    "iliac artery": "IliacArtery",
    "iliac vein": "IliacVein",
    "inferior vena cava": "InferiorVenaCava",
    "ivc": "InferiorVenaCava",
    "kidney": "Kidney",
    "larynx": "Larynx",
    "lens": "Lens",
    "liver": "Liver",
    "lung": "Lung",
    "mandible": "Mandible",
    "oesophagus": "Esophagus",
    "optic chiasm": "OpticChiasm",
    "optic nerve": "OpticNerve",
    "pancreas": "Pancreas",
    "parotid": "ParotidGland",
    "parotid gland": "ParotidGland",
    "pharynx": "Pharynx",
    "pituitary": "Pituitary",
    "portal vein": "PortalVein",
    "postcava": "InferiorVenaCava",
    "prostate": "Prostate",
    "pulmonary artery": "PulmonaryArtery",
    "pulmonary vein": "PulmonaryVein",
    "rectum": "Rectum",
    "rib": "Rib",
    "sacrum": "Sacrum",
    "scapula": "Scapula",
    "skull": "Skull",
    "small bowel": "SmallIntestine",
    "small intestine": "SmallIntestine",
    "spinal cord": "SpinalCord",
    "spleen": "Spleen",
    "splenic vein": "SplenicVein",
    "sternum": "Sternum",
    "stomach": "Stomach",
    "submandibular gland": "SubmandibularGland",
    "superior vena cava": "SuperiorVenaCava",
    "thyroid": "Thyroid",
    "thyroid gland": "Thyroid",
    "trachea": "Trachea",
    "urinary bladder": "Bladder",
    "uterus": "Uterus",
}
_ABNORMAL = {
    "cyst": "Cyst",
    "lesion": "Lesion",
    "mass": "Mass",
    "tumor": "Neoplasm",
    "tumour": "Neoplasm",
}
_SIDES = {"left": "Left", "l": "Left", "right": "Right", "r": "Right"}
_LONGEST_VALUE = 16  # characters of a code value in DICOM


@dataclass(frozen=True)
class Property:
    """What a segment shows.

    Args:
        category: such as anatomical structure.
        kind: such as liver.
        side: left, right or None.
    """

    category: Code
    kind: Code
    side: Code | None


def property_of(name: str) -> Property:
    """The codes of a label's name.

    `kidney_left`, `Left kidney` and `kidneys (L)` are all the left kidney.

    Args:
        name: a label's name; case, underscores and the place of the side do not count.
    """
    # its dictionary takes longer to import than all of numpy: not at each start
    from pydicom.sr.codedict import codes
    from pydicom.sr.coding import Code

    words = re.findall(r"[a-z0-9]+", name.lower())
    sides = [_SIDES[word] for word in words if word in _SIDES]
    side = getattr(codes.SCT, sides[0]) if len(sides) == 1 else None
    plain = (
        " ".join(word for word in words if word not in _SIDES)
        if side is not None
        else " ".join(words)
    )
    for spelt in (plain, plain.removesuffix("s")):
        if spelt in _ANATOMY:
            return Property(
                codes.SCT.AnatomicalStructure, getattr(codes.SCT, _ANATOMY[spelt]), side
            )
        if spelt in _ABNORMAL:
            return Property(
                codes.SCT.MorphologicallyAbnormalStructure,
                getattr(codes.SCT, _ABNORMAL[spelt]),
                side,
            )
    return Property(
        codes.SCT.AnatomicalStructure, Code(_private_value(name), PRIVATE_SCHEME, name[:64]), None
    )


def _private_value(name: str) -> str:
    value = re.sub(r"[^A-Z0-9]+", "_", name.upper()).strip("_")
    if value and len(value) <= _LONGEST_VALUE:
        return value
    return f"{value[: _LONGEST_VALUE - 9]}_{zlib.crc32(name.encode(errors='replace')):08X}"
