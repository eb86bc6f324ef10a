"""The errors a user can cause; a traceback of any other type is a bug of ours."""


class GridgateError(Exception):
    """Base of every error that a user's input can cause; its text says what is wrong and what to do."""


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
