"""What MONAI calls: the start of a bundle's workflow, and the workflow that `gridgate` runs.

The overrides of a run are checked at its start, and its values that can change a result are known
from then on (`run_settings`).
"""

from __future__ import annotations

import inspect
import logging
import sys
import weakref
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any, NamedTuple, cast

from monai.bundle import BundleWorkflow, ConfigWorkflow
from monai.utils import ensure_tuple

from ..data.errors import ConfigError, user_error
from .config.all_cases import settle_fold_all
from .config.given_cases import settle_given_cases
from .config.identity import META, identity, refers_to_metadata
from .config.ids import check_ids, config_files, default_of, files_of, known_ids, unknown_id
from .config.twins import check_run
from .config.values import CODE, SEP, as_data, is_path, override_value, quoted, settle

STOPPED = "stopped; start the same command again to go on"

_started: weakref.ref[BundleWorkflow] | None = None  # the workflow that called `begin` last
_current: ContextVar[BundleRun | None] = ContextVar("gridgate_workflow", default=None)
_MONAI_SCRIPTS = "monai.bundle.scripts"


class BundleRun(ConfigWorkflow):
    """A workflow of a bundle as the `gridgate` command runs it: MONAI's, with checked overrides.

    Example:
        >>> run = BundleRun("phantom_attention_unet", "inference.yaml", "inferring",
        ...     {"input_dir": "scans", "output_dir": "masks", "overlap": "0.25"})  # doctest: +SKIP
        >>> run.initialize(), run.run(), run.finalize()  # doctest: +SKIP

    Args:
        folder: the bundle.
        config: name of the file in its `configs`.
        run_id: id of the expressions to run.
        words: id -> text, as on a command line. Paths are data: nothing in them is parsed or run.

    Raises:
        ConfigError: there is no such file; an id is unknown or a value impossible.
    """

    def __init__(
        self, folder: str | Path, config: str, run_id: str, words: Mapping[str, str]
    ) -> None:
        file = Path(folder) / "configs" / config
        if not file.is_file():
            raise ConfigError(f"{file}: there is no such file; {folder} is no whole bundle")
        with _silent(logging.getLogger("monai.bundle.workflows")):  # says that logging is ours
            super().__init__(
                config_file=str(file),
                run_id=run_id,
                workflow_type="train" if run_id == "training" else "infer",
                logging_file=False,
            )
        self._known = known_ids([file], self.meta_file or {})
        self._others = [path for path in config_files(file.parent) if path != file]
        for name, text in {"bundle_root": str(folder), **words}.items():
            self._override(name.replace("#", SEP), text)

    def _override(self, id_: str, text: str) -> None:
        config = cast("dict[str, Any]", self.parser.config)
        if id_.split(SEP)[0] == META and not refers_to_metadata(config):
            raise ConfigError(
                f"--{id_}: this workflow reads nothing of the metadata; give --{id_.split(SEP)[-1]}"
            )
        value = override_value(id_, text, default_of(self._known, id_))
        try:
            self.parser[id_] = as_data(id_, value)
        except (KeyError, IndexError, ValueError, TypeError) as error:
            known = self._known
            raise unknown_id(id_, known, known, self._others) from error

    def check(self) -> None:
        """Refuse overrides that no setting takes, before anything is made.

        Raises:
            ConfigError: an id is unknown, or a value impossible.
        """
        _check(self, self._known, self._others)

    def initialize(self) -> Any:
        """Check the overrides, then run the config's `initialize`."""
        self.check()
        with self._running():
            return super().initialize()

    def run(self) -> Any:
        """Run the expressions of `run_id`."""
        with self._running():
            return super().run()

    def finalize(self) -> Any:
        """Run the config's `finalize`, where there is one."""
        with self._running():
            return super().finalize()

    @contextmanager
    def _running(self) -> Iterator[None]:
        token = _current.set(self)
        try:
            yield
        finally:
            _current.reset(token)


def begin() -> None:
    """First step of each bundle's `initialize`: wrong overrides end the run before it starts.

    Raises:
        ConfigError: an id in the config is in none of the workflow's config files; the text names
            the nearest. Or a value that no setting of its kind takes.
    """
    global _started
    workflow: BundleWorkflow | None = _current.get()
    if workflow is None:
        call = _monai_call()
        workflow = call.workflow
        if isinstance(workflow, ConfigWorkflow):
            if _is_monai_command():
                _show_errors_plainly(workflow)
            _check_call(workflow, call)
    _started = None if workflow is None else weakref.ref(workflow)


def run_settings(*, without: Iterable[str] = ()) -> dict[str, Any]:
    """Flat id -> value of all that can change the running workflow's results.

    Overrides and macros are resolved, expressions are text (see `config.identity`). The values can
    be written as JSON and are the same in each run of the same settings.

    Args:
        without: ids, of components all inside them, that do not change what is asked for, such as
            an evaluation's fold, which changes no mask.

    Returns:
        An empty dict where no workflow has called `begin`: tools that parse the config themselves.
    """
    workflow = _current.get() or (_started() if _started is not None else None)
    if not isinstance(workflow, ConfigWorkflow):
        return {}
    found = identity(cast("dict[str, Any]", workflow.parser.config))
    dropped = tuple(without)
    inside = tuple(f"{id_}::" for id_ in dropped)
    return {
        id_: value
        for id_, value in found.items()
        if id_ not in dropped and not id_.startswith(inside)
    }


