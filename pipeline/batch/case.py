"""One case on its way through a run: what it is, and what is in hand."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...data.dicom.series import DicomSeries
from ...data.images.parts import files_of

if TYPE_CHECKING:  # a worker process imports PyTorch when it gets what it needs it for
    from ...transforms.restore.slabs import ForwardFacts

Source = str | Path | DicomSeries
MonaiItem = dict[Hashable, Any]
"""What MONAI's dictionary transforms take and give: "id", "image", "pred", "timings", ..."""


class StoppedError(Exception):
    """The run was told to stop; the case in hand is given up and comes again in the next run."""


@dataclass(frozen=True)
class Case:
    """One subject: its id, its image, perhaps its label.

    Args:
        id: "name" or "sub/dir/name"; results are called after it.
        images: the image's file or series; several files where each holds a channel.
        item: the entry of the list that it comes from, for MONAI's transforms.
    """

    id: str
    images: tuple[Source, ...]
    item: Mapping[str, Any]

    @classmethod
    def of(cls, item: Mapping[str, Any]) -> Case:
        """The case of an item {"id", "image"}, and "label" when evaluating.

        >>> Case.of({"id": "a", "image": "/scans/a.nii.gz"}).source
        '/scans/a.nii.gz'
        """
        image = item["image"]
        images = tuple(image) if isinstance(image, list | tuple) else (image,)
        return cls(str(item["id"]), images, dict(item))

    @property
    def source(self) -> str:
        """Its input as text, see `shown`."""
        return shown(self.images)

    @property
    def files(self) -> list[Path]:
        """Its files on disk, the label with them; of a DICOM series in a zip the zip."""
        found: list[Path] = []
        for image in (*self.images, self.item.get("label")):
            if isinstance(image, DicomSeries):
                found += [image.archive] if image.archive else [Path(path) for path in image.files]
            elif isinstance(image, str | Path):
                found.append(Path(image))
        return found

    def stamp(self, more: Sequence[str | Path] = ()) -> str:
        """What changes when a file of its image does: a hash of each file's size and time.

        Of a DICOM series each slice counts, and the files' names; of a header its voxels' files.

        Args:
            more: other files that decide the mask, such as its region.
        """
        told: list[Any] = []
        for image in (*self.images, *more):
            if isinstance(image, DicomSeries):
                told.append(_inside(image))
                paths: Sequence[str | Path] = [image.archive] if image.archive else image.files
            else:
                paths = files_of(image)
            for path in paths:
                try:
                    status = os.stat(path)
                    told.append((status.st_size, status.st_mtime_ns))
                except OSError:
                    told.append("absent")
        return hashlib.sha256(repr(told).encode(errors="surrogateescape")).hexdigest()[:12]


def _inside(series: DicomSeries) -> list[str]:
    """The series' files as they are named in its folder or zip, wherever that lies."""
    if series.archive is not None:
        return list(series.files)
    return [os.path.relpath(file, series.folder) for file in series.files]


@dataclass(eq=False)
class CaseInProgress:
    """A case between the steps of a run.

    Args:
        data: what MONAI's transforms work on; empty once the case has failed, so that it takes no
            memory.
        seconds: spent so far, by stage.
        forward: what was seen while the network ran, if it was watched.
        error: why it failed.
    """

    case: Case
    data: MonaiItem = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    forward: ForwardFacts | None = None
    error: str | None = None

    def fail(self, reason: str) -> None:
        """Keep the reason and nothing that takes memory."""
        self.data, self.error = {}, reason

    def spend(self, stage: str, seconds: float) -> None:
        """Add to a stage's seconds."""
        self.seconds[stage] = self.seconds.get(stage, 0.0) + seconds

    @contextmanager
    def spent(self, stage: str) -> Iterator[None]:
        """A block whose seconds are added to a stage's."""
        began = time.perf_counter()
        yield
        self.spend(stage, time.perf_counter() - began)


def shown(images: Source | Sequence[Source]) -> str:
    """A case's input as text: absolute paths, or a DICOM series' folder and UID.

    >>> shown(["/scans/a_0000.nii.gz", "/scans/a_0001.nii.gz"])
    '/scans/a_0000.nii.gz;/scans/a_0001.nii.gz'
    """
    several = images if isinstance(images, list | tuple) else [images]
    return ";".join(
        os.path.abspath(image) if isinstance(image, str | Path) else str(image) for image in several
    )
