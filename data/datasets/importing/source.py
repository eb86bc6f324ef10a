"""What a source gives to the writer: cases with their files, labels, and where they come from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ...dicom.series import DicomSeries
from ...errors import DatasetError
from ...ids import safe_id
from ..annotated import ANNOTATED, annotated_labels, fits_any
from ..entries import IGNORE_NAME
from ..folds import Split

LabelEntries = dict[str, int | list[int]]
"""Name -> value in the label maps, or the values that a region is made of (nnU-Net's regions)."""


@dataclass(frozen=True)
class Member:
    """A file in a tar archive.

    Args:
        archive: the tar.
        name: of the member, as the archive has it.
        size: in bytes.
        checksum: of the whole archive; tells whether it is the same archive the next time.
        offset: where its bytes begin in an archive that is not compressed; None in one that is.
    """

    archive: Path
    name: str
    size: int
    checksum: str
    offset: int | None = None


@dataclass(frozen=True)
class LabelFile:
    """A label map in one file.

    Args:
        file: NIfTI and the like, `.seg.nrrd`, DICOM SEG, or a member of an archive.
        values: what is in the file -> the value in the dataset; None leaves all as they are. For
            `.seg.nrrd` and DICOM SEG the keys are the numbers that `segments` gives.
        find_flips: the file's header does not say where it lies: it has the image's voxels, and
            how its axes run is found by what lies under it.
    """

    file: Path | Member
    values: Mapping[int, int] | None = None
    find_flips: bool = False


@dataclass(frozen=True)
class Masks:
    """A label map that is composed of masks, one file per label.

    Args:
        files: value -> the file of its mask (not 0 is inside); a later one overwrites earlier ones.
    """

    files: Mapping[int, Path]


@dataclass(frozen=True)
class SourceCase:
    """One case of a source.

    Args:
        id: unique, safe as a file's name, without folders.
        images: one, or one per channel in order.
        label: None where there is none.
        notes: what is odd about it, in words.
        annotated: the labels that were annotated in it; None: all, or as Source.annotated says.
        broken: why it cannot be imported, where that was seen when its files were looked for.
        patient: whose it is, where that is known; "" else.
    """

    id: str
    images: tuple[Path | DicomSeries | Member, ...]
    label: LabelFile | Masks | None = None
    notes: tuple[str, ...] = ()
    annotated: tuple[str, ...] | None = None
    broken: str = ""
    patient: str = ""


@dataclass(frozen=True)
class Source:
    """A dataset as its source has it.

    Args:
        kind: of source: "folder", "table", "nnunet", "msd", ...
        origin: where it is: an absolute path, or an address.
        name: of the dataset.
        cases: the labelled ones.
        tests: those without labels.
        labels: see LabelEntries; "background" 0 is added where it is missing.
        channels: names of the images' channels.
        licence: of the data, or "not stated".
        checksum: of the whole source, such as "md5:..." of an archive; "" where each file has its
            own alone.
        splits: folds by the name of a file, "splits.json" among them those that training takes.
        more: further entries of dataset.json.
        notes: what was left out or guessed, in words.
        annotated: case id, or pattern with a star -> the labels that were annotated there; comes
            before what cases say themselves.
    """

    kind: str
    origin: str
    name: str
    cases: tuple[SourceCase, ...]
    labels: LabelEntries
    tests: tuple[SourceCase, ...] = ()
    channels: tuple[str, ...] = ("CT",)
    licence: str = "not stated"
    checksum: str = ""
    splits: Mapping[str, list[Split]] = field(default_factory=dict)
    more: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    annotated: Mapping[str, Sequence[str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse a source without cases, ids that are there twice, and what `annotated` cannot say.

        Raises:
            DatasetError: names both files, or the key.
        """
        if not self.cases and not self.tests:
            raise DatasetError(f"{self.origin}: there is no case in it")
        seen: dict[str, SourceCase] = {}
        for case in (*self.cases, *self.tests):
            key = case.id.casefold()
            if key in seen:
                raise DatasetError(
                    f"{self.origin}: the case {case.id} is there twice "
                    f"({seen[key].images[0]} and {case.images[0]}); rename or remove one"
                )
            seen[key] = case
        self.annotated_of([case.id for case in (*self.cases, *self.tests)])

    def annotated_of(self, ids: Sequence[str]) -> dict[str, list[str]]:
        """The entry "annotated" of dataset.json, where these cases are left.

        Raises:
            DatasetError: see annotated.annotated_labels; of the keys only those that fit no case of
                the source at all.
        """
        names = [name for name, value in self.labels.items() if value != 0 and name != IGNORE_NAME]
        every = [case.id for case in (*self.cases, *self.tests)]
        said = {key: list(labels) for key, labels in self.annotated.items()}
        annotated_labels({ANNOTATED: said}, names, every, Path(self.origin))
        left = {key: labels for key, labels in said.items() if fits_any(key, ids)}
        for case in self.cases:
            if case.annotated is not None and case.id in ids:
                told = any(fits_any(key, [case.id]) for key in said)
                left |= {} if told else {case.id: list(case.annotated)}
        return left


def id_of(name: str) -> str:
    """The id of a case that a source calls `name`: safe as a file's name, folders put into it.

    >>> id_of("Müller 01"), id_of("site a/patient.2")
    ('Müller 01', 'site a_patient.2')
    """
    return safe_id(name, flat=True)
