"""Values of a foreign bundle's config, read without running any code of it."""

from __future__ import annotations

import ast
import operator
import re
from collections.abc import Callable, Mapping
from typing import Any

from .....data.errors import ConfigError

_REFERENCE = re.compile(r"@[\w]+(?:(?:#|::)[\w]+)*")
_SIGNS: dict[type[ast.unaryop], Callable[[Any], Any]] = {
    ast.UAdd: operator.pos,
    ast.USub: operator.neg,
    ast.Not: operator.not_,
}
_SUMS: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}
_MOST_NESTED = 20


class ConfigValues:
    """A config of MONAI's bundles, in which references are followed and plain sums worked out.

    MONAI evaluates whatever text begins with a $. Here such a text may be literals, lists,
    arithmetic and `a if b else c`; anything else is refused when its value is asked for.

    Args:
        config: as it was read, ids at the top.
        of: the file, for the error's text.

    Example:
        >>> values = ConfigValues({"fine": True, "mm": "$[1.5] * 3 if @fine else [3]"}, of="x")
        >>> values.value("@mm")
        [1.5, 1.5, 1.5]
    """

    def __init__(self, config: Mapping[str, Any], *, of: object) -> None:
        self.config, self.of = config, of

    def value(self, given: Any, depth: int = 0) -> Any:
        """A value with everything in it worked out.

        Raises:
            ConfigError: code, or a reference to what is not there.
        """
        if depth > _MOST_NESTED:
            raise ConfigError(f"{self.of}: references that lead in a circle, at {given!r}")
        if isinstance(given, Mapping):
            return {str(key): self.value(one, depth + 1) for key, one in given.items()}
        if isinstance(given, list):
            return [self.value(one, depth + 1) for one in given]
        if not isinstance(given, str):
            return given
        if given.startswith("$"):
            return self._expression(given, depth)
        if given.startswith("@"):
            return self.value(self._referred(given), depth + 1)
        if given.startswith("%"):
            raise self._not_read(given)
        return given

    def _referred(self, reference: str) -> Any:
        found: Any = self.config
        for part in re.split(r"#|::", reference.removeprefix("@")):
            try:
                found = found[int(part)] if isinstance(found, list) else found[part]
            except (KeyError, IndexError, ValueError, TypeError) as error:
                raise ConfigError(f"{self.of}: {reference} is not there") from error
        return found

    def _expression(self, text: str, depth: int) -> Any:
        names: dict[str, Any] = {}

        def named(match: re.Match[str]) -> str:
            name = f"_{len(names)}"
            names[name] = self.value(self._referred(match[0]), depth + 1)
            return name

        try:
            code = _REFERENCE.sub(named, text.removeprefix("$"))
            return _worked_out(ast.parse(code.strip(), mode="eval").body, names)
        except ConfigError:
            raise
        except Exception as error:  # whatever the file's arithmetic ends in
            raise self._not_read(text) from error

    def _not_read(self, text: str) -> ConfigError:
        return ConfigError(
            f"{self.of}: {text!r} is code, which is not run here; write the value that it has in "
            "its place, in a copy of the bundle"
        )


def _worked_out(node: ast.expr, names: Mapping[str, Any]) -> Any:
    match node:
        case ast.Constant(value=value):
            return value
        case ast.Name(id=name):
            return names[name]
        case ast.List(elts=parts) | ast.Tuple(elts=parts):
            return [_worked_out(one, names) for one in parts]
        case ast.UnaryOp(op=sign, operand=one):
            return _SIGNS[type(sign)](_worked_out(one, names))
        case ast.BinOp(left=left, op=sign, right=right):
            return _SUMS[type(sign)](_worked_out(left, names), _worked_out(right, names))
        case ast.IfExp(test=test, body=yes, orelse=no):
            return _worked_out(yes if _worked_out(test, names) else no, names)
    raise ValueError(ast.dump(node))
