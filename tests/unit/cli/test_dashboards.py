"""The command that opens a lab's pages judges its input like the others, and touches nothing for bad input."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from meshlab.cli import dashboards
from meshlab.config.settings import Machine
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
