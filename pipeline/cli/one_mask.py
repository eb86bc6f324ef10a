"""One scan to one file: `gridgate infer BUNDLE ct.nii.gz mask.nii.gz`."""

from __future__ import annotations

import argparse
import shutil
import tempfile
from pathlib import Path
from typing import Any

from ...data.errors import ConfigError
from ...data.files import refuse_existing_file, write_atomically
from ...data.images.names import IMAGE_SUFFIXES, MASK_SUFFIXES
from ..config.values import override_value
from .bundle_run import bundle_workflow
from .console import say_last
from .settings import settings_of

_IN_A_FOLDER = ("probabilities", "dicom_seg", "region_masks")
_NO_SHARD = ("", "auto", "null", "none")


def mask_ending(output: str) -> str | None:
    """The end of the name where OUTPUT means one mask; None where it is a folder.

    Raises:
        ConfigError: the name is that of an image that masks are not written as.

    Example:
        >>> mask_ending("out/liver.nii.gz"), mask_ending("out/liver")
        ('.nii.gz', None)
    """
    name = Path(output).name.lower()
    if Path(output).is_dir():
        return None
    for ending in MASK_SUFFIXES:
        if name.endswith(ending) and len(name) > len(ending):
            return ending
    if name.endswith((*IMAGE_SUFFIXES, ".dcm")):
        raise ConfigError(
            f"{output}: masks are written as {', '.join(MASK_SUFFIXES)}, or into a folder"
        )
    return None


def infer_one(options: argparse.Namespace, words: dict[str, str], ending: str) -> None:
    """Write the mask of one scan, and nothing else.

    A file that is there is replaced only with `--overwrite True`, whoever wrote it.

    Args:
        words: of `given_words`; "output_dir" is the file.

    Raises:
        ConfigError: several scans, a setting that writes more files than one, a file that is there.
        CasesFailedError: the scan cannot be segmented.
        OutputError: the file cannot be written.
    """
    target = Path(words["output_dir"])
    _check_settings(words, ending)
    overwrite = override_value("overwrite", words.get("overwrite", "false"), False) is True
    refuse_existing_file(target, overwrite=overwrite)
    known = {setting.name for setting in settings_of(options.config, options.bundle)}
    if "output_ext" in known or ending != ".nii.gz":
        words = {**words, "output_ext": ending}
    if "report" in known:
        words = {**words, "report": "false"}
    if "shard" in known:  # one scan is all, also within a job array
        words = {**words, "shard": "null"}
    with tempfile.TemporaryDirectory(prefix="gridgate-mask-") as folder:
        workflow = bundle_workflow(options, "inferring", {**words, "output_dir": folder})
        workflow.initialize()
        _check_cases(workflow.parser.get_parsed_content("dataset").data, target)
        _run(workflow)
        (row,) = workflow.parser.get_parsed_content("table").rows
        refuse_existing_file(target, overwrite=overwrite)
        with open(Path(folder) / row["output"], "rb") as mask:
            write_atomically(target, lambda stream: shutil.copyfileobj(mask, stream))
    say_last(str(target))


def _check_settings(words: dict[str, str], ending: str) -> None:
    for name in _IN_A_FOLDER:
        if words.get(name, "").lower() not in ("", "false", "[]"):
            raise ConfigError(
                f"--{name} writes files beside the mask: give a folder as OUTPUT, not "
                f"{words['output_dir']}"
            )
    if words.get("shard", "").lower() not in _NO_SHARD:
        raise ConfigError(f"--shard {words['shard']}: one scan is not shared out; leave it out")
    given = words.get("output_ext", ending)
    if given != ending:
        raise ConfigError(f"--output_ext {given}: OUTPUT is {words['output_dir']}; leave one out")


def _check_cases(items: list[dict[str, Any]], target: Path) -> None:
    from ..batch.case import Case

    if len(items) > 1:
        raise ConfigError(
            f"{target} is one file, and there are {len(items)} scans ({items[0]['id']}, "
            f"{items[1]['id']}, ...): give a folder as OUTPUT"
        )
    for file in (file for item in items for file in Case.of(item).files):
        if file.resolve() == target.resolve():
            raise ConfigError(f"{target}: the mask would overwrite the scan; give another name")


def _run(workflow: Any) -> None:
    from ..batch.evaluator import CasesFailedError

    try:
        workflow.run()
        workflow.finalize()
    except Exception as error:
        failed = workflow.parser.get_parsed_content("table").failed
        if failed:  # the table, which the error names, does not stay
            raise CasesFailedError(f"{failed[0]['case']}: {failed[0]['reason']}") from error
        raise
