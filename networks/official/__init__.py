"""Checkpoints of the authors' releases: their state dicts with our keys.

A network's facts name the file here whose ``rename`` knows its authors' names (``official``);
``convert`` calls it, and holds the result against the network. MONAI's own keep their names. The
names are facts of the releases; none of their code is here.
"""

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any

import torch
from torch import Tensor, nn

from ..registry import build, network_facts

_Shapes = Mapping[str, torch.Size]

_WRAPPERS = ("state_dict", "model_state_dict", "model", "network", "net", "network_weights")


def convert(
    name: str,
    state_dict: Mapping[str, Any],
    *,
    spatial_dims: int = 3,
    in_channels: int | None = None,
    out_channels: int | None = None,
    **options: Any,
) -> tuple[dict[str, Tensor], list[str], list[str]]:
    """The state dict of a published checkpoint under the names of the network that ``build`` makes.

    Args:
        name: of the network, as for ``build``.
        state_dict: as ``torch.load(..., weights_only=True)`` gives: tensors, or a dict that holds
            them as "state_dict", "model" and the like; "module." of DataParallel is taken off.
        in_channels, out_channels: None reads them off the weights.
        options: the network's; they must be those that the checkpoint was trained with.

    Returns:
        The tensors that the network has, under its names (``build(...).load_state_dict`` takes
        them, strictly where nothing is missing); the names, sorted, of those that it has and the
        checkpoint lacks; and the names of those in the checkpoint that it has not. What a network
        has and does not use is not missed: zeros are put in for ``num_batches_tracked`` of batch
        norms, as in old checkpoints, TransFuse's class token, and UNETR's norms of cross-attention.

    Raises:
        ValueError: an unknown network or option; no mapping, or none of its tensors is the
            network's; a tensor of another shape than the network's (the text has both).
    """
    if not isinstance(state_dict, Mapping):
        raise ValueError(
            f"a state dict is wanted, as torch.load gives, not {type(state_dict).__name__}."
        )
    weights = _tensors(state_dict)
    renamed = _renaming(name, options)(weights, spatial_dims=spatial_dims, **options)

    def shapes(inside: int, outside: int) -> _Shapes:
        with torch.device("meta"):
            net = build(
                name, spatial_dims=spatial_dims, in_channels=inside, out_channels=outside, **options
            )
        return {key: value.shape for key, value in net.state_dict().items()}

    sample = shapes(2, 2)
    if not any(key in sample for key in renamed):
        raise ValueError(
            f"none of the {len(weights)} tensors is {name}'s, the first is {next(iter(weights))!r}."
        )
    # Where a size of some tensor is just that number, networks of two numbers tell: 2 and 4
    # channels in, as some take powers of 2 only, and others make three of a single one.
    if in_channels is None:
        in_channels = _size("in_channels", renamed, (2, 4), sample, shapes(4, 2))
    if out_channels is None:
        out_channels = _size("out_channels", renamed, (2, 3), sample, shapes(2, 3))
    wanted = shapes(in_channels, out_channels)
    network = (
        f"{name} of {spatial_dims} spatial axes, {in_channels} -> {out_channels} channels and "
        f"{options or 'no options'}"
    )
    return _fitted(renamed, wanted, network)


def _fitted(
    renamed: dict[str, Tensor], wanted: _Shapes, network: str
) -> tuple[dict[str, Tensor], list[str], list[str]]:
    """The tensors that a network wants, the names that are missing, and those that it has not."""
    for key, shape in wanted.items():
        if key in renamed and renamed[key].shape != shape:
            raise ValueError(
                f"{key} has the shape {tuple(renamed[key].shape)} in the checkpoint and "
                f"{tuple(shape)} in {network}: "
                "give the options that the checkpoint was trained with."
            )
    for key in wanted:
        of_norm, _, what = key.rpartition(".")
        if what == "num_batches_tracked" and f"{of_norm}.running_mean" in renamed:
            renamed.setdefault(key, torch.tensor(0))  # nothing here depends on the counter
    found = {key: renamed[key] for key in wanted if key in renamed}
    missing = sorted(key for key in wanted if key not in renamed)
    unexpected = sorted(key for key in renamed if key not in wanted)
    return found, missing, unexpected


def _renaming(name: str, options: Mapping[str, Any]) -> Callable[..., dict[str, Tensor]]:
    home = network_facts(name).official
    if home is None:
        return lambda state_dict, **_: dict(state_dict)
    if name == "unet" and str(options.get("form")).startswith("zhou"):
        home = "unet_plus_plus"
    return import_module(f".{home}", __name__).rename


def _tensors(state_dict: Mapping[str, Any]) -> dict[str, Tensor]:
    """The tensors, out of their wrappers and without "module." before their names."""
    for wrapper in _WRAPPERS:
        inner = state_dict.get(wrapper)
        if isinstance(inner, nn.Module):
            raise ValueError(f"{wrapper!r} is a whole module: give its state_dict().")
        if isinstance(inner, Mapping):
            return _tensors(inner)
    found = {key: value for key, value in state_dict.items() if isinstance(value, Tensor)}
    if not found:
        held = ", ".join(map(str, list(state_dict)[:8])) or "nothing"
        raise ValueError(
            f"there are no tensors in the state dict, which holds {held}: give that of one network."
        )
    while all(key.startswith("module.") for key in found):
        found = {key.removeprefix("module."): value for key, value in found.items()}
    return found


def _size(
    what: str,
    weights: Mapping[str, Tensor],
    numbers: tuple[int, int],
    one: Mapping[str, torch.Size],
    other: Mapping[str, torch.Size],
) -> int:
    """The number of channels that the weights were trained with."""
    for key in one:
        if key in weights and weights[key].ndim == len(one[key]):
            for axis, sizes in enumerate(zip(one[key], other[key], strict=True)):
                if sizes == numbers:
                    return weights[key].shape[axis]
    raise ValueError(
        f"{what} cannot be read off the checkpoint, as no tensor that tells it has the network's "
        "shape: "
        "give it, or the spatial_dims and options that the checkpoint was trained with."
    )
