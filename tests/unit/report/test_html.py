import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from markupsafe import Markup

from meshlab.report.html import MOST_BYTES, numbers, report_html, write_report
from meshlab.report.rendering import FAIL, PASS, Cell, matrix
from meshlab.report.sections import Drawn, Section, draw
from meshlab.run.result_file import schema
from tests.examples.material import material
from tests.examples.results import CRASHED, FULL, check

SCHEMA = jsonschema.Draft202012Validator(schema())  # itself held to its meta-schema by test_result_file
VOID = {"meta", "br", "img", "link", "input", "hr"}


class Strict(HTMLParser):
    """Notes what a page has, and fails where its tags do not nest."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.links: list[str] = []
        self.headings: list[int] = []
        self.feed(text)
        assert not self.open, f"never closed: {self.open}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        if tag not in VOID:
            self.open.append(tag)
        if found.get("id"):
            self.ids.append(str(found["id"]))
        if tag == "a":
            self.links.append(str(found.get("href")))
        if re.fullmatch("h[1-6]", tag):
            self.headings.append(int(tag[1]))

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag, f"</{tag}> closes something else"


@pytest.fixture(scope="module")
def everything() -> Drawn:
    return draw(material())


@pytest.mark.parametrize("result", [FULL, CRASHED], ids=["full", "crashed"])
def test_the_examples_are_what_result_json_may_be(result: dict[str, Any]) -> None:
    SCHEMA.validate(result)


@pytest.mark.parametrize("result", [FULL, CRASHED], ids=["full", "crashed"])
def test_any_result_becomes_a_whole_page_with_headings_in_order(
    result: dict[str, Any], everything: Drawn
) -> None:
    for drawn in (Drawn(), everything):
        page = Strict(report_html(result, drawn))
        assert page.headings[0] == 1 and page.headings.count(1) == 1
        assert all(
            after <= before + 1 for before, after in zip(page.headings, page.headings[1:], strict=False)
        )
        assert len(page.ids) == len(set(page.ids)), "an id occurs twice"
        assert {link[1:] for link in page.links if link.startswith("#")} <= set(page.ids)


def test_the_first_screen_tells_verdict_numbers_what_failed_and_whose_images() -> None:
    page = report_html(FULL, Drawn())
    first = page[page.index("<header") : page.index("<nav")]
    assert "Failed <span>2 passed, 1 failed, 1 broken, 1 could not be made, 1 skipped" in first
    assert "took 2 min 18 s" in first
    order = [first.index(name) for name in ("deploy-jaeger", "prometheus.reconcile", "mtls.refusal",
                                            "jaeger.productpage-traces", "kiali.graph")]  # fmt: skip
    assert order == sorted(order)
    assert "119 counted, 120 sent: the cause" in first and "repeat the window" in first
    assert "localhost/meshlab/pilot:1.31.0" in first
    assert "prom/prometheus" not in first


def test_the_five_numbers() -> None:
    assert [(number.label, number.value, number.note) for number in numbers(FULL)] == [
        ("Requests sent", "1,620", "in 2 phases"),
        ("Success rate", "99.9%", "1,619 answered 200"),
        ("p99 latency", "37.3 ms", "loop fast"),
        ("Proxies", "9", "Istio 1.31.0"),
        ("Checks passed", "2 of 5", "1 skipped"),
    ]
    assert [number.value for number in numbers(CRASHED)] == ["–"] * 5


def test_one_lost_request_in_a_million_is_not_a_hundred_percent() -> None:
    measures = [
        {"name": name, "value": value, "unit": "requests", "labels": {}}
        for name, value in (("requests-sent", 1_000_000), ("requests-ok", 999_999))
    ]
    assert numbers({**FULL, "measures": measures})[1].value == "99.9%"


def test_a_run_of_nothing_claims_nothing() -> None:
    page = report_html(CRASHED, Drawn())
    assert "Not proven <span>no check was made" in page
    assert "nothing is proven" in page
    assert "No image was recorded." in page


def test_a_run_in_which_all_passed_says_so() -> None:
    images = {"a": {"image": "istio/pilot", "ours": False}}
    page = report_html(
        {**CRASHED, "verdict": "pass", "checks": [check("a.b", "pass", "3 of 3")], "images": images}, Drawn()
    )
    assert "Every check passed, none was skipped." in page
    assert "All images are official" in page


def test_risks_that_were_accepted_are_told_on_the_first_screen(everything: Drawn) -> None:
    finding = {"severity": "warning", "resource": "Deployment shop/cart", "why": "has no limit", "fix": "limits: {}",
               "expires": "", "request": "", "answer": ""}  # fmt: skip
    findings = [finding | {"accepted": "measured"}, finding | {"accepted": ""}]
    one = check(
        "audit.limits", "pass", "1 finding", evidence={"looked": 1, "what": "x", "findings": findings}
    )
    first = report_html(FULL | {"checks": [one]}, everything).split("<section")[1]
    assert "1 finding of the" in first and "is an accepted risk" in first
    assert "accepted risk" not in report_html(FULL, everything).split("<section")[1]


def test_the_story_is_told_in_the_documents_order(everything: Drawn) -> None:
    extra = Section("audit", "Audit", Markup("<p>mine</p>"))
    page = report_html(FULL, everything, [extra])
    titles = re.findall(r'<h2 id="([\w-]+)">', page)
    assert titles == [
        "versions", "pods", "queries", "dashboards", "traces", "graph", "mtls", "authorization", "audit", "faults",
        "checks", "measures", "steps",
    ]  # fmt: skip
    assert page.count("<figure>") == 3
    assert "100 panels of 7 dashboards" in page


def test_what_was_planted_stands_against_what_turned_red() -> None:
    page = report_html(FULL, Drawn())
    faults = page[page.index('<h2 id="faults"') : page.index('<h2 id="checks"')]
    assert 'class="ok">caught' in faults and 'class="bad">missed' in faults
    assert "red too" in faults and "red, unexpected" in faults and "wrong-port (not restored)" in faults


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
NAMES = st.sampled_from(["requests-sent", "requests-ok", "request-p99", "other"])
RESULTS = st.fixed_dictionaries(
    {
        "verdict": st.sampled_from(["pass", "fail", "error"]),
        "cluster": st.fixed_dictionaries(
            {"provider": st.sampled_from(["gke", None]), "name": st.none() | st.text(), "nodes": st.just(0)}
        ),
        "distribution": st.sampled_from(["release", None]),
        "images": st.dictionaries(
            st.text(), st.fixed_dictionaries({"image": st.text(), "ours": st.booleans()}), max_size=3
        ),
        "versions": st.dictionaries(st.sampled_from(["kubernetes", "envoy", "other"]), st.text(), max_size=3)
        | st.just({"istio": {}})
        | st.just({"istio": {"control_plane": None, "data_plane": {}}}),
        "checks": st.lists(
            st.builds(
                check,
                st.from_regex(r"[a-z]+\.[a-z0-9-]+", fullmatch=True),
                st.sampled_from(["pass", "fail", "skipped", "broken", "infra-error"]),
                st.text(min_size=1).map(lambda text: f"0{text}"),
                evidence=st.dictionaries(st.sampled_from(["query", "series", "other"]), JSON, max_size=3),
                remedy=st.text(min_size=1),
            ),
            max_size=4,
            unique_by=lambda made: made["id"],
        ),
        "measures": st.lists(
            st.fixed_dictionaries(
                {"name": NAMES, "value": st.floats(allow_nan=False, allow_infinity=False), "unit": st.text(),
                 "labels": st.dictionaries(st.text(), st.text(), max_size=2)}
            ),
            max_size=4,
        ),
    }
)  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(RESULTS)
def test_whatever_the_schema_allows_becomes_a_whole_page(values: dict[str, Any]) -> None:
    result = {**CRASHED, **values}
    SCHEMA.validate(result)
    page = Strict(report_html(result, Drawn()))
    assert page.headings[0] == 1


def test_what_comes_from_outside_can_not_become_markup() -> None:
    evil = "</script><img src=http://www.example.com/x onerror=alert(1)>"
    text = json.dumps(
        {**FULL, "checks": [check("a.b", "fail", evil, reason=evil, remedy=evil, evidence={evil: evil})]}
    )
    page = report_html(json.loads(text.replace("meshlab/pilot", evil)), Drawn(), files=[(evil, 5)])
    assert "<img" not in page
    assert page.count("</script>") == 1


def test_nothing_in_the_page_asks_for_anything(everything: Drawn) -> None:
    page = report_html(FULL, everything)
    assert "default-src 'none'" in page
    assert not re.search(r"https?://|@import|url\(|<link|<iframe|<img", page)


def test_evidence_is_shown_more_briefly_until_the_page_fits() -> None:
    rows = [{"name": "x" * 400, "n": n} for n in range(400)]
    checks = [check(f"a.b{n}", "pass", "400 rows", evidence={"rows": rows}) for n in range(200)]
    page = report_html({**FULL, "checks": checks}, Drawn())
    assert 10_000 < len(page.encode()) <= MOST_BYTES
    assert "more rows" in page


def test_the_files_of_the_run_are_linked_and_the_pictures_are_files(
    tmp_path: Path, everything: Drawn
) -> None:
    (tmp_path / "evidence").mkdir()
    (tmp_path / "evidence" / "a b#1.txt").write_text("x" * 2048)
    path = write_report(FULL, tmp_path, everything)
    assert write_report(FULL, tmp_path, everything) == path
    page = path.read_text()
    assert 'href="evidence/a%20b%231.txt"' in page and "2 KiB" in page
    for name in ("graph-1.svg", "graph-2.svg", "trace-1.svg", "query-1.svg"):
        assert (tmp_path / "pictures" / name).read_text().startswith("<svg ")
        assert f'href="pictures/{name}"' in page
    assert len(page.encode()) < MOST_BYTES


def test_material_can_be_left_out(tmp_path: Path) -> None:
    assert write_report(CRASHED, tmp_path / "new").stat().st_size < 30_000


def test_others_build_truth_tables_of_the_same_parts() -> None:
    table = matrix(
        "who may", "client", ["GET", "POST"], {"sleep": [Cell("200", PASS), Cell("403", FAIL, "seen 200")]}
    )
    assert (
        '<th scope="row">sleep</th><td class="ok">200</td><td class="bad" title="seen 200">403</td>' in table
    )
