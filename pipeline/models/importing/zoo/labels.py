"""The labels that a bundle of the model zoo says in its metadata."""

from __future__ import annotations

from collections.abc import Mapping

from .....data.errors import ConfigError
from ..label_names import whole_labels
from .folder import ZooBundle


def labels_of(bundle: ZooBundle, *, count: int, names: Mapping[str, int] | None) -> list[str]:
    """Names of the network's labels, the background first.

    Args:
        count: of labels, the background counted.
        names: label -> value, given by the user; None: those of the metadata's channel_def.

    Raises:
        ConfigError: they are not said, or are not as many as the network's.
    """
    found = _said(bundle) if names is None else whole_labels(names)
    if len(found) != count:
        raise ConfigError(
            f"{bundle.folder}: its network has {count} labels, the background counted, and "
            f"{'its metadata.json' if names is None else '--labels'} names {len(found)}; give "
            "--labels FILE, a JSON of {name: value}"
        )
    doubled = sorted({one for one in found if found.count(one) > 1})
    if doubled:
        raise ConfigError(
            f"{bundle.folder}: its metadata.json names {', '.join(doubled)} twice; give --labels"
        )
    return found


def _said(bundle: ZooBundle) -> list[str]:
    part = bundle.said("network_data_format", "outputs", "pred", "channel_def")
    if not isinstance(part, Mapping):
        return []
    try:
        values = {int(value): str(name).strip() for value, name in part.items()}
    except ValueError:
        return []
    if sorted(values) == list(range(1, len(values) + 1)):
        values[0] = "background"  # one channel, and what it is not
    if sorted(values) != list(range(len(values))):
        return []
    return ["background", *(values[value] for value in sorted(values) if value)]
