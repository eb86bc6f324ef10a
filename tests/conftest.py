"""Fixtures shared by all rooms' tests."""

import locale
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from gridgate.data.phantom.dataset import write_phantom_dataset

# A shell that starts a command in the background lets it ignore Ctrl-C, and what tests start would
# inherit that.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

SHARED_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture(autouse=True)
def same_locale() -> Iterator[None]:
    """No test, and nothing that it runs, leaves the process with another locale (ITK does)."""
    before = locale.setlocale(locale.LC_ALL)
    yield
    after = locale.setlocale(locale.LC_ALL)
    locale.setlocale(locale.LC_ALL, before)
    assert after == before


@pytest.fixture(autouse=True)
def same_kernels() -> Iterator[None]:
    """No test, and nothing that it runs, leaves the process with other settings of PyTorch.

    But for a training that never ran, or failed before: the next would undo what it set.
    """
    before = _kernels() if "torch" in sys.modules else None
    yield
    if (ours := sys.modules.get("gridgate.pipeline.training.kernels")) is not None:
        ours.restore_kernels()
    assert before is None or _kernels() == before


def _kernels() -> dict[str, object]:
    import torch  # here, because most rooms' tests start without it

    return {
        "cudnn.benchmark": torch.backends.cudnn.benchmark,
        "cudnn.deterministic": torch.backends.cudnn.deterministic,
        "cudnn.allow_tf32": torch.backends.cudnn.allow_tf32,
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "default dtype": torch.get_default_dtype(),
        "gradients": torch.is_grad_enabled(),
        "matmul precision": torch.get_float32_matmul_precision(),
    }


@pytest.fixture(autouse=True, scope="session")
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    """What is kept between runs is kept apart from the user's, and found by these tests alone."""
    os.environ["GRIDGATE_CACHE"] = str(tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of the real scans; skips where this checkout has no ../shared beside it."""
    if not SHARED_DATA.is_dir():
        pytest.skip(f"the real scans are not here: {SHARED_DATA} does not exist")
    return SHARED_DATA


@pytest.fixture(scope="session")
def phantom_dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset folder of six labelled phantom CTs; read it, never write into it."""
    return write_phantom_dataset(
        tmp_path_factory.mktemp("data") / "phantom", cases=6, progress=False
    )


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip what is marked cuda where there is no GPU."""
    if item.get_closest_marker("cuda") is None:
        return
    import torch  # here, because most rooms' tests start without it

    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA GPU, and PyTorch sees none")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files with slow tests come first: none is left for one process when all others are done."""
    slow = {item.path for item in items if item.get_closest_marker("slow") is not None}
    items.sort(key=lambda item: item.path not in slow)  # stable: else as they were
