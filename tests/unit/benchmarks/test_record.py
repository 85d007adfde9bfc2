"""latest.json keeps what other parts found, and takes only what somebody reads."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from benchmarks import page, record
from benchmarks.parts import PARTS
from benchmarks.record import Found
from meshlab.core.errors import MeshlabError

HERE = {"processors": 2, "memory_gb": 24.0, "load_before": 0.1}


def _two(path: Path) -> dict[str, object]:
    first = record.merge(record.read(path), "red-run", Found({"red_green": [1.4, 1.2, 1.9]}), HERE)
    record.write(first, path)
    return record.merge(
        record.read(path), "orchestration", Found({}, {"help": [0.5]}, {"help_cpu": [0.4]}), HERE
    )


def test_a_part_is_merged_and_the_median_counts(tmp_path: Path) -> None:
    latest = _two(tmp_path / "latest.json")
    assert latest["ratios"] == {"red_green": 1.4}
    assert latest["seconds"] == {"help": 0.5}
    runs = latest["runs"]
    assert isinstance(runs, dict)
    assert runs["red-run"]["values"] == {"red_green": [1.4, 1.2, 1.9]}
    assert runs["orchestration"]["help_cpu"] == [0.4]
    assert latest["machine"] == HERE
    assert latest["measured"] == runs["orchestration"]["measured"]


def test_a_name_that_nobody_reads_is_refused() -> None:
    with pytest.raises(ValueError, match="speed"):
        record.merge(record.read(Path("/nowhere")), "x", Found({"speed": [1.0]}), HERE)


@pytest.mark.parametrize("content", ["{", "[]", '{"ratios": {"speed": 1}, "seconds": {}}'])
def test_a_broken_record_is_told(tmp_path: Path, content: str) -> None:
    (tmp_path / "latest.json").write_text(content)
    with pytest.raises(MeshlabError):
        record.read(tmp_path / "latest.json")


def test_the_page_gets_the_numbers_and_says_what_was_not_measured(tmp_path: Path) -> None:
    doc = tmp_path / "page.md"
    doc.write_text(f"before\n{page.BEGIN}\nold\n{page.END}\nafter\n")
    latest = _two(tmp_path / "latest.json")
    for _ in range(2):
        page.write(latest, doc, tmp_path)
    said = doc.read_text()
    assert said.startswith("before\n") and said.endswith("after\n") and "old" not in said
    assert "| red-run | red run ÷ green run | 1.4 | 1.4, 1.2, 1.9 | 2 cores, 24.0 GB" in said
    assert "| orchestration | --help | 0.5 s |" in said
    (missing,) = [line for line in said.splitlines() if line.startswith("Not measured yet")]
    assert PARTS["nightly"].title in missing and PARTS["red-run"].title not in missing
    assert len(ET.fromstring((tmp_path / "performance.svg").read_text()).findall(".//{*}rect")) == 1
    assert not (tmp_path / "growth.svg").exists()


def test_nights_of_a_growing_mesh_are_drawn(tmp_path: Path) -> None:
    checks = {"a.one": {"seconds": 1.0, "calls": 2, "memory_mb": 90.0}}
    nights = {
        name: [{"seconds": each, "calls": 9, "checks": checks} for each in (took - 1, took, took + 9)]
        for name, took in (("1 copies", 140.0), ("10 copies", 240.0))
    }
    latest = record.merge(
        record.read(tmp_path / "none.json"), "growth", Found({}, {}, {"nights": nights}), HERE
    )
    drawn = ET.fromstring(page.charts(latest)["growth.svg"])
    wide = [float(bar.attrib["width"]) for bar in drawn.findall(".//{*}rect")]
    assert wide[0] / wide[1] == pytest.approx(140 / 240, rel=1e-3)


def test_what_a_part_no_longer_tells_is_gone(tmp_path: Path) -> None:
    first = record.merge(record.read(tmp_path / "none.json"), "a", Found({"prefect_share": [0.1]}), HERE)
    assert record.merge(first, "a", Found(seconds={"help": [0.4]}), HERE)["ratios"] == {}
    assert record.merge(first, "b", Found(seconds={"help": [0.4]}), HERE)["ratios"] == {"prefect_share": 0.1}


def test_nothing_is_drawn_where_nothing_was_measured(tmp_path: Path) -> None:
    assert page.charts(record.read(tmp_path / "none.json")) == {}


def test_the_committed_record_and_page_belong_together() -> None:
    _, _, rest = page.PAGE.read_text(encoding="utf-8").partition(page.BEGIN + "\n")
    latest = record.read()
    assert rest.partition(page.END)[0].startswith(page.text(latest))
