"""The start page: links, the run's report with its files, and nothing else of this machine."""

from __future__ import annotations

from pathlib import Path

import pytest
from markupsafe import Markup

from meshlab.observability.pages.live import View
from meshlab.observability.pages.start_page import StartPage
from tests.examples.secrets import KEY, KUBECONFIG, TOKEN

LINKS = (
    {"name": "Prometheus", "url": "http://127.0.0.1:4711/", "note": ""},
    {"name": "Grafana", "url": "", "note": "does not run here"},
)
REPORT = "<html><a href='evidence/pods.json'>evidence</a></html>"


@pytest.fixture
def run(tmp_path: Path) -> Path:
    directory = tmp_path / "20261128t120000z-abcd"
    (directory / "evidence").mkdir(parents=True)
    (directory / "report.html").write_text(REPORT)
    (directory / "evidence" / "pods.json").write_text("{}")
    (tmp_path / "kubeconfig").write_text(KUBECONFIG)
    return directory


def page(directory: Path | None, body: str = "drawn") -> StartPage:
    view = View("graph", "Service graph", lambda: Markup(body))
    return StartPage("mltest", LINKS, (view,), directory)


def text(start: StartPage, path: str) -> str:
    found = start.answer(path)
    assert found is not None and found.status == 200
    return found.body.decode()


def test_it_links_to_every_page_and_to_the_report(run: Path) -> None:
    told = text(page(run), "/")
    assert 'href="http://127.0.0.1:4711/"' in told and "does not run here" in told
    assert 'href="/report/report.html"' in told and run.name in told and "mltest" in told
    assert 'data-live="/live/graph"' in told


def test_before_the_run_has_ended_there_is_no_link_to_a_report(run: Path) -> None:
    (run / "report.html").unlink()
    start = page(run)
    assert "/report/report.html" not in text(start, "/") and "when the run ends" in text(start, "/")
    (run / "report.html").write_text(REPORT)
    assert "/report/report.html" in text(start, "/")
    assert "no finished run of this lab" in text(page(None), "/")


def test_the_report_and_the_files_that_it_links_to_are_served(run: Path) -> None:
    start = page(run)
    assert text(start, "/report/report.html") == REPORT
    assert text(start, "/report/evidence/pods.json") == "{}"


@pytest.mark.parametrize(
    "path",
    [
        "/report/../kubeconfig", "/report//etc/passwd", "/report/evidence/../../kubeconfig", "/report/", "/report",
        "/report/evidence", "/kubeconfig", "/live/", "/live/none", "/live/../report/report.html", "",
    ],
)  # fmt: skip
def test_nothing_else_is(run: Path, path: str) -> None:
    assert page(run).answer(path) is None
    assert page(None).answer("/report/report.html") is None


def test_a_link_that_leads_out_of_the_run_is_not_followed(run: Path) -> None:
    (run / "evidence" / "out.txt").symlink_to(run.parent / "kubeconfig")
    assert page(run).answer("/report/evidence/out.txt") is None


@pytest.mark.parametrize("secret", [KEY, TOKEN])
def test_no_page_shows_a_secret(run: Path, secret: str) -> None:
    (run / "evidence" / "log.txt").write_text(f"it said {secret}")
    (run / "report.html").write_text(f"<p>{secret}</p>")
    start = page(run, body=f"<p>{secret}</p>")
    for path in ("/live/graph", "/report/report.html", "/report/evidence/log.txt"):
        assert secret not in text(start, path), path
