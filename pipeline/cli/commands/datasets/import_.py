"""`gridgate import`."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...console import add_console_options, say_last
from ...given import annotated_labels, label_names, mapping, names

if TYPE_CHECKING:
    from .....data.datasets.importing.label_names import NamedLabels
    from .....data.datasets.importing.pairs.pairing import Pairing
    from .....data.datasets.importing.source import Source
    from .....data.datasets.importing.writer import Imported

_OF_FOLDERS = (
    *("images", "labels", "masks", "skip_unpaired", "label_names", "channel_names"),
    "patients_by_folder",
)
_EPILOG = """\
sources:
  FOLDER               scans and label maps, however they are named; without --images and --labels
                       the pairing that is seen is shown, and asked for
  TABLE.csv            columns case, image, label; several image columns are channels
  FOLDER               with a dataset.json: nnU-Net raw v1 or v2, or the Decathlon's layout
  FOLDER               BTCV's RawData, TotalSegmentator's data set, TCIA's Pancreas-CT
  msd:Task09_Spleen    one of the Decathlon's ten tasks, downloaded; msd: alone lists them
  ARCHIVE.tar          of the Decathlon, that you have

examples:
  gridgate import scans D --images 'img/* CT.nii.gz' --labels 'seg/* RTSS.nii.gz'
  gridgate import scans D --images '*/ct.nii.gz' --labels '*/organs.seg.nrrd' --yes
  gridgate import scans D --images '*/CT' --labels '*/seg.dcm' --label_names '{liver: 1}'
