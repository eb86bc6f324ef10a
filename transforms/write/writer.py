"""What the transforms that write files have in common."""

from collections.abc import Hashable, Mapping
from typing import Any

from monai.config import KeysCollection
from monai.transforms import MapTransform, SaveImaged

from ...data.images.names import case_id


class Writerd(SaveImaged):
    """A transform that writes a case's files: one of MONAI's SaveImaged by its class alone.

    Tools that want the label map in memory take what derives from SaveImaged out of a bundle's
    postprocessing (MONAI Label); others run it on images that they hand over in memory (MONAI
    Deploy), which have no name: for those nothing is written.
    """

    def __init__(self, keys: KeysCollection, allow_missing_keys: bool = False) -> None:
        MapTransform.__init__(self, keys, allow_missing_keys)  # nothing of SaveImaged is used


def case_name(data: Mapping[Hashable, Any], id_key: str, path: Any) -> str:
    """What a case's files are called: its id, else its scan's name; "" where it has neither."""
    name = data.get(id_key)
    return name if isinstance(name, str) and name else case_id(path)
