"""The files that a run's results are written to: what must not be overwritten is refused first."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...data.errors import ConfigError, OutputError
from ...data.output_folder import OutputFolder
from ...transforms.postprocess import Postprocessing
from .case import Case


@dataclass(frozen=True)
class Targets:
    """Where the cases of a run are written to.

    Args:
        postprocessing: what writes them; of another one than a Postprocessing only the mask's usual
            place is known.
        output: the folder of the run.
    """

    postprocessing: Callable[[Any], Any] | None
    output: OutputFolder

    def why_unsafe(self, case: Case) -> str | None:
        """Why a case's results cannot be called after its id; None where they can."""
        try:
            self.output.path(f"{case.id}.nii.gz")
        except OutputError as error:
            return str(error)
        return None

    def refuse_foreign(self, cases: Sequence[Case]) -> None:
        """Refuse to write where a file lies that Gridgate did not write.

        Raises:
            OutputError: there is one.
        """
        if isinstance(self.postprocessing, Postprocessing):
            safe = [case for case in cases if self.why_unsafe(case) is None]
            self.postprocessing.refuse_foreign([(case.id, case.images[0]) for case in safe])

    def refuse_overwriting_inputs(self, cases: Sequence[Case]) -> None:
        """Refuse to write over a scan or a label of any of the cases.

        Raises:
            ConfigError: a mask would.
        """
        inputs = {path.resolve() for case in cases for path in case.files}
        for case in cases:
            for file in self.files(case):
                if file.resolve() in inputs:
                    raise ConfigError(
                        f"{file}: the mask would overwrite this file; give another --output_dir"
                    )

    def files(self, case: Case) -> list[Path]:
        """The files that a case's results are written to."""
        if isinstance(self.postprocessing, Postprocessing):
            return self.postprocessing.files(case.id, case.images[0])
        return [Path(self.output.folder) / f"{case.id}.nii.gz"]
