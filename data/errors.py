"""The errors a user can cause; a traceback of any other type is a bug of ours."""

from __future__ import annotations


class GridgateError(Exception):
    """Base of every error that a user's input can cause; it says what is wrong and what to do."""


class ImageError(GridgateError):
    """A file cannot be read, or what it holds is not a usable image or label map."""


class DatasetError(GridgateError):
    """A dataset folder, its dataset.json or its splits.json is not as it should be."""


class ConfigError(GridgateError):
    """A setting of a bundle or of the command line is unknown, missing or impossible."""


class CheckpointError(GridgateError):
    """A checkpoint is missing, unreadable, or of another network."""


class OutputError(GridgateError):
    """A result cannot be written: disk full, read-only folder, a shape that does not fit."""


def user_error(error: BaseException | None) -> GridgateError | None:
    """The error of ours behind an exception, or None.

    MONAI and Ignite wrap what a transform raises.
    """
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        if isinstance(error, GridgateError):
            return error
        seen.add(id(error))
        error = error.__cause__ or error.__context__
    return None
