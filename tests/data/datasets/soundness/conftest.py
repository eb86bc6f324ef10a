"""Real head-and-neck CTs, cropped, with a fault planted into some: each fault its own case."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from gridgate.data.datasets.dataset import write_dataset_json
from gridgate.data.datasets.soundness.checking import check_soundness
from gridgate.data.datasets.soundness.findings import Report

from .planted_faults import FAULTS, LABELS, SOUND, Case, crop, doubles, write_case


@pytest.fixture(scope="session")
def head_neck(shared_data: Path) -> list[Case]:
    """All real cases, cropped around their labels."""
    root = shared_data / "openkbp_head_neck"
    needed = SOUND + len(FAULTS)
    # these three have faults of their own, see test_real.py
    paths = [
        path
        for path in sorted((root / "imagesTr").glob("*.nii.gz"))
        if path.name[5:8] not in ("151", "260", "317")
    ]
    return [
        crop(path, root / "labelsTr" / path.name, f"sound_{number:02d}")
        for number, path in enumerate(paths[:needed])
    ]


@pytest.fixture(scope="session")
def originals(head_neck: list[Case]) -> dict[str, Case]:
    """The sound case that each faulty one was made from."""
    return dict(zip(FAULTS, head_neck[SOUND:], strict=True))


@pytest.fixture(scope="session")
def faulty(head_neck: list[Case], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset in which each case of FAULTS has its fault, and the other cases have none."""
    root = tmp_path_factory.mktemp("faulty") / "D"
    cases = {case.name: case for case in head_neck[:SOUND]}
    for case in cases.values():
        write_case(case, root)
    for (name, fault), source in zip(FAULTS.items(), head_neck[SOUND:], strict=True):
        case = Case(**{**vars(source), "name": name})
        fault(case)
        write_case(case, root)
    doubles(cases, root)
    write_dataset_json(root, "Faulty", LABELS, ("CT",), 1000)
    return root


@pytest.fixture(scope="session")
def report(faulty: Path) -> Report:
    """Of the faulty dataset."""
    return check_soundness(faulty, workers=1)


@pytest.fixture
def small(head_neck: list[Case], tmp_path: Path) -> Iterator[Callable[..., Path]]:
    """Writes a dataset of the first few sound cases, to be changed."""

    def write(count: int, *, form: str = "folders", **more: Any) -> Path:
        root = tmp_path / "small"
        for case in head_neck[:count]:
            write_case(Case(**{**vars(case), **more}), root)
        write_dataset_json(root, "Small", LABELS, ("CT",), count)
        if form == "list":
            content = json.loads((root / "dataset.json").read_text())
            content["training"] = [
                {"image": f"imagesTr/{case.name}.nii.gz", "label": f"labelsTr/{case.name}.nii.gz"}
                for case in head_neck[:count]
            ]
            (root / "dataset.json").write_text(json.dumps(content))
        return root

    yield write
