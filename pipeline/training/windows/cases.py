"""The preprocessed cases of a training, kept in memory or on disk."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from os import PathLike
from pathlib import Path
from typing import Any

from monai.data import CacheDataset
from monai.transforms import Compose
from torch.utils.data import Dataset

from ....data.datasets.cache.folder import CaseCache, user_cache
from ....data.errors import DatasetError
from ....data.images.names import case_id
from ....data.progress import progressed
from ....data.sizes import bytes_in_words
from .key import paths_of
from .loading import readable_in_parent
from .place import Need, fits, free_memory, needed
from .stored import StoredCases, store_cases

logger = logging.getLogger(__name__)


class CachedCases(Dataset[dict[str, Any]]):
    """Preprocessed cases, read when the run starts and not when the config is parsed.

    They stay in memory where they surely fit, and are stored on disk otherwise: then memory does
    not grow with their number, worker processes need no copy, and the next training finds them.

    Args:
        data: items with "image" and "label" paths, and an "id", which is the image's name where
            there is none; may be empty until the run starts. Images in memory stay there.
        transform: deterministic preprocessing, run once per case.
        cache_dir: a folder where cases are always stored; None: in memory where they take no more
            than a quarter of what is free, else in the user's cache folder, see
            `gridgate.data.datasets.cache.folder.user_cache`.
        num_workers: threads that preprocess the cases at the start.
    """

    def __init__(
        self,
        data: Sequence[dict[str, Any]],
        *,
        transform: Callable[[Any], Any],
        cache_dir: str | PathLike[str] | None = None,
        num_workers: int = 2,
    ) -> None:
        self.data = [{"id": _name(item), **item} for item in data]
        self.transform = transform
        self.cache_dir = None if cache_dir is None else Path(cache_dir).expanduser().absolute()
        self.num_workers = num_workers
        self._cases: CacheDataset | StoredCases | None = None

    def load(self) -> CacheDataset | StoredCases:
        """Read and preprocess the cases now, with a progress bar; worker processes share them.

        Raises:
            DatasetError: there is no case.
            OutputError: they cannot be stored.
        """
        if not self.data:
            raise DatasetError(
                "this part of the dataset has no case: see --dataset_dir and --fold, or give cases "
                "with an image and a label"
            )
        if self._cases is None:
            # MONAI takes a Compose inside a Compose for random, and caches nothing from there on
            transform = Compose([self.transform]).flatten()
            folder, need = self._place(transform)
            if folder is None:
                self._cases = _JoinedCache(
                    self.data, transform, num_workers=self.num_workers, copy_cache=False
                )
            else:
                self._cases = self._stored(transform, folder, need)
        return self._cases

    @property
    def on_disk(self) -> bool:
        """Whether the cases have been loaded, and are on disk."""
        return isinstance(self._cases, StoredCases)

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, index: int) -> dict[str, Any]:
        with readable_in_parent():
            return dict(self.load()[index])

    def _place(self, transform: Compose) -> tuple[Path | None, Need]:
        """The folder to store the cases in, or None for memory, with the reason in the log."""
        need = needed(self.data, transform.transforms)
        free = free_memory()
        count = f"{len(self.data)} preprocessed case{'s' * (len(self.data) > 1)}"
        size, room = (
            f"about {bytes_in_words(need.total)}",
            f"{bytes_in_words(free)} of memory is free",
        )
        in_files = all(
            paths_of(item.get("image")) and ("label" not in item or paths_of(item["label"]))
            for item in self.data
        )
        if not in_files:
            logger.info(f"{count}: kept in memory, as their images are there already")
            return None, need
        if self.cache_dir is not None:
            logger.info(f"{count}: stored in {self.cache_dir}, as cache_dir says")
            return self.cache_dir, need
        if fits(need, free):
            logger.info(f"{count}: kept in memory, {size}; {room}")
            return None, need
        folder = user_cache()
        logger.info(
            f"{count}: stored in {folder}, as they would take {size} of memory; {room} "
            "(--cache_dir and the variable GRIDGATE_CACHE name another folder)"
        )
        return folder, need

    def _stored(self, transform: Compose, folder: Path, need: Need) -> StoredCases:
        room = free_memory() // 2 // max(need.largest, 1)  # cases at once that surely fit
        threads = max(1, min(self.num_workers, room))
        cases, made = store_cases(self.data, transform, CaseCache(folder), threads=threads)
        logger.info(
            f"{folder}: {len(cases)} cases of this training, {bytes_in_words(cases.bytes)}; {made} "
            "of them were made now"
        )
        return cases


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
                return list(progressed(cases, len(chosen), "reading cases"))
            except BaseException:
                pool.shutdown(wait=True, cancel_futures=True)
                raise
