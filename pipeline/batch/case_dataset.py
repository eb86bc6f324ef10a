"""The cases of a run as PyTorch's and MONAI's tools take them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch.utils.data import DataLoader, Dataset

from .case import Case
from .processor import read_item


class CaseDataset(Dataset[dict[Any, Any]]):
    """Cases, and the transforms that read and preprocess them.

    Args:
        data: items {"id", "image"}, and "label" when evaluating.
        transform: preprocessing; it reads the files.
    """

    def __init__(self, data: Sequence[Mapping[str, Any]], transform: Callable[[Any], Any]) -> None:
        self.data = [dict(item) for item in data]
        self.transform = transform

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, index: int) -> dict[Any, Any]:
        return read_item(Case.of(self.data[index]), self.transform)


def case_loader(dataset: CaseDataset, *, num_workers: int = 0) -> DataLoader[dict[str, Any]]:
    """A loader that hands the cases on as they are, one at a time, as their grids differ.

    For tools that want MONAI's; CaseEvaluator reads ahead by itself.

    Args:
        num_workers: threads that read ahead in CaseEvaluator, 0 counts as 1.
    """
    loader: DataLoader[dict[str, Any]] = DataLoader(dataset, batch_size=None, collate_fn=_as_it_is)
    loader.readers = max(1, num_workers)
    return loader


def _as_it_is(item: Any) -> Any:
    return item
