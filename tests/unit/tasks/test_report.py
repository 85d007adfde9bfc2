import logging
import socket
from typing import Any
from uuid import UUID

import pytest
from prefect.context import SyncClientContext
from prefect.settings import PREFECT_API_URL, temporary_settings

from meshlab.core.progress import Update
from meshlab.run.journal import report_progress
from tasks import report

RESULT: dict[str, Any] = {
    "run_id": "20260102t030405z-abcd",
    "flow": "full-lab",
    "verdict": "error",
    "cluster": {"provider": None, "name": None, "nodes": 0},
    "distribution": None,
    "versions": {"kubernetes": "v1.36.2"},
    "images": {},
    "checks": [],
    "measures": [],
    "steps": [],
}


class Artifacts:
    """Stands in for Prefect's artifact functions, and keeps what they are given."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.kept: list[dict] = []
        for kind in ("create_table", "create_markdown", "create_progress", "update_progress"):
            monkeypatch.setattr(report, f"{kind}_artifact", self._keeper(kind))

    def _keeper(self, kind: str):
        def keep(**fields) -> UUID:
            self.kept.append({"kind": kind, **fields})
            return UUID(int=7)

        return keep


@pytest.fixture
def artifacts(monkeypatch: pytest.MonkeyPatch) -> Artifacts:
    return Artifacts(monkeypatch)


def test_the_end_of_a_run_is_published_under_the_fixed_keys(artifacts: Artifacts) -> None:
    report.publish_result(RESULT)
    assert [each["key"] for each in artifacts.kept] == ["versions", "queries", "checks", "report"]
    assert artifacts.kept[0]["table"] == [{"what": "kubernetes", "version": "v1.36.2"}]
    assert artifacts.kept[2]["table"] == [{"": "(nothing)"}]
    assert artifacts.kept[3]["markdown"].startswith("# ERROR: no check was made")


def test_a_server_that_refuses_costs_a_warning_and_no_more(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(**fields) -> None:
        raise RuntimeError("the server is gone")

    monkeypatch.setattr(report, "create_table_artifact", refuse)
    with caplog.at_level(logging.WARNING):
        report.publish_table("pods", [], "Pods")
    assert "artifact pods was refused: the server is gone" in caplog.text


def test_progress_outside_of_a_run_is_published_nowhere(artifacts: Artifacts) -> None:
    with report.progress_artifact("progress-build", "Build"):
        report_progress(Update("compile", 1, 2))
    assert artifacts.kept == []


class SomeRun:
    """Stands in for Prefect's run contexts: a run is under way."""

    @staticmethod
    def get() -> str:
        return "a run"


def test_progress_of_a_run_begins_moves_and_ends(
    artifacts: Artifacts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(report, "FlowRunContext", SomeRun)
    with report.progress_artifact("progress-build", "Build"):
        report_progress(Update("compile", 1, 4, "etcd"))
        report_progress(Update("compile", 2, 4, "etcd"))  # too soon after the one before
        report_progress(Update("pods", detail="of unknown size"))
    assert [(each["kind"], each["progress"]) for each in artifacts.kept] == [
        ("create_progress", 0.0),
        ("update_progress", 25.0),
        ("update_progress", 100.0),
    ]
    assert artifacts.kept[1]["description"] == "Build: compile, etcd"
    assert artifacts.kept[1]["artifact_id"] == UUID(int=7)


def test_work_that_fails_is_not_shown_as_done(artifacts: Artifacts, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report, "FlowRunContext", SomeRun)
    with pytest.raises(ValueError), report.progress_artifact("progress-build", "Build"):
        raise ValueError
    assert [each["progress"] for each in artifacts.kept] == [0.0]


def test_without_an_artifact_the_work_goes_on(artifacts: Artifacts, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(**fields) -> None:
        raise RuntimeError("the server is gone")

    monkeypatch.setattr(report, "FlowRunContext", SomeRun)
    monkeypatch.setattr(report, "create_progress_artifact", refuse)
    with report.progress_artifact("progress-build", "Build"):
        report_progress(Update("compile", 1, 4, "etcd"))
    assert artifacts.kept == []


def test_a_server_that_is_gone_is_asked_for_its_health_and_for_nothing_more(
    artifacts: Artifacts, caplog: pytest.LogCaptureFixture, free_port: int
) -> None:
    with temporary_settings({PREFECT_API_URL: f"http://127.0.0.1:{free_port}/api"}):
        context = SyncClientContext()  # not entered: that would ask the server for its version
    token = SyncClientContext.__var__.set(context)
    try:
        report.publish_table("checks", [], "Checks")
    finally:
        SyncClientContext.__var__.reset(token)
    assert artifacts.kept == [] and "does not answer" in caplog.text


@pytest.fixture
def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])
