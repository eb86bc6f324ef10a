"""Which files of imagesTr, labelsTr and imagesTs belong together where no list says so."""

import re
from dataclasses import dataclass
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
    matched = match_files(images, labels, file_ending)
    if matched.unlabelled:
        path = next(iter(matched.unlabelled.values()))[0]
        raise DatasetError(
            f"{path}: has no label map in {labels} ({len(matched.unlabelled)} such); add it, or "
            "move the image to imagesTs"
        )
    if matched.twice:
        whole, channel = matched.twice[0]
        raise DatasetError(
            f"{whole}: the case is there a second time as {channel.name}; remove one"
        )
    if matched.without_image:
        path = next(iter(matched.without_image.values()))
        raise DatasetError(
            f"{path}: has no image in {images} ({len(matched.without_image)} such); add it"
        )
    return matched.pairs, matched.by_channel


@dataclass(frozen=True)
class Matched:
    """Which images of a folder belong to which label maps of another.

    Args:
        pairs: (id, image files in the order of channels, label file) per case.
        by_channel: each channel is a file of its own.
        unlabelled: id -> image files that have no label map.
        without_image: id -> label map that has no image.
        twice: images of one case in both forms: as a whole, and as its first channel.
    """

    pairs: list[tuple[str, tuple[Path, ...], Path]]
    by_channel: bool
    unlabelled: dict[str, tuple[Path, ...]]
    without_image: dict[str, Path]
    twice: list[tuple[Path, Path]]


def match_files(images: Path, labels: Path, file_ending: str | None) -> Matched:
    """What `pair_cases` pairs, and what it cannot pair.

    Raises:
        DatasetError: a channel that is missing, two files of one name, another file ending.
    """
    label_files = _by_name(labels, file_ending)
    image_files = _by_name(images, file_ending)
    whole = {name: (path,) for name, path in image_files.items() if name in label_files}
    channels = _group({name: path for name, path in image_files.items() if name not in label_files})
    twice = [(whole[name][0], channels[name][0]) for name in sorted(set(whole) & set(channels))]
    found = channels | whole
    return Matched(
        pairs=[
            (name, found[name], label_files[name]) for name in sorted(found) if name in label_files
        ],
        by_channel=bool(channels.keys() & label_files.keys()),
        unlabelled={name: channels[name] for name in sorted(channels) if name not in label_files},
        without_image={
            name: path for name, path in sorted(label_files.items()) if name not in found
        },
        twice=twice,
    )


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
