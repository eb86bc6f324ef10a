"""2D networks on volumes: each axial slice on its own."""

from typing import Any

from torch import Tensor, nn


class SliceBySlice(nn.Module):
    """A 2D network that takes windows of volumes, each slice of the last axis on its own.

    All slices are one batch.

    So the papers that are 2D train and infer as they are, in bundles whose windows are (X, Y,
    slices). State-dict keys are the 2D network's own, so that its checkpoints (published ones too)
    are those of this one.

    Args:
        network: built with spatial_dims 2.

    Attributes:
        divisor, head_weights: the network's; any number of slices is taken.
        attend, pruned: only where the network has them.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        self.divisor = (*_numbers(network, "divisor", (1, 1)), 1)
        self.head_weights = _numbers(network, "head_weights", (1.0,))
        if hasattr(network, "attend"):
            self.attend = self._attend
        if hasattr(network, "pruned"):
            self.pruned = self._pruned
        self.register_state_dict_post_hook(_without_prefix)
        self.register_load_state_dict_pre_hook(_with_prefix)

    def forward(self, x: Tensor) -> Tensor | list[Tensor]:
        """(B, in_channels, X, Y, slices) -> logits (B, out_channels, X, Y, slices), or a list."""
        logits = self.network(to_slices(x))
        if isinstance(logits, Tensor):
            return to_volumes(logits, x.shape[0])
        volumes: list[Tensor] = []
        for head in logits:
            volumes.append(to_volumes(head, x.shape[0]))
        return volumes

    def _attend(self, x: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Logits and attention maps of windows of volumes, the slices as their last axis."""
        logits, maps = self.network.attend(to_slices(x))  # type: ignore[operator]
        return to_volumes(logits, len(x)), {
            name: to_volumes(found, len(x)) for name, found in maps.items()
        }

    def _pruned(self, depth: int) -> "SliceBySlice":
        """The network pruned to a depth; see UNetPlusPlus."""
        return SliceBySlice(self.network.pruned(depth))  # type: ignore[operator]


def network_of_slices(network: nn.Module) -> nn.Module:
    """The 2D network of a SliceBySlice; any other network itself."""
    return network.network if isinstance(network, SliceBySlice) else network


def to_slices(x: Tensor) -> Tensor:
    """(B, C, X, Y, slices) -> (B * slices, C, X, Y)."""
    if x.dim() != 5:
        raise ValueError(
            f"windows of volumes are (B, C, X, Y, slices), not of the shape {list(x.shape)}"
        )
    return x.permute(0, 4, 1, 2, 3).flatten(0, 1)


def to_volumes(x: Tensor, batch: int) -> Tensor:
    """(B * slices, C, X, Y) -> (B, C, X, Y, slices)."""
    return x.unflatten(0, (batch, -1)).permute(0, 2, 3, 4, 1)


def _numbers(network: nn.Module, name: str, missing: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple(getattr(network, name, missing))


def _without_prefix(
    module: nn.Module, state: dict[str, Any], prefix: str, metadata: dict[str, Any]
) -> None:
    _rename(state, f"{prefix}network.", prefix)


def _with_prefix(module: nn.Module, state: dict[str, Any], prefix: str, *rest: Any) -> None:
    _rename(state, prefix, f"{prefix}network.")


def _rename(state: dict[str, Any], before: str, after: str) -> None:
    for key in [key for key in state if key.startswith(before)]:
        state[f"{after}{key[len(before) :]}"] = state.pop(key)
