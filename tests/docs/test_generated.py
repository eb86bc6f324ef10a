"""What is generated of the pages is what the code and the configs say now."""

import sys
from pathlib import Path

import pytest
import yaml

from gridgate.networks import NETWORKS, network_facts
from gridgate.pipeline.training.losses.catalogue import FAMILIES

from .documents import DOCS, REPOSITORY, text_of

SOURCE = DOCS / "source"
AGAIN = "the page is old: run python docs/source/write.py"


@pytest.fixture(scope="module", autouse=True)
def generators() -> object:
    """docs/source on the path, for its modules."""
    sys.path.insert(0, str(SOURCE))
    yield
    sys.path.remove(str(SOURCE))


@pytest.mark.parametrize("config", ["train", "evaluate", "inference"])
def test_the_configs_pages_are_current_and_whole(config: str) -> None:
    import config_pages

    page = text_of(Path("docs/configs") / f"{config}.md")
    assert page == config_pages.page(config), AGAIN
    example = REPOSITORY / "bundles" / "phantom_attention_unet" / "configs" / f"{config}.yaml"
    for id_, value in yaml.safe_load(example.read_text()).items():
        of_group = (
            isinstance(value, dict) and "_target_" not in value and id_ in ("train", "validate")
        )
        assert f"| `{id_}::" in page if of_group else f"| `{id_}` |" in page, id_
    rows = [line.split("|") for line in page.splitlines() if line.startswith("| `")]
    assert all(row[-2].strip() for row in rows)


def test_every_workflow_has_its_page() -> None:
    import config_pages

    names = {path.stem for path in (REPOSITORY / "bundles/template/configs").glob("*.yaml")}
    assert names == {*config_pages.PAGES, "multi_gpu_train"}


def test_a_line_without_words_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    import config_pages

    monkeypatch.setattr(config_pages, "template_comments", lambda config: {})
    with pytest.raises(ValueError, match="output_channels"):
        config_pages.page("inference")


@pytest.mark.parametrize("block", ["papers", "published"])
def test_tables_of_the_networks_are_current(block: str) -> None:
    assert_current("networks.md", block)


@pytest.mark.parametrize("family", FAMILIES)
def test_tables_of_the_losses_are_current(family: str) -> None:
    assert_current("losses.md", family)


def assert_current(name: str, block: str) -> None:
    import write

    page = text_of(Path("docs") / name)
    assert page == write.with_block(page, block, write.BLOCKS[name][block]()), AGAIN


def rows_of_costs() -> dict[str, list[str]]:
    page = text_of(Path("docs/networks.md"))
    table = page.partition("<!-- costs -->")[2].partition("<!-- end of costs -->")[0]
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in table.splitlines() if line]
    return {row[1].strip("`"): row for row in rows[2:]}


def test_the_page_has_every_network() -> None:
    assert list(rows_of_costs()) == list(NETWORKS)


@pytest.mark.parametrize("name", NETWORKS)
def test_counts_on_the_page_are_those_of_the_code(name: str) -> None:
    import network_tables

    row = rows_of_costs()[name]
    assert row[0] == network_facts(name).title
    shown = [row[2:4], row[4:6]]
    counted = [network_tables.costs(name, dims) for dims in (3, 2)]
    assert shown == [[f"{number:,d}", f"{flops:,.1f}"] for number, flops in counted], AGAIN


def test_numbers_of_the_papers_are_near_ours() -> None:
    """A slip in the options of a row would show as another network."""
    import network_tables

    for one in network_tables.PUBLISHED:
        if one.printed:
            millions = float(one.printed.removesuffix(" M"))
            assert network_tables.parameters(one) / 1e6 == pytest.approx(millions, rel=0.015)
