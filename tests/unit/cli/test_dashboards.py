"""The command that opens a lab's pages judges its input like the others, and touches nothing for bad input."""

from __future__ import annotations

import json
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from meshlab.cli import dashboards
from meshlab.config.settings import LabConfig, Machine
from tests.unit.clusters.local.cluster_fixtures import machine_in


@pytest.fixture(autouse=True)
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Machine]:
    here = machine_in(tmp_path)
    monkeypatch.setattr(Machine, "here", lambda: here)
    handlers = {signum: signal.getsignal(signum) for signum in (signal.SIGINT, signal.SIGTERM)}
    yield here
    for signum, handler in handlers.items():
        signal.signal(signum, handler)


def run(*words: str) -> int:
    return dashboards.main([*words], program="look", about="It looks.")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--cluster", "mars"], ["unknown value 'mars'"]),
        (["--nosuch", "--config", "/nonexistent"], ["is no flag", "can't be read"]),
        (["--set", "local.name=gone"], ["there is no cluster gone", "make lab ARGS=--keep"]),
        (["--cluster", "existing", "--kubeconfig", "/nonexistent"], ["/nonexistent can't be read"]),
        (
            ["--cluster", "gke", "--project", "p"],
            ["--cluster existing --kubeconfig", "gke/RUN_ID/kubeconfig"],
        ),
    ],
)
def test_bad_input_is_2_with_every_problem_named(
    words: list[str], said: list[str], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert run(*words) == 2
    printed = capsys.readouterr().err
    for each in said:
        assert each in printed
    assert "nothing was started" in printed
    assert not (tmp_path / "state").exists()


def test_a_cluster_that_does_not_answer_is_3(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    kubeconfig = tmp_path / "config"
    kubeconfig.write_text(
        "contexts: [{name: a, context: {cluster: one, user: u}}]\nusers: [{name: u, user: {}}]\n"
        "clusters: [{name: one, cluster: {server: 'http://127.0.0.1:1'}}]\ncurrent-context: a\n"
    )
    assert run("--cluster", "existing", "--kubeconfig", str(kubeconfig)) == 3
    assert "127.0.0.1:1" in capsys.readouterr().err


def test_a_port_that_is_taken_is_named_with_the_rest(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        assert run("--set", f"pages.port={port}", "--set", "local.name=gone") == 2
    printed = capsys.readouterr().err
    assert f"pages.port {port}" in printed and "there is no cluster gone" in printed


def test_the_newest_run_of_the_lab_that_has_a_report_is_shown(tmp_path: Path) -> None:
    for name, cluster in (("1", "mine"), ("2", "mine"), ("3", "other"), ("4", "mine"), ("5", "")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "report.html").write_text("r")
        (tmp_path / name / "result.json").write_text(json.dumps({"cluster": {"name": cluster}}))
    (tmp_path / "5" / "result.json").write_text("{")
    (tmp_path / "4" / "report.html").unlink()
    assert dashboards.newest_run(tmp_path, "mine") == tmp_path / "2"
    assert dashboards.newest_run(tmp_path / "none", "mine") is None


def test_without_a_release_here_nothing_is_downloaded_and_the_page_says_why(machine: Machine) -> None:
    shown = dashboards.shown(LabConfig(cluster="gke", runs_dir=Path("none")), machine)
    assert shown.samples is None and "--istioctl" in shown.why_no_samples
