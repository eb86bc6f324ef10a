"""Multi-frame objects (Enhanced CT): the geometry of each frame from its functional groups."""

from collections.abc import Iterator
from pathlib import Path

from pydicom.dataset import Dataset, FileDataset

from ..errors import ImageError
from .listing.headers import instance_uid
from .slices import SliceHeader, make_slice_header

_GROUPS = ("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence")


def is_multi_frame(header: FileDataset) -> bool:
    """Whether an image has several frames, or its geometry in functional groups.

    An empty SharedFunctionalGroupsSequence in a file of one image means nothing.
    """
    return int(header.get("NumberOfFrames") or 1) > 1 or any(
        len(item) > 0 for tag in _GROUPS for item in header.get(tag) or ()
    )


def frame_headers(header: FileDataset, name: str, file: int = 0) -> list[SliceHeader]:
    """What is needed of each frame, in the file's order; localizers among them are left out.

    A frame's own functional groups come before those it shares with the others (PS3.3 C.7.6.16).

    Args:
        header: as pydicom read it, with the functional groups.
        name: the file's, for messages.
        file: its index in the series.

    Raises:
        ImageError: there are no functional groups, or too few of them; a frame has no place.
    """
    short = Path(name).name
    try:
        count = int(header.get("NumberOfFrames") or 1)
        shared, per_frame = (list(header.get(tag) or ()) for tag in _GROUPS)
        if not any(len(item) for item in shared + per_frame):
            raise ImageError(
                f"{short} is a multi-frame object of {count} frames without functional groups that "
                "say where they lie; export it as Enhanced CT, as one file per slice, or as NIfTI"
            )
        if len(per_frame) not in (0, count) or (not per_frame and count > 1):
            raise ImageError(
                f"{short} has {count} frames, but functional groups of {len(per_frame)}; "
                "copy it again, or export it again"
            )
        common = [content for item in shared[:1] for content in _contents(item)]
        frames = []
        for frame in range(count):
            own = list(_contents(per_frame[frame])) if per_frame else []
            groups = [*own, *common, header]
            if any("LOCALIZER" in (group.get("FrameType") or ()) for group in own + common):
                continue
            frames.append(
                make_slice_header(
                    header,
                    groups,
                    name=name,
                    short=f"{short}, frame {frame + 1},",
                    instance=instance_uid(header),
                    file=file,
                    frame=frame,
                )
            )
        return frames
    except ImageError:
        raise
    except Exception as error:  # pydicom converts values late, with errors of a dozen types
        raise ImageError(
            f"{short} has a damaged DICOM header ({error}); export it again"
        ) from error


def _contents(groups: Dataset) -> Iterator[Dataset]:
    """The single items of the functional groups of a frame, such as its plane position."""
    for element in groups:
        if element.VR == "SQ" and element.value:
            yield element.value[0]
