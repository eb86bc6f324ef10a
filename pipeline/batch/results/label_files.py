"""The tables of labels that lie beside the masks of a run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, BinaryIO

from ....data.label_tables.files import label_files
from ....data.label_tables.table import LabelTable
from ....data.output_folder import OutputFolder
from ....transforms.postprocess import Postprocessing
from ...plans.plan import Plan
from .case_table import CaseTable


class LabelFiles:
    """labels.json (nnU-Net), labels.ctbl (3D Slicer) and labels.label (ITK-SNAP) of a run.

    One that is there with the same content is left alone.

    Args:
        files: name -> content.
    """

    def __init__(self, output: OutputFolder, files: Mapping[str, bytes]) -> None:
        self.output = output
        self.files = files

    @classmethod
    def beside_masks(
        cls, postprocessing: Callable[[Any], Any] | None, cases: CaseTable, plan: Plan | None
    ) -> LabelFiles:
        """Those that belong to the masks that a postprocessing writes; none where it writes none.

        Args:
            cases: of the run, for its folder and labels.
            plan: of the run, for the names of the image's channels.
        """
        writer = postprocessing.mask_writer if isinstance(postprocessing, Postprocessing) else None
        if writer is None:
            return cls(cases.output, {})
        table = writer.table or LabelTable.of(cases.labels)
        return cls(
            cases.output,
            label_files(table, file_ending=writer.output_ext, channels=_channels(plan)),
        )

    def refuse_foreign(self) -> None:
        """Refuse to write where somebody else's file is in the place of one.

        Raises:
            OutputError: there is one.
        """
        self.output.refuse_foreign(self._changed())

    def write(self) -> None:
        """Write those that are not there, or are of other labels.

        Raises:
            OutputError: the system refuses, or somebody else's file is in the place of one.
        """
        for name in self._changed():
            self.output.write(name, partial(_write, self.files[name]))

    def _changed(self) -> list[str]:
        return [name for name, content in self.files.items() if self._found(name) != content]

    def _found(self, name: str) -> bytes | None:
        try:
            return self.output.path(name).read_bytes()
        except OSError:
            return None


def _channels(plan: Plan | None) -> list[str]:
    """Names of the image's channels as nnU-Net has them: the modality, numbered where several."""
    modality = (plan.modality if plan is not None else None) or "image"
    count = 1 if plan is None else plan.channels
    return [modality] if count == 1 else [f"{modality}_{index}" for index in range(count)]


def _write(content: bytes, stream: BinaryIO) -> None:
    stream.write(content)
