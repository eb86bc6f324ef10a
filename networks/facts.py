"""What a network says of itself: its paper, options of some sizes, and tiny ones for tests."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from torch import nn

Made = TypeVar("Made", bound=Callable[..., nn.Module])
Options = Mapping[str, Any]


@dataclass(frozen=True)
class Tiny:
    """Options that make a 3D network small, and windows for it: what the tests of all networks use.

    Args:
        options: of the network.
        window: voxels per axis, as few as training takes in a batch of two.
        other: another window that it takes in eval mode.
        cases: windows in a training batch of the slower tests; two give batch norm something to
            work on.
    """

    options: Options = field(default_factory=dict)
    window: tuple[int, ...] = (32, 16, 16)
    other: tuple[int, ...] = (16, 32, 48)
    cases: int = 2


@dataclass(frozen=True)
class NetworkFacts:
    """What plans, converters and tests need to know of a network besides its options' defaults.

    Options that name no window (``img_size``) get that of the plan. Lists, not tuples, so that
    plans hold the same as their YAML files.

    Args:
        title: its name in prose.
        reference: its paper.
        paper: options of the paper's size in 3D. paper_2d: in 2D, where they differ.
        small: options with which it trains on two CPU cores in 3D. small_2d: in 2D, where they
            differ.
        medium: between the two in 3D, for more time on a CPU; None where it was not measured.
        training: settings of a training that the network asks for, whatever the data are.
        paper_training: in addition, for the paper's size in 3D. paper_2d_training: in 2D.
        official: the module in ``networks/official`` that knows the keys of its authors' release;
            None where there is none, or they are ours.
        tiny: for the tests of all networks.
    """

    title: str
    reference: str
    paper: Options = field(default_factory=dict)
    small: Options = field(default_factory=dict)
    medium: Options | None = None
    paper_2d: Options | None = None
    small_2d: Options | None = None
    training: Options = field(default_factory=dict)
    paper_training: Options | None = None
    paper_2d_training: Options | None = None
    official: str | None = None
    tiny: Tiny = field(default_factory=Tiny)


def described(facts: NetworkFacts) -> Callable[[Made], Made]:
    """Decorator: attach facts to the class or function that makes a network, for the registry."""

    def attach(made: Made) -> Made:
        made.facts = facts  # type: ignore[attr-defined]
        return made

    return attach
