"""The preprocessed cases of a training, kept in memory."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from os import PathLike
from typing import Any

from monai.data import CacheDataset
from monai.transforms import Compose
from torch.utils.data import Dataset
from tqdm import tqdm

from ....data.errors import DatasetError
from ....data.images.names import case_id
from .loading import readable_in_parent


class CachedCases(Dataset[dict[str, Any]]):
    """Preprocessed cases in memory, read when the run starts and not when the config is parsed.

    Args:
        data: items with "image" and "label" paths, and an "id", which is the image's name where
            there is none; may be empty until the run starts.
        transform: deterministic preprocessing, run once per case.
        cache_rate: share of the cases kept in memory (MONAI's CacheDataset), 0 to 1; the rest is
            read again each time.
        num_workers: threads that preprocess the cases at the start.
    """

    def __init__(
        self,
        data: Sequence[dict[str, Any]],
        *,
        transform: Callable[[Any], Any],
        cache_rate: float = 1.0,
        num_workers: int = 2,
    ) -> None:
        self.data = [{"id": _name(item), **item} for item in data]
        self.transform = transform
        self.cache_rate = cache_rate
        self.num_workers = num_workers
        self._cases: CacheDataset | None = None

    def load(self) -> CacheDataset:
        """Read and preprocess the cases now, with a progress bar; worker processes share them.

        Raises:
            DatasetError: there is no case.
        """
        if not self.data:
            raise DatasetError(
                "this part of the dataset has no case: see --dataset_dir and --fold, or give cases "
                "with an image and a label"
            )
        if self._cases is None:
            self._cases = _JoinedCache(
                self.data,
                # MONAI takes a Compose inside a Compose for random, and caches nothing from there
                # on
                Compose([self.transform]).flatten(),
                cache_rate=self.cache_rate,
                num_workers=self.num_workers,
                copy_cache=False,
            )
        return self._cases

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, index: int) -> dict[str, Any]:
        with readable_in_parent():
            return dict(self.load()[index])


def _name(item: dict[str, Any]) -> str:
    """The id of an item that has none: its image's name."""
    image = item.get("image")
    first = image[0] if isinstance(image, list | tuple) and image else image
    return case_id(str(first)) if isinstance(first, str | PathLike) else "without an id"


class _JoinedCache(CacheDataset):
    """MONAI's CacheDataset whose threads have ended when it raises.

    MONAI leaves threads that still read other cases behind. When the process then ends, Python
    unwinds them inside C++ code, which calls std::terminate: exit code 134 instead of 1.
    """

    def _fill_cache(self, indices: Sequence[int] | None = None) -> list[Any]:
        chosen = list(range(self.cache_num)) if indices is None else list(indices)
        if not chosen:
            return []
        with ThreadPoolExecutor(self.num_workers) as pool:
            try:
                cases = pool.map(self._load_cache_item, chosen)
                return list(tqdm(cases, total=len(chosen), desc="Loading dataset"))
            except BaseException:
                pool.shutdown(wait=True, cancel_futures=True)
                raise