@contextmanager
def _silent(logger: logging.Logger) -> Iterator[None]:
    before, logger.disabled = logger.disabled, True
    try:
        yield
    finally:
        logger.disabled = before


def _check_call(workflow: ConfigWorkflow, call: _MonaiCall) -> None:
    """Check a workflow that MONAI made, after giving it the nulls that MONAI dropped."""
    folder = Path(workflow.config_root_path)
    config = cast("dict[str, Any]", workflow.parser.config)
    files = call.config_files or files_of(config, folder)
    used = {path.resolve() for path in files}
    # multi_gpu_train.yaml and the like are no workflow of their own, nor is a settings file
    others = [path for path in config_files(folder) if path.resolve() not in used]
    known = known_ids(files, workflow.meta_file or {})
    for name in call.nulls:
        try:
            workflow.parser[name] = None
        except (KeyError, IndexError, ValueError, TypeError) as error:
            raise unknown_id(name.replace("#", SEP), known, known, others) from error
    typed = _typed_paths(sys.argv) if _is_monai_command() else {}
    for name, path in {**call.paths, **typed}.items():
        if not path.startswith(CODE):  # else it is meant as an expression, as MONAI has it
            workflow.parser[name] = quoted(path)
    if config.get("bundle_root") == "." and folder.name == "configs":
        # so that a bundle finds its weights from any folder
        workflow.parser["bundle_root"] = quoted(str(folder.resolve().parent))
    _check(workflow, known, others)
    workflow.parser.ref_resolver.reset()  # what was parsed before the nulls came


def _check(workflow: ConfigWorkflow, known: Mapping[str, Any], others: list[Path]) -> None:
    config = cast("dict[str, Any]", workflow.parser.config)
    check_run(config, Path(workflow.config_root_path).parent)
    settle_given_cases(config, known)
    settle_fold_all(config, known)
    check_ids(config, known, workflow.parser.locator, others)
    settle(config, known)


class _MonaiCall(NamedTuple):
    workflow: BundleWorkflow | None
    config_files: list[Path]
    nulls: list[str]  # ids that were given as None
    paths: dict[str, str]  # paths whose `#` MONAI has made `::` of


def _monai_call() -> _MonaiCall:
    """The MONAI workflow that evaluates the config now, and what `monai.bundle.run` was given.

    MONAI hands an expression neither its workflow nor the names of the config files, and its `run`
    drops overrides that are None. All three are read off the Python stack, and only here: the
    workflow is the `self` of the nearest frame that has one of that type; the calls that made it
    are the frames of monai.bundle.scripts directly above.
    """
    frame: FrameType | None = inspect.currentframe()
    while frame is not None and not isinstance(frame.f_locals.get("self"), BundleWorkflow):
        frame = frame.f_back
    if frame is None:
        return _MonaiCall(None, [], [], {})
    workflow = frame.f_locals["self"]
    while frame is not None and frame.f_locals.get("self") is workflow:
        frame = frame.f_back
    files: list[Path] = []
    nulls: list[str] = []
    paths: dict[str, str] = {}
    of_monai = inspect.signature(ConfigWorkflow.__init__).parameters
    while frame is not None and frame.f_globals.get("__name__") == _MONAI_SCRIPTS:
        named = frame.f_locals.get("config_file")
        files = files or [Path(str(name)) for name in ensure_tuple(named) if named is not None]
        given = frame.f_locals.get("override") or frame.f_locals.get("kwargs") or {}
        nulls += [
            name
            for name, value in given.items()
            if value is None and name not in of_monai and name not in nulls
        ]
        paths |= {
            name: value
            for name, value in given.items()
            if isinstance(value, str) and "#" in value and is_path(name.replace("#", SEP))
        }
        frame = frame.f_back
    return _MonaiCall(workflow, files, nulls, paths)


def _typed_paths(words: Sequence[str]) -> dict[str, str]:
    """Paths with a `#` on MONAI's command line, of which its parser (fire) leaves the start."""
    found = {}
    for word, after in zip(words, [*words[1:], ""], strict=True):
        name, equals, value = word.removeprefix("--").partition("=")
        value = value if equals else after
        if word.startswith("--") and "#" in value and is_path(name.replace("#", SEP)):
            found[name] = value
    return found


def _is_monai_command() -> bool:
    """Whether this process is `python -m monai.bundle`, not another tool that runs a bundle."""
    spec = getattr(sys.modules.get("__main__"), "__spec__", None)
    return getattr(spec, "name", "") == "monai.bundle.__main__"


def _show_errors_plainly(workflow: BundleWorkflow) -> None:
    """Print the text alone of an error that a user can cause, until the workflow is gone."""
    before = sys.excepthook

    def hook(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        cause = user_error(error)
        if isinstance(error, KeyboardInterrupt):
            print(str(error) or STOPPED, file=sys.stderr)
        elif cause is None:
            before(kind, error, trace)
        else:
            print(f"error: {cause}", file=sys.stderr)

    def restore() -> None:
        if sys.excepthook is hook:
            sys.excepthook = before

    sys.excepthook = hook
    weakref.finalize(workflow, restore).atexit = False
