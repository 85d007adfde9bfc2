"""The start page in a real browser, on a fake mesh: links, views that are drawn anew, and what a reader had unfolded."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from meshlab.config.settings import LabConfig, Machine
from meshlab.core.process import SystemRunner
from meshlab.core.waiting import wait
from meshlab.lifecycle.screenshots import take
from meshlab.observability.pages import live
from meshlab.observability.pages.live import Sources, views
from meshlab.observability.pages.server import PageServer
from meshlab.observability.pages.start_page import StartPage
from meshlab.report.html import write_report
from tests.browser.chromium import Page, browser
from tests.browser.test_report import LOW_CONTRAST
from tests.examples.material import material
from tests.examples.results import FULL
from tests.fakes.live_mesh import FakeMesh, jaeger, samples

WIDER = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
DRAWN = "[...document.querySelectorAll('[data-live]')].map((each) => each.querySelectorAll('svg').length)"
AT = "document.querySelector('[data-live] > .small').textContent"


@pytest.fixture(scope="module")
def page() -> Iterator[Page]:
    with browser() as opened:
        yield opened


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[PageServer, FakeMesh]]:
    """A start page of a fake mesh, drawn anew whenever it is asked."""
    monkeypatch.setattr(live, "EVERY", 0.0)
    run = tmp_path / "20261128t120000z-abcd"
    run.mkdir()
    write_report(FULL, run, material())
    with FakeMesh() as mesh, jaeger() as traces:
        links = [
            {"name": "Prometheus", "url": f"{mesh.url}/", "note": ""},
            {"name": "Grafana", "url": "", "note": "does not run here"},
        ]
        shown = views(
            LabConfig(), Sources(mesh.url, traces.url, samples(tmp_path / "samples")), domain="cluster.local"
        )
        server = PageServer(StartPage("mltest", links, shown, run).answer).open()
        try:
            yield server, mesh
        finally:
            server.close()


def until(page: Page, expression: str, what: str) -> Any:
    return wait(what, lambda: page.ask(expression), ready=bool, timeout=90, delay=0.2)


@pytest.mark.parametrize("width", [1440, 400])
def test_the_views_are_drawn_and_fit(
    page: Page, lab: tuple[PageServer, FakeMesh], width: int, tmp_path: Path
) -> None:
    server, _ = lab
    page.open(server.url, width=width)
    until(page, f"{DRAWN}.slice(0, 3).every((each) => each > 0)", "three views")
    assert page.ask(DRAWN)[3:] == [0, 0], "folded views are not asked for"
    assert page.ask(WIDER) <= 0, "the page is wider than its window"
    assert page.ask(LOW_CONTRAST) == []
    assert page.ask("[...document.querySelectorAll('.links a')].map((each) => each.textContent)") == [
        "The run's report", "Prometheus",
    ]  # fmt: skip
    page.ask("document.querySelectorAll('details.live')[3].open = true")
    until(page, f"{DRAWN}[3] > 0", "the dashboard that was unfolded")
    page.picture(tmp_path / f"start-{width}.png")


def test_they_are_drawn_anew_and_keep_what_the_reader_unfolded(
    page: Page, lab: tuple[PageServer, FakeMesh]
) -> None:
    server, _ = lab
    page.open(server.url)
    until(page, f"{DRAWN}[0] > 0", "the graph")
    page.ask("document.querySelector('[data-live] details').open = true")
    page.ask("document.querySelector('[data-live] details summary').focus()")
    first = page.ask(AT)
    assert until(page, f"{AT} !== {first!r}", "the next drawing")
    assert page.ask("document.querySelector('[data-live] details').open")
    assert page.ask("document.activeElement.tagName") == "SUMMARY"


def test_its_policy_lets_it_ask_nobody_else(page: Page, lab: tuple[PageServer, FakeMesh]) -> None:
    server, mesh = lab
    page.open(server.url)
    until(page, f"{DRAWN}[0] > 0", "the graph")
    assert page.ask(
        f"fetch({mesh.url + '/api/v1/query?query=time()'!r}).then(() => 'read', () => 'refused')"
    ) == ("refused")
    assert page.ask("fetch('/live/graph').then((each) => each.status)") == 200, "the control"


def test_the_report_opens_with_its_pictures(page: Page, lab: tuple[PageServer, FakeMesh]) -> None:
    server, _ = lab
    page.open(f"{server.url}report/report.html")
    assert page.ask("document.querySelectorAll('svg').length") > 10
    assert page.ask("fetch('/report/pictures/graph-1.svg').then(() => 'read', () => 'refused')") == "refused"
    page.open(f"{server.url}report/pictures/graph-1.svg")
    assert page.ask("document.documentElement.tagName") == "svg"


def test_a_lab_that_is_gone_and_a_program_that_ended_are_said(
    page: Page, lab: tuple[PageServer, FakeMesh]
) -> None:
    server, mesh = lab
    page.open(server.url)
    until(page, f"{DRAWN}[0] > 0", "the graph")
    mesh.replies.clear()
    until(page, "!!document.querySelector('[data-live] .gone')", "the message that the lab is gone")
    assert page.ask("document.getElementById('gone').hidden")
    server.close()
    until(page, "!document.getElementById('gone').hidden", "the message that the program has ended")


def test_its_screenshot_shows_the_views(lab: tuple[PageServer, FakeMesh], tmp_path: Path) -> None:
    """The page that never stops asking is pictured all the same, with what it has drawn."""
    server, _ = lab
    taken = take({"start page": server.url}, tmp_path, runner=SystemRunner(), path=Machine.here().path)
    assert taken.problems == ()
    content = taken.files[0].read_bytes()
    assert content.startswith(b"\x89PNG") and len(content) > 50_000, "the links alone are smaller"
