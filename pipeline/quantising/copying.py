"""The bundle that INT8 is put into: a copy, whose configs and page know of it."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from ...data.errors import ConfigError
from ..config.twins import twin_of, twin_text
from ..plans.bundle_folders import own_weights

_ENGINE = '  engine: "@engine"\n'
_INT8 = "  int8: \"$str(@bundle_root) + '/models/int8'\"   # gridgate quantise makes it\n"
_HEAD = "\n## INT8\n"


def copy_bundle(bundle: Path, made: Path) -> None:
    """Copy configs, docs, records and weights; not a training's other files.

    Raises:
        ConfigError: configs that were changed by hand so that no engine can be told.
    """
    for name in ("configs", "docs"):
        if (bundle / name).is_dir():
            shutil.copytree(bundle / name, made / name)
    for file in [bundle / "LICENSE", *sorted(bundle.glob("*.json"))]:
        if file.is_file():
            shutil.copyfile(file, made / file.name)
    weights = own_weights(bundle)
    if weights is not None:
        (made / "models").mkdir()
        shutil.copyfile(weights, made / "models" / weights.name)
    for name in ("inference", "evaluate"):
        _tell_where_int8_is(made / "configs" / f"{name}.yaml")


def _tell_where_int8_is(config: Path) -> None:
    """Configs of earlier versions do not say it."""
    text = config.read_text(encoding="utf-8")
    if "\n  int8: " in text:
        return
    if text.count(_ENGINE) != 1:
        raise ConfigError(f'{config}: the inferer has no line `engine: "@engine"`; put it there')
    text = text.replace(_ENGINE, _ENGINE + _INT8)
    config.write_text(text, encoding="utf-8")
    if twin_of(config).is_file():
        twin_of(config).write_text(twin_text(text), encoding="utf-8")


def tell_on_page(lines: Sequence[str], bundle: Path) -> None:
    """A section of the bundle's docs/README.md, in the place of one that is there."""
    page = bundle / "docs" / "README.md"
    text = page.read_text(encoding="utf-8") if page.is_file() else ""
    before, head, after = text.partition(_HEAD)
    rest = after.find("\n## ") if head else -1
    section = [_HEAD, "`--engine int8` computes in 8 bits, on CPUs.", "", *lines, ""]
    page.parent.mkdir(exist_ok=True)
    whole = before.rstrip() + "\n" + "\n".join(section) + (after[rest:] if rest >= 0 else "")
    page.write_text(whole, encoding="utf-8")
