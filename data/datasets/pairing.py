"""Which files of imagesTr, labelsTr and imagesTs belong together where no list says so."""

import re
from pathlib import Path

from ..errors import DatasetError, ImageError
from ..images.reading import case_id, find_images

_CHANNEL = re.compile(r"(?P<id>.+)_(?P<channel>\d{4})")


def pair_cases(
    images: Path, labels: Path, file_ending: str | None
) -> tuple[list[tuple[str, tuple[Path, ...], Path]], bool]:
    """Pair the images of one folder with the label maps of another.

    A label map `case.nii.gz` belongs to `case.nii.gz`, or to `case_0000.nii.gz`, `case_0001.nii.gz`
    and so on, one file per channel; the label maps' names decide which, since a case may itself be
    called `case_0001`.

    Args:
        images: imagesTr.
        labels: labelsTr.
        file_ending: the ending all files must have, such as ".nii.gz"; None takes every image file.

    Returns:
        (id, image files in the order of channels, label file) per case, and whether each channel is
        a file of its own.

    Raises:
        DatasetError: an image without label, a label without image, a channel that is missing, two
            files of one name.
    """
    label_files = _by_name(labels, file_ending)
    image_files = _by_name(images, file_ending)
    whole = {name: (path,) for name, path in image_files.items() if name in label_files}
    channels = _group({name: path for name, path in image_files.items() if name not in label_files})
    unlabelled = sorted(set(channels) - set(label_files))
    if unlabelled:
        path = channels[unlabelled[0]][0]
        raise DatasetError(
            f"{path}: has no label map in {labels} ({len(unlabelled)} such); add it, or move the "
            "image to imagesTs"
        )
    both = sorted(set(whole) & set(channels))
    if both:
        raise DatasetError(
            f"{whole[both[0]][0]}: the case is there a second time as {channels[both[0]][0].name}; "
            "remove one"
        )
    found = whole | channels
    without = sorted(set(label_files) - set(found))
    if without:
        raise DatasetError(
            f"{label_files[without[0]]}: has no image in {images} ({len(without)} such); add it"
        )
    return [(name, found[name], label_files[name]) for name in sorted(found)], bool(channels)


def scan_tests(
    images: Path, file_ending: str | None, by_channel: bool
) -> list[tuple[str, tuple[Path, ...]]]:
    """The cases of a folder without label maps, which may be absent.

    Args:
        images: imagesTs.
        file_ending: as for `pair_cases`.
        by_channel: whether each channel of the training images is a file of its own.

    Returns:
        (id, image files in the order of channels) per case.

    Raises:
        DatasetError: a channel that is missing, two files of one name.
    """
    if not images.is_dir():
        return []
    files = _by_name(images, file_ending)
    return sorted(
        _group(files).items() if by_channel else ((name, (path,)) for name, path in files.items())
    )


def _by_name(folder: Path, file_ending: str | None) -> dict[str, Path]:
    try:
        paths = find_images(folder)
    except ImageError as error:
        raise DatasetError(str(error)) from None
    named: dict[str, Path] = {}
    for path in paths:
        if file_ending is not None and not path.name.endswith(file_ending):
            raise DatasetError(
                f"{path}: does not end in {file_ending}, the file_ending of dataset.json; convert "
                "or remove it"
            )
        name = case_id(path)
        if name in named:
            raise DatasetError(
                f"{path}: has the name of {named[name].name}, so the id {name} is there twice; "
                "rename one"
            )
        named[name] = path
    return named


def _group(files: dict[str, Path]) -> dict[str, tuple[Path, ...]]:
    """Gather case_0000, case_0001, ... under case; other names stand for themselves."""
    groups: dict[str, dict[int, Path]] = {}
    for name, path in files.items():
        match = _CHANNEL.fullmatch(name)
        case, channel = (match["id"], int(match["channel"])) if match else (name, 0)
        if channel in groups.setdefault(case, {}):
            raise DatasetError(
                f"{path}: channel {channel} of the case {case} is also in "
                f"{groups[case][channel].name}"
            )
        groups[case][channel] = path
    for case, channels in groups.items():
        if sorted(channels) != list(range(len(channels))):
            raise DatasetError(
                f"{next(iter(channels.values()))}: the case {case} has the channels "
                f"{sorted(channels)}, "
                f"not 0 up to {max(channels)}; add the missing files"
            )
    return {
        case: tuple(channels[number] for number in sorted(channels))
        for case, channels in groups.items()
    }
