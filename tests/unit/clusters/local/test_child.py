import json
import os
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from meshlab.clusters.base import ClusterRef
from meshlab.clusters.local.child import UpChild, alive, end, follow, start
from meshlab.config.settings import LocalSettings
from meshlab.core.errors import ClusterError
from meshlab.core.progress import Update, silent
from tests.fakes.runner import FakeRunner

PROGRESS = json.dumps({"what": "compile", "done": 1, "total": 4, "detail": "etcd"})
CLUSTER: dict[str, Any] = {
    "provider": "local",
    "name": "meshlab",
    "kubeconfig": "/state/kubeconfig",
    "context": "meshlab",
    "nodes": 3,
    "endpoint": "https://10.177.0.10:6443",
    "adopted": False,
    "started_seconds": 4.5,
}


@pytest.fixture
def begin(tmp_path: Path) -> Iterator:
    """Starts a child that is a shell script, which reports to $REPORT. All end with the test."""
    children: list[UpChild] = []

    def begin(script: str) -> UpChild:
        runner = FakeRunner(script=f"REPORT={tmp_path}/cluster-up.jsonl; {script}")
        children.append(
            start(LocalSettings(nodes=2), "run-1", tmp_path, addons=["prometheus"], runner=runner)
        )
        begin.runner = runner  # type: ignore[attr-defined]
        return children[-1]

    yield begin
    for child in children:
        end(child, grace=5)


def say(event: str) -> str:
    return f"echo '{event}' >> $REPORT"


def test_the_child_is_told_what_is_wanted(begin, tmp_path: Path) -> None:
    (tmp_path / "cluster-up.jsonl").write_text('{"error": "of an earlier run", "remedy": ""}\n')
    child = begin("exec sleep 60")
    [(python, *_, module, wanted)] = begin.runner.spawned
    assert (python, module) == (sys.executable, "meshlab.clusters.local.child")
    told = json.loads(wanted)
    assert (told["run_id"], told["run_pid"], told["addons"]) == ("run-1", os.getpid(), ["prometheus"])
    assert LocalSettings.model_validate(told["settings"]) == LocalSettings(nodes=2)
    assert told["report"] == str(child.report)
    assert not child.report.exists()
    assert alive(child)


def test_progress_is_passed_on_and_the_cluster_comes_back(begin) -> None:
    told: list[Update] = []
    ref = follow(begin(f"{say(PROGRESS)}; {say(json.dumps({'cluster': CLUSTER}))}"), progress=told.append)
    assert told == [Update("compile", 1, 4, "etcd")]
    assert ref == ClusterRef(**{**CLUSTER, "kubeconfig": Path("/state/kubeconfig")})


def test_the_last_word_of_one_whose_run_was_killed_and_goes_on_is_not_the_child_s(begin) -> None:
    other = say(json.dumps({"pid": os.getpid(), "error": "signal 15", "remedy": ""}))
    ref = follow(begin(f"{other}; {say(json.dumps({'cluster': CLUSTER}))}"), progress=silent)
    assert ref.name == "meshlab"


def test_an_error_comes_with_its_remedy(begin) -> None:
    child = begin(say('{"error": "no disk", "remedy": "free some"}'))
    with pytest.raises(ClusterError) as caught:
        follow(child, progress=silent)
    assert caught.value.message.endswith(": no disk") and caught.value.remedy == "free some"


def test_an_error_without_a_remedy_points_to_the_log(begin) -> None:
    child = begin(say('{"error": "no disk", "remedy": ""}'))
    with pytest.raises(ClusterError) as caught:
        follow(child, progress=silent)
    assert caught.value.remedy == f"see {child.log}"


@pytest.mark.parametrize("last_words", ["true", 'printf \'{"cluster": {"na\' >> $REPORT'])
def test_a_child_that_dies_without_a_last_line_is_an_error_with_the_end_of_its_log(
    begin, last_words: str
) -> None:
    told: list[Update] = []
    child = begin(f"{say(PROGRESS)}; {last_words}; echo 'Traceback: boom' >&2; exit 1")
    with pytest.raises(ClusterError, match=r"ended without a result.*\nTraceback: boom"):
        follow(child, progress=told.append)
    assert len(told) == 1


def test_a_stop_event_ends_the_following_not_the_child(begin) -> None:
    stop = threading.Event()
    child = begin(f"{say(PROGRESS)}; exec sleep 60")
    with pytest.raises(ClusterError, match="stopped before it was up"):
        follow(child, progress=lambda update: stop.set(), stop=stop)
    assert alive(child)


def test_a_child_that_left_is_not_another_s_pid(begin) -> None:
    child = begin("exec sleep 60")
    assert not alive(UpChild(child.pid, child.began - 600, child.report, child.log))
    end(child, grace=5)
    assert not alive(child)
    end(child)  # twice is fine


def test_a_child_that_does_not_leave_is_killed(begin) -> None:
    child = begin(f"trap '' TERM; {say(PROGRESS)}; while :; do sleep 0.05; done")
    stop = threading.Event()
    with pytest.raises(ClusterError):  # the trap stands by now
        follow(child, progress=lambda update: stop.set(), stop=stop)
    end(child, grace=0.1)
    assert not psutil.pid_exists(child.pid) or not alive(child)
