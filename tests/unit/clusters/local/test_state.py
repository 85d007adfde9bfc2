from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from meshlab.clusters.local.state import Record, State
from meshlab.core.errors import ClusterBusyError
from tests.unit.clusters.local.cluster_fixtures import layout_in

RECORD = Record("key", 3, "10.250", ("unit-hub", "unit-node1"), "unit-h0", "meshlab-unit")


@pytest.fixture
def state(tmp_path: Path) -> State:
    return State(layout_in(tmp_path))


def _ended_process() -> int:
    child = subprocess.Popen(["true"])
    child.wait()
    return child.pid


def test_a_record_survives_the_file(state: State) -> None:
    assert state.record() is None
    state.write(RECORD)
    assert state.record() == RECORD
    state.note_started(4.5)
    found = state.record()
    assert found is not None and found.started_seconds == 4.5 and found.namespaces == RECORD.namespaces


def test_the_last_of_several_clusters_removes_what_the_first_had_to_make(tmp_path: Path) -> None:
    first, second = (State(layout_in(tmp_path, name=name)) for name in ("one", "two"))
    assert not second.neighbour_made_netns_dir()
    first.write(replace(RECORD, made_netns_dir=True))
    assert second.neighbour_made_netns_dir()


def test_another_living_run_is_named(state: State) -> None:
    state.claim("run-1")
    other = State(state.layout)
    with pytest.raises(ClusterBusyError, match=rf"run-1 \(process {os.getpid()}\)") as caught:
        other.claim("run-2")
    assert "local.name" in caught.value.remedy
    assert state.claimed_by() == ("run-1", os.getpid())


def test_the_same_run_may_claim_again_and_keeps_its_holder(state: State) -> None:
    parent = os.getppid()
    state.claim("run-1", parent)
    state.claim("run-1")
    assert state.claimed_by() == ("run-1", parent)


def test_a_dead_holder_is_taken_over(state: State) -> None:
    state.claim("run-1")
    claim = state.layout.root.with_name("unit.claim.json")
    claim.write_text(json.dumps({"run_id": "run-1", "pid": _ended_process(), "process_started": 1.0}))
    assert state.claimed_by() is None
    state.claim("run-2")
    assert state.claimed_by() == ("run-2", os.getpid())


def test_a_recycled_process_id_is_not_mistaken_for_the_holder(state: State) -> None:
    state.claim("run-1")
    claim = state.layout.root.with_name("unit.claim.json")
    earlier = psutil.Process().create_time() - 3600
    claim.write_text(json.dumps({"run_id": "run-1", "pid": os.getpid(), "process_started": earlier}))
    assert state.claimed_by() is None


def test_only_the_holder_releases(state: State) -> None:
    state.claim("run-1")
    state.release("run-2")
    assert state.claimed_by() is not None
    state.release("run-1")
    state.release("run-1")
    assert state.claimed_by() is None


def test_the_lock_names_its_holder_and_dies_with_it(state: State) -> None:
    script = (
        "import sys\nfrom pathlib import Path\n"
        "from meshlab.clusters.local.layout import Layout\nfrom meshlab.clusters.local.state import State\n"
        "with State(Layout('unit', Path(sys.argv[1]), '10.250', 3)).locked(timeout=5):\n"
        "    print('held', flush=True)\n    sys.stdin.read()\n"
    )
    holder = subprocess.Popen(
        [sys.executable, "-c", script, state.layout.root],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert holder.stdout is not None and holder.stdout.readline() == "held\n"
    with pytest.raises(ClusterBusyError, match=f"process {holder.pid}"), state.locked(timeout=0.05):
        raise AssertionError("the lock was held")
    holder.kill()
    holder.communicate()
    with state.locked(timeout=5):
        assert state.layout.root.with_name("unit.lock").read_text() == str(os.getpid())
