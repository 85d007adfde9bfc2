"""The kept lab's pages in a real browser: Prometheus' own page takes the document's query, shows rows, and draws."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import pytest

from meshlab.core.waiting import wait
from tests.browser.chromium import Page, browser
from tests.live.conftest import Ran

pytestmark = pytest.mark.live
QUERY = "istio_requests_total"
ROWS = "document.querySelectorAll('tbody tr').length"
EDITOR = "document.querySelector('.cm-content')"


@pytest.fixture(scope="module")
def page() -> Iterator[Page]:
    """A browser's page."""
    with browser() as opened:
        yield opened


@pytest.fixture(scope="module")
def prometheus(kept_lab: Ran) -> str:
    """Where Prometheus' page is, as result.json tells."""
    links = {each["name"]: each for each in kept_lab.result["links"]}
    assert links["Prometheus"]["kind"] == "page", links
    return str(links["Prometheus"]["url"]).rstrip("/")


def until(page: Page, expression: str, what: str) -> Any:
    """Wait until an expression is true in the page."""
    return wait(what, lambda: page.ask(expression), ready=bool, timeout=30, delay=0.2)


def test_the_documents_query_can_be_typed_and_shows_rows(page: Page, prometheus: str) -> None:
    page.open(f"{prometheus}/query")
    until(page, f"!!{EDITOR}", "the field for a query")
    assert page.ask(ROWS) == 0, "the control: nothing is shown before a query is made"
    page.ask(f"{EDITOR}.focus()")
    page.call("Input.insertText", text=QUERY)
    for kind in ("keyDown", "keyUp"):
        key = {"key": "Enter", "code": "Enter", "windowsVirtualKeyCode": 13, "text": "\r"}
        page.call("Input.dispatchKeyEvent", type=kind, **key)
    assert until(page, f"{ROWS} > 5 && {ROWS}", "rows of the query") > 5
    assert QUERY in page.ask("document.querySelector('tbody').innerText")


def test_the_graph_draws(page: Page, prometheus: str) -> None:
    query = f"sum(rate({QUERY}[1m]))"
    page.open(f"{prometheus}/query?g0.expr={quote(query)}&g0.show_tree=0&g0.tab=graph&g0.range_input=15m")
    until(page, "!!document.querySelector('.uplot canvas')", "the graph")
    drawn = """(() => {
        const canvas = document.querySelector('.uplot canvas');
        const data = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data;
        const colours = new Set();
        for (let i = 0; i < data.length; i += 4)
            if (data[i + 3]) colours.add((data[i] << 16) | (data[i + 1] << 8) | data[i + 2]);
        return colours.size;
    })()"""
    assert until(page, f"{drawn} > 1 && {drawn}", "a line in the graph") > 1