"""


def add(subparsers: Any) -> None:
    """Describe the command."""
    command = subparsers.add_parser(
        "import",
        help="a dataset from a folder of scans, nnU-Net, the Decathlon and others",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.add_argument("source", metavar="SOURCE", help="see below; it is only read")
    command.add_argument("dataset", metavar="D", help="the dataset folder that is written")
    group = command.add_argument_group("which files belong together")
    group.add_argument(
        "--images",
        action="append",
        metavar="PATTERN",
        help="what the star stands for is the case; once per channel. A folder is a DICOM series",
    )
    group.add_argument("--labels", metavar="PATTERN", help="the label maps' pattern")
    group.add_argument(
        "--masks", metavar="MAP", help="a mask per label: '{liver: \"*/liver.nii.gz\"}'"
    )
    group.add_argument("--yes", action="store_true", help="take what is proposed, ask nothing")
    group.add_argument(
        "--skip_unpaired", action="store_true", help="leave out what has no counterpart"
    )
    group.add_argument(
        "--patients_by_folder",
        action="store_true",
        help="the first folder of a star is the patient, whose scans stay in one half of a fold",
    )
    group.add_argument(
        "--skip_broken", action="store_true", help="leave out cases that cannot be read"
    )
    group = command.add_argument_group("what they are")
    group.add_argument("--label_names", metavar="MAP", help="such as '{liver: 1, spleen: 2}'")
    group.add_argument(
        "--annotated",
        metavar="MAP",
        help="of cases that are not wholly annotated: '{\"btcv_*\": [liver]}', ids or patterns",
    )
    group.add_argument("--channel_names", metavar="LIST", help="such as '[CT]' or '[T2, ADC]'")
    group.add_argument("--name", help="of the dataset; by default the folder's")
    group.add_argument("--licence", help="of the data, as dataset.json and import.json keep it")
    group.add_argument(
        "--classes", metavar="LIST", help="TotalSegmentator: such as '[liver, spleen]'"
    )
    group = command.add_argument_group("how they are taken")
    group.add_argument("--copy", action="store_true", help="copies in the place of links")
    group.add_argument("--base_address", metavar="URL", help="a mirror of the Decathlon's archives")
    group.add_argument("--checksum", metavar="MD5", help="of the archive on that mirror")
    add_console_options(command)


def run(options: argparse.Namespace) -> None:
    """Import; the last line says what is there now."""
    from .....data.datasets.importing.refusals import refuse_source_as_output
    from .....data.datasets.importing.writer import write_dataset
    from .....data.datasets.sources import msd

    refuse_source_as_output(options.source, Path(options.dataset))
    if options.source.startswith(msd.PREFIX):
        _task_of_the_decathlon(options)
        return
    source = _renamed(_source(options), options)
    done = write_dataset(
        source, options.dataset, copy=options.copy, skip_broken=options.skip_broken
    )
    _say(source, done)


def _task_of_the_decathlon(options: argparse.Namespace) -> None:
    from .....data.datasets.importing.writer import write_dataset
    from .....data.datasets.sources import msd, msd_tasks
    from .....data.errors import ConfigError
    from .....data.output_folder import OutputFolder

    _refuse(options, "a task of the Decathlon", *_OF_FOLDERS, "classes")
    task = options.source.removeprefix(msd.PREFIX)
    if not task:
        raise ConfigError(f"name a task, such as msd:Task09_Spleen\n{msd_tasks.facts_table()}")
    msd_tasks.task_named(task)
    address = options.base_address or msd_tasks.BASE_ADDRESS
    with OutputFolder(options.dataset) as output:
        if msd.is_imported(task, output, address):
            _refuse_changes(options)
            say_last(f"{options.dataset}: {options.source} is there already; nothing to do")
            return
        source = msd.download_task(task, output, base_address=address, md5=options.checksum)
        source = _renamed(source, options)
        done = write_dataset(source, output, skip_broken=options.skip_broken)
        msd.remove_download(task, output)
    _say(source, done)


def _refuse_changes(options: argparse.Namespace) -> None:
    """Refuse what a dataset that is there already does not say: its archive is gone.

    Raises:
        ConfigError: --name, --licence or --annotated are others than dataset.json's.
    """
    from .....data.datasets import annotated
    from .....data.datasets.dataset import load_dataset
    from .....data.errors import ConfigError

    file = Path(options.dataset) / "dataset.json"
    content = json.loads(file.read_text(encoding="utf-8"))
    asked = {"name": options.name, "licence": options.licence}
    others = [name for name, value in asked.items() if value and value != content.get(name)]
    if wanted := annotated_labels(options.annotated):
        found = load_dataset(options.dataset)
        known = {case.id: case.annotated for case in found.cases if case.annotated is not None}
        names_of = [name for name, value in found.labels.items() if value]
        said = {annotated.ANNOTATED: wanted}
        if (
            annotated.annotated_labels(said, names_of, [one.id for one in found.cases], file)
            != known
        ):
            others.append("annotated")
    if others:
        raise ConfigError(
            f"{options.dataset}: {options.source} is there already, and its dataset.json has "
            f"another {' and '.join(others)}; edit that file, or import into another folder"
        )


def _say(source: Source, done: Imported) -> None:
    labels = ", ".join(name for name, value in source.labels.items() if value != 0)
    told = f"{done.cases} cases" + (f" and {done.tests} without labels" if done.tests else "")
    what = f"{done.made} files made, {done.kept} were there"
    what = what if done.changed else "all was there, nothing was changed"
    say_last(f"{done.folder}: {told}; labels {labels}; {what}")


def _source(options: argparse.Namespace) -> Source:
    from .....data.datasets.importing.archive import SUFFIXES
    from .....data.datasets.sources.layouts import layout_source
    from .....data.datasets.sources.msd import tar_source

    _refuse(options, "this source, which is no task of the Decathlon,", "base_address", "checksum")
    path = Path(options.source)
    if path.name.lower().endswith(SUFFIXES) and not path.is_dir():
        _refuse(options, "an archive of the Decathlon", *_OF_FOLDERS, "classes")
        return tar_source(path)
    if path.is_dir() and not (options.images or options.labels or options.masks):
        found = layout_source(path, classes=names(options.classes), licence=options.licence or "")
        if found is not None:
            _refuse(options, f"{path}, whose layout is known,", *_OF_FOLDERS)
            return found
    _refuse(options, f"{path}, which is not TotalSegmentator's data set,", "classes")
    return _folder_or_table(options, path)


def _renamed(source: Source, options: argparse.Namespace) -> Source:
    from dataclasses import replace

    return replace(
        source,
        name=options.name or source.name,
        licence=options.licence or source.licence,
        annotated={**source.annotated, **annotated_labels(options.annotated)},
    )


def _refuse(options: argparse.Namespace, what: str, *others: str) -> None:
    """Refuse options that would not be used."""
    from .....data.errors import ConfigError

    for name in others:
        if getattr(options, name):
            raise ConfigError(f"--{name} does not go with {what}; leave it out")


def _folder_or_table(options: argparse.Namespace, path: Path) -> Source:
    from .....data.datasets.importing.pairs.pairing import by_folder, settle_unpaired
    from .....data.datasets.sources.folder import folder_source, labels_of

    pairing = _pairing(options, path, Path(options.dataset))
    pairing, notes = settle_unpaired(pairing, skip=options.skip_unpaired)
    pairing, told = by_folder(pairing, wanted=options.patients_by_folder)
    pairing, labels = labels_of(pairing, label_names(options.label_names))
    if labels.unnamed:
        labels = _name(labels, options)
    return folder_source(
        pairing,
        labels,
        channels=names(options.channel_names),
        notes=(*notes, *told),
    )


def _pairing(options: argparse.Namespace, path: Path, dataset: Path) -> Pairing:
    from .....data.datasets.importing.pairs.pairing import pair_by_patterns
    from .....data.datasets.importing.pairs.patterns import Listing
    from .....data.datasets.importing.pairs.proposal import propose
    from .....data.datasets.sources.table import read_pairing_table
    from .....data.errors import ConfigError

    if path.suffix.lower() == ".csv" and not path.is_dir():
        return read_pairing_table(path)
    listing = Listing(path, [dataset])
    if options.images and (options.labels or options.masks):
        return pair_by_patterns(
            listing, options.images, options.labels, mapping("masks", options.masks)
        )
    if options.images or options.labels or options.masks:
        raise ConfigError("--images and --labels (or --masks) are given together, or neither")
    proposed = propose(listing)
    _agree(proposed, options)
    return proposed


def _agree(proposed: Pairing, options: argparse.Namespace) -> None:
    """Show the proposed pairing, and have it accepted.

    Raises:
        ConfigError: it is not, or nobody can be asked.
    """
    from .....data.datasets.importing.pairs.pairing import as_table
    from .....data.errors import ConfigError

    lost = "".join(f"\n  {name}: {why}" for name, why in list(proposed.unpaired.items())[:10])
    without = f"\nwithout a counterpart ({len(proposed.unpaired)}):{lost}" if lost else ""
    if proposed.unused:
        without += (
            f"\nnot used: {len(proposed.unused)} images, such as {proposed.unused[0]} (each "
            "channel of an image is an --images PATTERN of its own)"
        )
    shown = (
        f"{proposed.origin}: {len(proposed.pairs)} cases by {proposed.options}\n"
        f"{as_table(proposed)}{without}"
    )
    if options.yes:
        print(shown, file=sys.stderr)
        return
    if not sys.stdin.isatty():
        raise ConfigError(
            f"{shown}\nTake this pairing by --yes, or say another by --images PATTERN and --labels "
            "PATTERN, where the star stands for the case"
        )
    print(shown, file=sys.stderr)
    if _asked("Import these? [y/N] ").lower() not in ("y", "yes"):
        raise ConfigError("nothing was imported; say the pairing by --images and --labels")


def _asked(question: str) -> str:
    """What a person answers.

    Raises:
        ConfigError: nothing, as by Ctrl-D.
    """
    from .....data.errors import ConfigError

    try:
        return input(question).strip()
    except EOFError:
        raise ConfigError("nothing was answered, so nothing was imported") from None


def _name(labels: NamedLabels, options: argparse.Namespace) -> NamedLabels:
    """Ask for the names of values that have none, or number them."""
    from .....data.datasets.importing.label_names import numbered, with_names
    from .....data.errors import ConfigError

    if options.yes:
        return numbered(labels)
    told = ", ".join(f"{value} (in {files})" for value, files in labels.unnamed.items())
    if not sys.stdin.isatty():
        example = ", ".join(f"name_{value}: {value}" for value in list(labels.unnamed)[:3])
        raise ConfigError(
            f"the label maps hold the values {told} and no names; name them by --label_names "
            f"'{{{example}}}', or take label_1, label_2, ... by --yes"
        )
    print(f"The label maps hold values without names (in how many files): {told}", file=sys.stderr)
    given = {}
    for value in labels.unnamed:
        given[value] = _asked(f"name of {value} [label_{value}]: ") or f"label_{value}"
    return with_names(labels, given)
