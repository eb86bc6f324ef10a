"""Commands, settings and Python of the documents, held against the program; nothing is run."""

import ast
import importlib
import re
import shlex
from copy import deepcopy
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from monai.bundle import ComponentLocator, ConfigParser

from gridgate.data.errors import ConfigError
from gridgate.networks import NETWORKS
from gridgate.pipeline.cli.arguments import parse_overrides, read_settings
from gridgate.pipeline.cli.main import COMMANDS, parser
from gridgate.pipeline.config.ids import check_ids, default_of, known_ids
from gridgate.pipeline.config.values import SEP, override_value, settle
from gridgate.pipeline.plans.bundle_folders import bundle_path, shipped_bundles
from gridgate.pipeline.plans.new_bundle import new_bundle
from gridgate.pipeline.plans.plan_settings import with_settings
from gridgate.pipeline.plans.planning import DATASETS, new_plan_settings

from .documents import DOCS, USER_PAGES, blocks, command_lines, inline_code, text_of

BUNDLE = "phantom_attention_unet"
WORKFLOWS = {"train": "train.yaml", "evaluate": "evaluate.yaml", "infer": "inference.yaml"}
RUN_IDS = {"training": "train", "evaluating": "evaluate", "inferring": "infer"}
# of MONAI's own commands, and of others that the pages name beside ours
NOT_OURS = {
    *("--config_file", "--logging_file", "--meta_file", "--tracking", "--nproc_per_node"),
    *("--disable_tta", "--save_probabilities", "--statistics", "--ml", "--c"),
}
COMMAND_LINES = sorted(
    {(str(page), line) for page in USER_PAGES for line in command_lines(text_of(page))}
)


def options_of(words: list[str]) -> Any:
    """What the real parser makes of the words of a `gridgate` command, or None for its help."""
    try:
        return parser().parse_args(words)
    except SystemExit as end:
        assert end.code == 0, f"gridgate {shlex.join(words)}: not understood"
        return None


@cache
def config_of(command: str) -> tuple[dict[str, Any], ComponentLocator]:
    """A workflow's config as it stands in the bundle's file; read once."""
    file = bundle_path(BUNDLE) / "configs" / WORKFLOWS[command]
    return known_ids([file]), ConfigParser().locator


def check_workflow(command: str, settings: dict[str, str]) -> None:
    """Refuse what the workflow of a command would refuse of its settings."""
    known, locator = config_of(command)
    given = deepcopy(known)
    for id_, text in settings.items():
        *above, last = id_.split(SEP)
        place: Any = given
        for key in above:
            place = place[int(key)] if isinstance(place, list) else place.setdefault(key, {})
        if not isinstance(place, dict):
            raise ConfigError(f"--{id_} is no setting of this bundle: nothing is inside {above}")
        place[last] = override_value(id_, text, default_of(known, id_))
    check_ids(given, known, locator)
    settle(given, known)


def check_gridgate(words: list[str]) -> None:
    options = options_of(words)
    if options is None or len(words) == 1:
        return
    if options.command in WORKFLOWS:
        check_workflow(options.command, read_settings(options.settings))
    if options.command == "new-bundle":
        check_new_bundle(options)
    if options.command == "networks":
        assert set(options.names) <= set(NETWORKS)
    if options.command == "bundles" and options.copy and options.copy.islower():
        bundle_path(options.copy)


def check_new_bundle(options: Any) -> None:
    placeholder = re.compile(r"[A-Z_]+|\$\w+")
    if not placeholder.fullmatch(options.network):
        assert options.network in NETWORKS
    if not placeholder.fullmatch(options.dataset) and not options.dataset.endswith(".yaml"):
        assert (DATASETS / f"{options.dataset}.yaml").is_file()
    with_settings(plan_settings(), parse_overrides(options.settings))


@cache
def plan_settings() -> dict[str, Any]:
    """The settings that `gridgate new-bundle` takes."""
    return new_plan_settings("attention_unet", "btcv", size="small", spatial_dims=3, name="new")


def check_monai(words: list[str]) -> None:
    """`python -m monai.bundle run RUN_ID --config_file FILE ...` of our bundles."""
    if words[0] != "run" or words[1] not in RUN_IDS or len(words) == 2:
        return  # another tool's bundle, or a mention in passing
    given = read_settings(words[2:])
    for name in re.findall(r"configs/(\w+)\.yaml", given.pop("config_file")):
        assert (bundle_path(BUNDLE) / "configs" / f"{name}.yaml").is_file()
    command = RUN_IDS[words[1]]
    own = {name: text for name, text in given.items() if f"--{name}" not in NOT_OURS}
    check_workflow(command, own)


