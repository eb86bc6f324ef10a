"""Stand-ins for packages that a tool imports and that our tests do not use: CUDA libraries."""

import sys
from types import ModuleType
from typing import Any


class StandIn:
    """Any class of such a package; made with whatever arguments."""

    def __init__(self, *args: Any, **options: Any) -> None:
        self.arguments = (args, options)


def _any_name(name: str) -> Any:
    if name.startswith("_"):
        raise AttributeError(name)
    return StandIn


def stand_in(name: str, **content: Any) -> None:
    """Put a module in the place of a package that is not there, and its parents.

    What it is asked for and does not hold is a StandIn.
    """
    parts = name.split(".")
    for end in range(1, len(parts) + 1):
        path = ".".join(parts[:end])
        if path not in sys.modules:
            module = ModuleType(path)
            module.__path__ = []
            module.__getattr__ = _any_name  # type: ignore[method-assign]
            sys.modules[path] = module
            if end > 1:
                setattr(sys.modules[".".join(parts[: end - 1])], parts[end - 1], module)
    vars(sys.modules[name]).update(content)


def stand_in_for_torchvision() -> None:
    """MONAI Label saves pictures for debugging with it."""
    stand_in("torchvision.utils")


def stand_in_for_holoscan() -> None:
    """MONAI Deploy's operators derive from its classes, and its applications run on it."""
    names = (
        "Application",
        "Condition",
        "Fragment",
        "Operator",
        "OperatorSpec",
        "Resource",
        "ExecutionContext",
        "InputContext",
        "OutputContext",
    )
    classes = {name: type(name, (StandIn,), {}) for name in names}

    class ConditionType:
        NONE = "none"
        MESSAGE_AVAILABLE = "message available"

    stand_in("holoscan.core", **classes, ConditionType=ConditionType)
    stand_in("holoscan.conditions")
    for name in ("resources", "executors", "logger", "flow_graphs"):
        stand_in(f"holoscan.{name}")
    stand_in("holoscan.operators")
    stand_in("tritonclient.http")
    stand_in("tritonclient.grpc.model_config_pb2")
