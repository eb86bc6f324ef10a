"""Real head-and-neck CTs, cropped, and the faults that are planted into some of them."""

import gzip
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Array = NDArray[Any]


LABELS = {
    "background": 0,
    "brainstem": 1,
    "spinal_cord": 2,
    "right_parotid": 3,
    "left_parotid": 4,
    "mandible": 5,
}


SOUND = 34  # cases without a fault


MARGIN = 6  # voxels around the labels


@dataclass
class Case:
    """One case that is going to be written; a fault changes it."""

    name: str
    hu: Array
    labels: Array
    affine: Array
    label_affine: Array
    image_qform: Array | None = None
    label_qform: Array | None = None
    codes: tuple[int, int] = (1, 1)  # of sform and qform
    folder: str = "Tr"
    without: str = ""  # "image" or "label"
    label_name: str = ""
    cut: str = ""  # the file that is cut off
    ending: str = ".nii.gz"


def _moved(affine: Array, *mm: float) -> Array:
    moved = affine.copy()
    moved[:3, 3] += mm
    return moved


def _turned(affine: Array, degrees: float) -> Array:
    a = np.deg2rad(degrees)
    turn = np.eye(4)
    turn[:2, :2] = [[np.cos(a), -np.sin(a)], [np.sin(a), np.cos(a)]]
    return turn @ affine


def _set(**values: Callable[[Case], Any] | Any) -> Callable[[Case], None]:
    def change(case: Case) -> None:
        new = {key: value(case) if callable(value) else value for key, value in values.items()}
        for key, value in new.items():
            setattr(case, key, value)

    return change


def _without_value(value: int) -> Callable[[Case], Array]:
    return lambda case: np.where(case.labels == value, 0, case.labels)


def _nan(case: Case) -> Array:
    hu = case.hu.astype(np.float32)
    hu[3, 4, 5] = np.nan
    hu[4, 4, 5] = np.inf
    return hu


def _tiny(case: Case) -> Array:
    labels = case.labels.copy()
    at = np.argwhere(labels == 3)
    labels[labels == 3] = 0
    labels[tuple(at[:3].T)] = 3
    return labels


def _exchanged(first: int, second: int) -> Callable[[Case], Array]:
    def change(case: Case) -> Array:
        table = np.arange(6, dtype=np.uint8)
        table[[first, second]] = second, first
        return table[case.labels]

    return change


def _brainstem_in_the_neck(case: Case) -> Array:
    """The values of two parts of the cord: its lowest part is called brainstem."""
    labels = np.where(case.labels == 1, 2, case.labels)
    at = np.argwhere(labels == 2)
    lowest = at[at[:, 2].argsort()[::-1][: int((case.labels == 1).sum())]]
    labels[tuple(lowest.T)] = 1
    return labels


def _larger(case: Case) -> Array:
    grown = ndimage.binary_dilation(case.labels == 1, iterations=5)
    return np.where(grown & (case.labels == 0), 1, case.labels).astype(np.uint8)


def _window(case: Case) -> Array:
    return np.clip(case.hu, -160, 240)


def _byte(case: Case) -> Array:
    return np.round((np.clip(case.hu, -160, 240) + 160) / 400 * 255).astype(np.uint8)


def _coarse(case: Case) -> None:
    case.labels = case.labels[::2, ::2, ::2]
    case.label_affine = case.affine @ np.diag([2.0, 2, 2, 1])


def _cropped(case: Case) -> None:
    at = np.argwhere(case.labels)
    low, high = at.min(axis=0), at.max(axis=0) + 1
    case.labels = case.labels[tuple(slice(a, b) for a, b in zip(low, high, strict=True))]
    case.label_affine = _moved(case.affine, *(case.affine[:3, :3] @ low))


def _centimetres(case: Case) -> None:
    case.affine = case.label_affine = np.diag([0.1, 0.1, 0.1, 1]) @ case.affine


