"""Windows of a model that is several networks: each part has its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from ...data.errors import ConfigError
from ...transforms.nnunet.part_settings import part_settings
from ..models.engines.engine import INT8
from ..models.parts import part_of
from .sliding_window import SlidingWindow


class PartsWindow:
    """The sliding windows of each part.

    Args:
        parts: see part_settings.check_parts.
        roi_size, mirror_axes: where a part has none of its own.
        planned_mirror_axes: the bundle's; where `mirror_axes` are others somebody has asked for
            them, and all parts have those.
        options: of SlidingWindow.

    Raises:
        ConfigError: INT8, which there is of single networks alone.
    """

    def __init__(
        self,
        parts: Sequence[Mapping[str, Any]],
        *,
        roi_size: Sequence[int],
        mirror_axes: Sequence[int] = (),
        planned_mirror_axes: Sequence[int] | None = None,
        **options: Any,
    ) -> None:
        if options.get("engine") == INT8:
            raise ConfigError(
                "--engine int8: this bundle is several networks, and INT8 is made of one; use "
                "--engine auto"
            )
        common = {"roi_size": roi_size, "mirror_axes": mirror_axes}
        asked: dict[str, Any] = {}
        if planned_mirror_axes is not None and list(planned_mirror_axes) != list(mirror_axes):
            asked = {"mirror_axes": mirror_axes}
        self.parts = [
            SlidingWindow(**{**part_settings(part, **common), **asked}, **options) for part in parts
        ]

    def __call__(self, inputs: torch.Tensor, network: Any, *args: Any, **kwargs: Any) -> Any:
        """Refuse: scores of several networks are no one tensor.

        Raises:
            ConfigError: always.
        """
        raise ConfigError(
            "this bundle is several networks, one after another, whose masks are merged: run it "
            "with `gridgate infer`, `gridgate evaluate` or gridgate.segment"
        )

    def check_engine(self, network: torch.nn.Module, device: torch.device) -> str:
        """See SlidingWindow.check_engine, of each part.

        Raises:
            ConfigError: a part's; the network is no PartsNetwork.
        """
        return "".join(
            window.check_engine(part_of(network, number), device)
            for number, window in enumerate(self.parts)
        )
