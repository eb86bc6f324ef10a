"""The page: complete in one file, true to the tables, safe with whatever names hold."""

import base64
import io
import json
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import torch
import yaml
from matplotlib.image import imread

from gridgate import networks
from gridgate.data.errors import DatasetError
from gridgate.data.phantom.dataset import write_phantom_dataset, write_phantom_scans
from gridgate.pipeline.models.attention import attention_of
from gridgate.pipeline.reports.cases import spread
from gridgate.pipeline.reports.page import (
    Cell,
    Column,
    Page,
    Section,
    Table,
    duration,
    number,
    render,
)
from gridgate.pipeline.reports.report import Run, write_report

from .fake_runs import (
    NAMES,
    REASON,
    fake_evaluation,
    fake_predictions,
    fake_training,
    small_phantoms,
)


class Html(HTMLParser):
    """What a page links to, its tags and its text; fails on tags that are not closed in order."""

    VOID = ("meta", "link", "img", "source")

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.text: list[str] = []
        self.tags: list[str] = []
        self._open: list[str] = []
        self.feed(text)
        self.close()
        assert not self._open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.links += [value or "" for name, value in attrs if name in ("src", "srcset", "href")]
        if tag not in self.VOID:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("run")
    with pytest.MonkeyPatch.context() as monkeypatch:
        small_phantoms(monkeypatch)
        write_phantom_dataset(root / "unseen", cases=2, seed=5, progress=False)
        write_phantom_scans(root / "scans", cases=1, seed=9)
    fake_training(root / "training")
    fake_evaluation(root / "evaluation", root / "unseen")
    fake_predictions(root / "predictions", root / "scans")
    run = Run(
        title="A & B <report>",
        labels=NAMES,
        training_dir=root / "training",
        evaluation_dir=root / "evaluation",
        predictions_dir=root / "predictions",
        dataset_dir=root / "unseen",
        commands=[
            ("phantoms", "", 2.0),
            ("training", "python -m monai.bundle run training", 211.5),
        ],
    )
    return write_report(root / "report.html", run)


def test_page_needs_nothing_but_itself(report: Path) -> None:
    found = Html(report.read_text())
    elsewhere = [link for link in found.links if not link.startswith("data:image/")]
    assert len(elsewhere) < len(found.links) and all(link.startswith("#") for link in elsewhere)
    assert (
        found.tags.count("script") == 2  # that sort tables and open the viewer
        and "url(" not in report.read_text()
        and "@import" not in report.read_text()
    )


def test_pictures_are_in_the_page_and_beside_it(report: Path) -> None:
    embedded = [
        base64.b64decode(link.partition("base64,")[2])
        for link in Html(report.read_text()).links
        if "png" in link
    ]
    files = {path.name: path.read_bytes() for path in (report.parent / "pictures").iterdir()}
    assert set(files) == {
        "phantom_000.png",
        "phantom_001.png",
        "phantom_000_difference.png",
        "phantom_001_difference.png",
        "scan_9.png",
        "loss.png",
        "dice.png",
    }
    assert set(files.values()) <= set(embedded)
    assert len(embedded) == len(files) + 2  # the curves for dark screens
    assert all(imread(io.BytesIO(content)).ndim == 3 for content in embedded)


def test_numbers_are_those_of_summary_json(report: Path) -> None:
    summary = json.loads((report.parent / "evaluation" / "summary.json").read_text())
    text = " ".join(Html(report.read_text()).text)
    for entry in summary["labels"].values():
        assert f"{entry['dice']['mean']:.3f}" in text
    assert f"{summary['mean']['dice']:.3f}" in text and "0.750" in text and "1234" in text
    assert "right kidney" in text and "3 min 34 s" in text and f"torch {torch.__version__}" in text


def test_failed_case_is_shown_with_its_reason_and_nothing_is_taken_for_html(report: Path) -> None:
    found = Html(report.read_text())
    assert REASON in found.text and "A & B <report>" in found.text
    assert "b" not in found.tags


def test_report_of_nothing_but_a_training_is_a_page(tmp_path: Path) -> None:
    fake_training(tmp_path / "training")
    path = write_report(
        tmp_path / "r.html", Run(title="t", labels=NAMES, training_dir=tmp_path / "training")
    )
    assert "Training" in Html(path.read_text()).text
    with pytest.raises(DatasetError, match=r"summary\.json"):
        write_report(tmp_path / "r.html", Run(title="t", labels=NAMES, evaluation_dir=tmp_path))


def test_shown_cases_reach_from_worst_to_best() -> None:
    means = {f"c{n}": n / 10 for n in range(8)}
    shown = spread(means, 3)
    assert [case for case, _ in shown] == ["c0", "c4", "c7"]
    assert [word for _, word in shown] == ["the worst", "number 4", "the best"]
    assert spread({"c": 0.5}, 3) == [("c", "the only one")] and spread({}, 3) == []


def test_small_pieces() -> None:
    assert [duration(s) for s in (4.24, 59.96, 185, 7800)] == [
        "4.2 s",
        "1 min 00 s",
        "3 min 05 s",
        "2 h 10 min",
    ]
    assert number(None, 2) == number(float("nan"), 2) == "-" and number(0.5, 2) == "0.50"
    table = Table([Column("a")], [("<x>", [Cell('"', share=1.2)])], caption="&")
    html = render(Page("t", sections=[Section("s", [table])])).decode()
    assert "--share: 100.0%" in html and {"<x>", '"', "&"} <= set(Html(html).text)


def test_attention_is_the_networks_own(trained: tuple[Path, Path, Path]) -> None:
    bundle, checkpoint, scan = trained
    found = attention_of(bundle, checkpoint, scan)
    assert found is not None
    plan = json.loads((bundle / "configs" / "metadata.json").read_text())["plan"]["network"]
    network = networks.build(**plan, in_channels=1, out_channels=7).eval()
    network.load_state_dict(torch.load(checkpoint, weights_only=True))
    stored = nib.load(scan)
    image = torch.as_tensor(
        (np.clip(stored.get_fdata(), -160, 240) + 160) / 400, dtype=torch.float32
    )
    with torch.inference_mode():
        logits, maps = network.attend(image[None, None])
    assert list(found.coefficients) == ["gate2", "gate3", "gate4"]
    for name, expected in maps.items():
        np.testing.assert_allclose(found.coefficients[name], expected[0].numpy(), atol=1e-4)
    assert (found.labels == logits[0].argmax(0).numpy()).mean() > 0.999
    np.testing.assert_allclose(found.affine, stored.affine, atol=1e-3)


def with_architecture(bundle: Path, architecture: dict[str, Any]) -> None:
    path = bundle / "configs" / "inference.yaml"
    config = yaml.safe_load(path.read_text()) | {"architecture": architecture}
    path.write_text(yaml.safe_dump(config))


def test_network_without_gates_has_no_attention(trained: tuple[Path, Path, Path]) -> None:
    bundle, checkpoint, scan = trained
    with_architecture(bundle, {"name": "unet", "feature_scale": 8})
    assert attention_of(bundle, checkpoint, scan) is None


def test_attention_over_channels_is_not_shown(
    trained: tuple[Path, Path, Path], tmp_path: Path
) -> None:
    bundle, _, scan = trained
    architecture = {"name": "uctransnet", "width": 2, "layers": 1, "img_size": 16}
    with_architecture(bundle, architecture)
    network = networks.build(**architecture, in_channels=1, out_channels=7)
    torch.save(network.state_dict(), tmp_path / "model.pt")
    assert attention_of(bundle, tmp_path / "model.pt", scan) is None