def _thin(case: Case) -> None:
    case.affine = case.label_affine = case.affine @ np.diag([1, 1, 0.005, 1])


def _flip_both(axis: int) -> Callable[[Case], None]:
    return _set(
        hu=lambda case: np.flip(case.hu, axis), labels=lambda case: np.flip(case.labels, axis)
    )


def _eight_bits_back(case: Case) -> Array:
    return (np.round((case.hu.clip(-1000, 3000) + 1000.0) / 4000 * 255) / 255 * 4000 - 1000).astype(
        np.int16
    )


FAULTS: dict[str, Callable[[Case], None]] = {
    "image_cut_off": _set(cut="image"),
    "label_cut_off": _set(cut="label"),
    "image_of_zero_bytes": _set(cut="image_whole"),
    "lonely_volume": _set(without="label"),
    "orphan_drawing": _set(without="image"),
    "name_in_other_case": _set(label_name="Name_In-Other_CASE_seg"),
    "identity_affine": _set(label_affine=np.eye(4)),
    "shifted_30_mm": _set(label_affine=lambda case: _moved(case.affine, 0, 0, 30)),
    "lps_as_ras": _set(label_affine=lambda case: np.diag([-1.0, -1, 1, 1]) @ case.affine),
    "axes_zyx": _set(labels=lambda case: case.labels.transpose(2, 1, 0)),
    "half_a_voxel": _set(
        label_affine=lambda c: _moved(c.affine, *c.affine[:3, :3].sum(axis=1) / 2)
    ),
    "fifth_of_a_voxel": _set(label_affine=lambda c: _moved(c.affine, c.affine[0, 0] / 5, 0, 0)),
    "turned_10_degrees": _set(label_affine=lambda case: _turned(case.affine, 10)),
    "other_voxel_size": _set(label_affine=lambda case: case.affine @ np.diag([2.0, 2, 1, 1])),
    "label_qform_is_right": _set(
        label_affine=lambda case: _moved(case.affine, 60, 0, 0),
        label_qform=lambda case: case.affine,
    ),
    "image_forms_disagree": _set(image_qform=lambda case: _moved(case.affine, 12, 0, 0)),
    "image_qform_is_right": _set(
        affine=lambda case: _moved(case.affine, 60, 0, 0), image_qform=lambda case: case.affine
    ),
    "another_scans": _set(
        labels=lambda case: case.labels[:-9, :-7],
        label_affine=lambda case: _moved(case.affine, 400, 300, 900),
    ),
    "cropped_to_labels": _cropped,
    "one_slice_less": _set(labels=lambda case: case.labels[:, :, :-1]),
    "half_resolution": _coarse,
    "value_9": _set(labels=lambda case: np.where(case.labels == 4, 9, case.labels)),
    "value_255_at_rim": _set(
        labels=lambda case: np.pad(case.labels[1:], ((1, 0), (0, 0), (0, 0)), constant_values=255)
    ),
    "minus_one": _set(labels=lambda case: np.where(case.labels, case.labels, -1).astype(np.int8)),
    "times_51": _set(labels=lambda case: case.labels * 51),
    "times_099": _set(labels=lambda case: case.labels * np.float32(0.99)),
    "interpolated": _set(labels=lambda case: ndimage.gaussian_filter(case.labels * 1.0, 0.7)),
    "empty": _set(labels=lambda case: case.labels * 0),
    "three_voxels": _set(labels=_tiny),
    "no_brainstem": _set(labels=_without_value(1)),
    "in_the_air": _set(labels=lambda case: np.roll(case.labels, case.labels.shape[1] // 2, 1)),
    "constant": _set(hu=lambda case: case.hu * 0),
    "windowed": _set(hu=_window),
    "picture": _set(hu=_byte),
    "picture_scaled_back": _set(hu=_eight_bits_back),
    "unsigned": _set(hu=lambda case: (case.hu.astype(np.int32) + 1024).astype(np.uint16)),
    "zero_to_one": _set(hu=lambda case: ((case.hu + 1000.0) / 4000).astype(np.float32).clip(0, 1)),
    "nan": _set(hu=_nan),
    "nan_outside_labels": _set(labels=lambda case: np.where(case.labels, case.labels, np.nan)),
    "files_exchanged": _set(
        hu=lambda case: case.labels.astype(np.int16), labels=lambda case: case.hu
    ),
    "slope_10": _set(hu=lambda case: (case.hu * 10.0).astype(np.float32)),
    "centimetres": _centimetres,
    "slices_too_thin": _thin,
    "no_orientation": _set(codes=(0, 0)),
    "image_identity": _set(affine=np.eye(4)),
    "sides_swapped": _set(labels=_exchanged(3, 4)),
    "label_flipped_z": _set(labels=lambda case: case.labels[:, :, ::-1]),
    "label_flipped_y": _set(labels=lambda case: case.labels[:, ::-1]),
    "label_flipped_xy": _set(labels=lambda case: case.labels[::-1, ::-1]),
    "both_flipped_z": _flip_both(2),
    "values_exchanged": _set(labels=_exchanged(1, 5)),
    "shifted_inside": _set(labels=lambda case: np.roll(case.labels, 18, 2)),
    "brainstem_in_the_neck": _set(labels=_brainstem_in_the_neck),
    "brainstem_grown": _set(labels=_larger),
}


def crop(image: Path, label: Path, name: str) -> Case:
    scan, truth = nib.load(image), nib.load(label)
    hu, labels = np.asarray(scan.dataobj), np.asarray(truth.dataobj).astype(np.uint8)
    at = np.argwhere(labels)
    low, high = np.maximum(at.min(axis=0) - MARGIN, 0), at.max(axis=0) + 1 + MARGIN
    box = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
    affine = _moved(scan.affine, *(scan.affine[:3, :3] @ low))
    return Case(name, hu[box], labels[box], affine, affine.copy())


def _save(path: Path, array: Array, affine: Array, qform: Array | None, codes: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = nib.Nifti1Image(np.asarray(array), None, dtype=array.dtype)
    image.header.set_sform(affine, codes[0])
    image.header.set_qform(affine if qform is None else qform, codes[1])
    content = image.to_bytes()
    path.write_bytes(gzip.compress(content, 1) if path.suffix == ".gz" else content)


def write_case(case: Case, root: Path) -> None:
    image = root / f"images{case.folder}" / f"{case.name}{case.ending}"
    label = root / "labelsTr" / f"{case.label_name or case.name}{case.ending}"
    if case.without != "image":
        _save(image, case.hu, case.affine, case.image_qform, case.codes)
    if case.without != "label" and case.folder == "Tr":
        _save(label, case.labels, case.label_affine, case.label_qform, case.codes)
    if case.cut:
        path = label if case.cut == "label" else image
        content = path.read_bytes()
        path.write_bytes(b"" if case.cut.endswith("whole") else content[: len(content) // 2])


def doubles(cases: dict[str, Case], root: Path) -> None:
    """Faults that take two cases."""
    sound = iter(sorted(name for name in cases if name.startswith("sound")))

    def of(**change: Any) -> Case:
        return Case(**{**vars(cases[next(sound)]), **change})

    write_case(of(name="twice"), root)
    other = of(name="twice_with_other_labels")
    other.labels = np.where(other.labels == 5, 0, other.labels)
    write_case(other, root)
    write_case(of(name="tested_and_trained", folder="Ts"), root)
    brighter = of(name="label_of_another")
    brighter.hu = brighter.hu + np.int16(1)
    write_case(brighter, root)
    turned = of(name="twice_turned")  # the same voxels in another orientation
    flip = np.diag([-1.0, 1, 1, 1])
    flip[0, 3] = turned.hu.shape[0] - 1
    turned.hu, turned.labels = turned.hu[::-1], turned.labels[::-1]
    turned.affine = turned.label_affine = turned.affine @ flip
    write_case(turned, root)
