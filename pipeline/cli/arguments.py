"""Command lines: settings of a config (`--ID VALUE`) beside argparse's own options."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ...data.errors import ConfigError
from ..config.values import override_value

More = Callable[[Sequence[str]], str]
"""What a command's help says more, told of the words beside which --help stands."""


class Parser(argparse.ArgumentParser):
    """An ArgumentParser that leaves settings of a config to `settings`, wherever they stand.

    With `takes_settings`, `--ID VALUE` and `--ID=VALUE` that are none of its own options go to the
    namespace's `settings`, as they were written; argparse sees what is left, its options first.
    argparse alone would take the value for a positional argument.

    Args:
        more_help: is printed after the help.
    """

    def __init__(
        self,
        *words: Any,
        takes_settings: bool = False,
        more_help: More | None = None,
        **options: Any,
    ) -> None:
        options.setdefault("allow_abbrev", False)
        super().__init__(*words, **options)
        self.takes_settings = takes_settings
        self.more_help = more_help
        self._beside: list[str] = []

    def parse_known_args(  # type: ignore[override]
        self, args: Sequence[str] | None = None, namespace: argparse.Namespace | None = None
    ) -> tuple[argparse.Namespace, list[str]]:
        """As of argparse; the words after `--` are positional."""
        if args is None or not self.takes_settings:
            return super().parse_known_args(args, namespace)
        namespace = argparse.Namespace() if namespace is None else namespace
        options, self._beside, settings = self._split(list(args))
        namespace.settings = settings
        found, rest = super().parse_known_args([*options, "--", *self._beside], namespace)
        if rest:  # here, so that the command's own usage is shown
            self.error(f"unrecognized arguments: {' '.join(rest)}")
        return found, rest

    def format_help(self) -> str:
        """The help, with what `more_help` adds."""
        text = super().format_help()
        return text if self.more_help is None else f"{text}\n{self.more_help(self._beside)}"

    def _split(self, words: list[str]) -> tuple[list[str], list[str], list[str]]:
        """Argparse's own options, positional words, and those of settings."""
        own: list[str] = []
        positional: list[str] = []
        settings: list[str] = []
        while words:
            word = words.pop(0)
            if word == "--":
                return own, [*positional, *words], settings
            name, equals, _ = word.partition("=")
            option = self._option_string_actions.get(name)
            if option is None and not word.startswith("--"):
                (own if word.startswith("-") and word != "-" else positional).append(word)
            elif option is not None:
                own.append(word)
                several = option.nargs == "+"
                # one that may stand alone takes a word of its choices, not a positional one
                if option.nargs == "?" and words and words[0] in (option.choices or ()):
                    own.append(words.pop(0))
                if option.nargs is None and not equals and words:
                    own.append(words.pop(0))
                while several and words and not words[0].startswith("-"):
                    own.append(words.pop(0))
            else:
                settings.append(word)
                if not equals and words and not words[0].startswith("--"):
                    settings.append(words.pop(0))
        return own, positional, settings


def add_overwrite(command: argparse.ArgumentParser, what: str) -> None:
    """The option --overwrite [True|False] of a command that writes one file.

    Args:
        what: of its arguments is that file, for the help.
    """
    command.add_argument(
        "--overwrite",
        nargs="?",
        const="True",
        default="False",
        choices=("True", "False", "true", "false"),
        help=f"whether {what} is replaced where it is there already (default: False)",
    )


def may_overwrite(options: argparse.Namespace) -> bool:
    """What `add_overwrite`'s option says."""
    return str(options.overwrite).lower() == "true"


def read_settings(words: Sequence[str]) -> dict[str, str]:
    """Pairs `--id value` and `--id=value` as id -> text.

    Example:
        >>> read_settings(["--seed", "-1", "--name=--x"])
        {'seed': '-1', 'name': '--x'}

    Raises:
        ConfigError: a value without an id, an id without a value, or two values for one id.
    """
    found: dict[str, str] = {}
    rest = list(words)
    while rest:
        word = rest.pop(0)
        if not word.startswith("--") or word[2:3] in ("", "="):
            raise ConfigError(f"{word!r}: expected --SETTING VALUE")
        name, equals, value = word[2:].partition("=")
        if not equals:
            value = rest.pop(0) if rest and not rest[0].startswith("--") else ""
        if not value:
            raise ConfigError(
                f"--{name} lacks its value (one that begins with -- is written --{name}=VALUE)"
            )
        if found.setdefault(name, value) != value:
            raise ConfigError(f"--{name} is given twice: {found[name]} and {value}")
    return found


def parse_overrides(words: Sequence[str]) -> dict[str, Any]:
    """Pairs `--id value` and `--id=value`; the values are read as YAML 1.2.

    Raises:
        ConfigError: see `read_settings`; or a value that cannot be read.
    """
    return {name: override_value(name, text) for name, text in read_settings(words).items()}


def refuse_reserved(settings: Mapping[str, Any], reserved: Mapping[str, str]) -> None:
    """Refuse settings that another part of the command line decides.

    Args:
        reserved: id -> what decides it.

    Raises:
        ConfigError: one of them is there.
    """
    for name in reserved.keys() & settings.keys():
        raise ConfigError(f"--{name} is decided by {reserved[name]}")