@pytest.mark.parametrize(("page", "line"), COMMAND_LINES, ids=lambda one: one[:60])
def test_commands_exist(page: str, line: str) -> None:
    words = shlex.split(line.removeprefix("$ "), comments=True)
    if "monai.bundle" in words:
        check_monai(words[words.index("monai.bundle") + 1 :])
        return
    start = next(index for index, word in enumerate(words) if word.rpartition("/")[2] == "gridgate")
    rest = words[start + 1 :]
    assert rest[0] in COMMANDS or rest[0] == "--version", f"{page}: there is no gridgate {rest[0]}"
    bare = rest[0] in WORKFLOWS and len([word for word in rest if word[:1] != "-"]) == 1
    if not (bare or len(rest) == 1):
        check_gridgate(rest)


def test_the_check_of_commands_can_fail() -> None:
    with pytest.raises(ConfigError, match="overlap"):
        check_gridgate(["infer", "O", "CTS", "M", "--overlapp", "0.25"])
    with pytest.raises(ConfigError):
        check_monai(["run", "training", "--config_file", "O/configs/train.yaml", "--epoch", "3"])
    with pytest.raises(AssertionError):
        check_gridgate(["export", "O"])
    with pytest.raises(ConfigError):
        check_gridgate(["new-bundle", "unetr", "btcv", "--roi", "[64, 64, 64]"])
    assert len(COMMAND_LINES) > 40


def own_options() -> set[str]:
    """Every option of every command, as argparse knows them."""
    actions = [action for action in parser()._actions if hasattr(action, "choices")]
    commands = next(action.choices for action in actions if isinstance(action.choices, dict))
    return {name for command in commands.values() for name in command._option_string_actions}


@pytest.mark.parametrize("page", USER_PAGES, ids=str)
def test_settings_named_in_passing_exist(page: Path) -> None:
    """`--fold 1` in a sentence or a table: a setting of a workflow, or an option of a command."""
    options = own_options() | NOT_OURS
    unknown = []
    for code in inline_code(text_of(page)):
        if not code.startswith("--") or any(sign in code for sign in "|"):
            continue
        words = shlex.split(code)
        name = words[0].partition("=")[0]
        if name in options or not re.fullmatch(r"--[a-z]\w*(::\w+)*", name):
            continue
        value = " ".join(words[1:]) or "null"
        if not _of_a_plan(name[2:], value) and not any(
            _accepts(command, name[2:], value, named=len(words) == 1) for command in WORKFLOWS
        ):
            unknown.append(code)
    assert unknown == []


def _of_a_plan(name: str, value: str) -> bool:
    try:
        with_settings(plan_settings(), {name: value})
    except ConfigError:
        return False
    return True


def _accepts(command: str, name: str, value: str, *, named: bool) -> bool:
    """Whether a workflow or plan takes a setting, with its value where the text gives one."""
    try:
        check_workflow(command, {name: value})
    except ConfigError as error:
        return named and "is no setting" not in str(error)
    return True


@pytest.mark.parametrize("page", USER_PAGES, ids=str)
def test_python_imports_what_is_there(page: Path) -> None:
    for block in blocks(text_of(page)):
        if block.language != "python":
            continue
        for node in ast.walk(ast.parse(block.code)):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("gridgate"):
                for name in node.names:
                    assert is_there(f"{node.module}.{name.name}"), f"{page}: {node.module}"


def is_there(name: str) -> bool:
    """Whether a module, or something in a module, has this name."""
    try:
        importlib.import_module(name)
    except ModuleNotFoundError:
        module, _, attribute = name.rpartition(".")
        return hasattr(importlib.import_module(module), attribute)
    return True


@pytest.mark.parametrize("page", sorted((DOCS / "api").glob("*.md")), ids=lambda path: path.name)
def test_documented_names_exist(page: Path) -> None:
    for name in re.findall(r"^::: (\S+)", page.read_text(), re.MULTILINE):
        assert is_there(name), name


def test_the_dataset_file_of_the_page_makes_a_bundle(tmp_path: Path) -> None:
    """The YAML that the page for own scans tells people to write."""
    text = text_of(Path("docs/tasks/own_scans.md"))
    (source,) = [block.code for block in blocks(text) if block.language == "yaml"]
    path = tmp_path / "liver.yaml"
    path.write_text(source)
    folder = new_bundle("attention_unet", str(path), tmp_path / "liver_bundle", size="small")
    config = yaml.safe_load((folder / "configs" / "train.yaml").read_text())
    assert config["labels"] == ["background", "liver", "tumour"]
    assert config["roi_size"] == [96, 96, 96]


def test_the_readme_lists_the_bundles() -> None:
    text = text_of(Path("README.md"))
    missing = [path.name for path in shipped_bundles() if f"bundles/{path.name}/" not in text]
    assert missing == []
