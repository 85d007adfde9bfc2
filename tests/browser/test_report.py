"""The report in a real browser: what it says, that it asks for nothing, and that everybody can read it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from meshlab.report.html import write_report
from tests.browser.chromium import Page, browser
from tests.examples.material import material
from tests.examples.results import CRASHED, FULL

# Every text whose colour is too near to what is behind it (WCAG 2.1 AA), as "ratio: text".
LOW_CONTRAST = """
(() => {
  const parse = (c) => { const n = c.match(/[\\d.]+/g).map(Number); return n.length < 4 ? [...n, 1] : n; };
  const light = ([r, g, b]) => {
    const [x, y, z] = [r, g, b].map((v) => (v /= 255) <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    return 0.2126 * x + 0.7152 * y + 0.0722 * z;
  };
  const behind = (e) => {
    for (; e; e = e.parentElement) {
      const c = parse(getComputedStyle(e).backgroundColor);
      if (c[3] === 1) return c;
    }
    return [255, 255, 255, 1];
  };
  const found = [];
  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (texts.nextNode()) {
    const e = texts.currentNode.parentElement, text = texts.currentNode.textContent.trim();
    if (!text || ["SCRIPT", "STYLE", "title"].includes(e.tagName) || !e.checkVisibility()) continue;
    const s = getComputedStyle(e), two = light(behind(e));
    const one = light(parse(e.closest("svg") ? s.fill : s.color));
    const ratio = (Math.max(one, two) + 0.05) / (Math.min(one, two) + 0.05);
    const large = parseFloat(s.fontSize) >= 24 || (parseFloat(s.fontSize) >= 18.6 && s.fontWeight >= 700);
    if (ratio < (large ? 3 : 4.5)) found.push(`${ratio.toFixed(2)}: ${text.slice(0, 60)}`);
  }
  return found;
})()
"""
PICTURES = """
[...document.querySelectorAll("img, svg, canvas, object")].map((e) =>
  [e.checkVisibility(), e.getAttribute("role"), e.getAttribute("aria-label") || e.getAttribute("alt") || ""])
"""
UNFOLD = "[...document.querySelectorAll('details')].forEach((one) => one.open = true)"
PAINTED = "new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => done(true))))"
HEADINGS = "[...document.querySelectorAll('h1, h2, h3, h4, h5, h6')].map((e) => +e.tagName[1])"


@pytest.fixture(scope="module")
def page() -> Iterator[Page]:
    with browser() as opened:
        yield opened


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> str:
    return write_report(FULL, tmp_path_factory.mktemp("full"), material()).as_uri()


@pytest.fixture(scope="module")
def crashed(tmp_path_factory: pytest.TempPathFactory) -> str:
    return write_report(CRASHED, tmp_path_factory.mktemp("crashed")).as_uri()


@pytest.fixture(params=["full", "crashed"])
def report(request: pytest.FixtureRequest) -> str:
    return str(request.getfixturevalue(request.param))


def test_no_request_leaves_the_file(page: Page, report: str) -> None:
    page.requests.clear()
    page.open(report)
    page.ask(UNFOLD)
    page.ask(PAINTED)
    assert page.requests == [report]


def test_nor_would_one_if_its_policy_did_not_forbid_it(page: Page, full: str, tmp_path: Path) -> None:
    """With the control that a request would have been seen."""
    text = Path(full.removeprefix("file://")).read_text(encoding="utf-8")
    policy = re.compile(r'<meta http-equiv="Content-Security-Policy"[^>]*>')
    assert len(policy.findall(text)) == 1
    free, asking = tmp_path / "free.html", tmp_path / "asking.html"
    free.write_text(policy.sub("", text), encoding="utf-8")
    asking.write_text(policy.sub("", text).replace("</main>", "<img src='picture.png' alt='x'></main>"))
    page.requests.clear()
    page.open(free.as_uri())
    page.ask(UNFOLD)
    page.ask(PAINTED)
    assert page.requests == [free.as_uri()]
    page.requests.clear()
    page.open(asking.as_uri())
    assert page.requests == [asking.as_uri(), (tmp_path / "picture.png").as_uri()]


def test_headings_and_landmarks_lead_through_the_page(page: Page, full: str) -> None:
    page.open(full)
    levels = page.ask(HEADINGS)
    assert levels[0] == 1 and levels.count(1) == 1
    assert all(after - before <= 1 for before, after in pairwise(levels))
    titles = page.ask("[...document.querySelectorAll('h2')].map((e) => e.textContent)")
    assert titles == [
        "Summary", "Versions and images", "Pods", "Queries", "Dashboards", "Traces", "Service graph",
        "Mutual TLS", "Who may do what", "Planted faults", "Checks", "Measures", "Steps", "Evidence",
    ]  # fmt: skip
    found = {role for role, _ in page.accessible("banner", "main", "navigation", "contentinfo")}
    assert found == {"banner", "main", "navigation", "contentinfo"}
    assert page.ask("document.title").startswith("Failed: ")


def test_every_picture_has_a_text_alternative(page: Page, full: str) -> None:
    page.open(full)
    pictures = page.ask(PICTURES)
    assert len(pictures) > 60
    assert [picture for picture in pictures if picture[1] != "img" or len(picture[2]) < 20] == []
    page.ask(UNFOLD)
    seen = [picture[2] for picture in page.ask(PICTURES) if picture[0]]
    told = [name for _, name in page.accessible("image", "img")]
    assert sorted(told) == sorted(seen)
    assert len(pictures) - len(seen) == 1, "only the telephone's waterfall is hidden"


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [1440, 400])
def test_the_page_fits_its_window_and_its_texts_stand_out(
    page: Page, report: str, width: int, dark: bool
) -> None:
    page.open(report, width=width, dark=dark)
    assert page.ask("matchMedia('(prefers-color-scheme: dark)').matches") is dark
    page.ask(UNFOLD)
    assert page.ask("document.documentElement.scrollWidth") <= width
    assert page.ask(LOW_CONTRAST) == []


def test_the_first_screen_answers_on_a_desk_and_on_a_telephone(page: Page, full: str) -> None:
    for width, height in ((1440, 900), (400, 860)):
        page.open(full, width=width, height=height)
        assert page.ask("document.querySelector('.problems').getBoundingClientRect().top") < height
        assert page.ask("document.querySelector('.numbers').getBoundingClientRect().bottom") < height
    page.open(full)
    assert page.ask("document.querySelector('.images').getBoundingClientRect().bottom") < 900


def test_a_link_to_a_folded_check_unfolds_it(page: Page, full: str) -> None:
    page.open(full)
    folded = "document.getElementById('check-cluster.nodes-ready').open"
    assert page.ask(folded) is False
    page.ask("new Promise((done) => { addEventListener('hashchange', () => setTimeout(done));"
             " location.hash = 'check-cluster.nodes-ready' })")  # fmt: skip
    assert page.ask(folded) is True


def test_it_prints_with_everything_unfolded(page: Page, full: str) -> None:
    page.open(full)
    assert len(page.call("Page.printToPDF")["data"]) > 50_000
