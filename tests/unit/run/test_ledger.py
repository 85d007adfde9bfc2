import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import psutil
import pytest

from meshlab.config.settings import Machine
from meshlab.core.errors import MeshlabError
from meshlab.run.journal import RunRef, create
from meshlab.run.ledger import Entry, Ledger, ledgers

CLUSTER = Entry("cluster", "meshlab", "local")
ISTIO = Entry("istio", "istio-system")


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine.here({"HOME": str(tmp_path / "home")})


@pytest.fixture
def run(tmp_path: Path) -> RunRef:
    return create(tmp_path / "runs", "full-lab")


def test_what_is_intended_is_on_disk_before_the_call_returns(machine: Machine, run: RunRef) -> None:
    ledger = Ledger.open(machine, run)
    ledger.intend(CLUSTER)
    content = json.loads(ledger.path.read_text())
    assert content["entries"] == [{"kind": "cluster", "name": "meshlab", "where": "local"}]
    assert (content["run_id"], content["directory"], content["pid"]) == (
        run.run_id,
        str(run.directory),
        os.getpid(),
    )
    assert run.directory not in ledger.path.parents
    assert ledger.path.stat().st_mode & 0o777 == 0o600


def test_entries_come_once_and_go_when_they_are_gone(machine: Machine, run: RunRef) -> None:
    ledger = Ledger.open(machine, run)
    for entry in (CLUSTER, ISTIO, CLUSTER):
        ledger.intend(entry)
    assert ledger.entries() == (CLUSTER, ISTIO)
    ledger.gone(CLUSTER)
    ledger.gone(CLUSTER)
    assert ledger.entries() == (ISTIO,)


def test_a_second_opening_finds_what_the_first_wrote(machine: Machine, run: RunRef) -> None:
    Ledger.open(machine, run).intend(CLUSTER)
    assert Ledger.open(machine, run).entries() == (CLUSTER,)
    assert [ledger.entries() for ledger in ledgers(machine)] == [(CLUSTER,)]


def test_only_an_empty_ledger_is_closed(machine: Machine, run: RunRef) -> None:
    ledger = Ledger.open(machine, run)
    ledger.intend(CLUSTER)
    assert not ledger.close()
    ledger.gone(CLUSTER)
    assert ledger.close()
    assert ledger.close()  # twice is fine
    assert list(ledgers(machine)) == []


def test_steps_side_by_side_lose_no_entry(machine: Machine, run: RunRef) -> None:
    ledger = Ledger.open(machine, run)
    wanted = [Entry("namespace", f"n{number}") for number in range(8)]
    threads = [threading.Thread(target=ledger.intend, args=(entry,)) for entry in wanted]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(ledger.entries(), key=lambda entry: entry.name) == wanted


def test_ledgers_come_oldest_first(machine: Machine, tmp_path: Path) -> None:
    for run_id in ("20260203t000000z-0000", "20260103t000000z-ffff"):
        Ledger.open(machine, create(tmp_path, "full-lab", run_id=run_id)).intend(CLUSTER)
    assert [ledger.path.stem for ledger in ledgers(machine)] == [
        "20260103t000000z-ffff",
        "20260203t000000z-0000",
    ]


def test_a_state_folder_that_can_not_be_written_comes_with_a_remedy(run: RunRef, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    machine = Machine.here({"HOME": "/", "XDG_STATE_HOME": str(tmp_path / "file")})
    with pytest.raises(MeshlabError, match="can't be written: Not a directory") as caught:
        Ledger.open(machine, run)
    assert "XDG_STATE_HOME" in caught.value.remedy


def owned_by(ledger: Ledger, pid: int, began: float) -> Ledger:
    content = json.loads(ledger.path.read_text())
    ledger.path.write_text(json.dumps({**content, "pid": pid, "process_started": began}))
    return ledger


def test_the_owner_lives_as_long_as_its_own_process(machine: Machine, run: RunRef) -> None:
    ledger = Ledger.open(machine, run)
    assert ledger.owner_lives()
    me = psutil.Process()
    assert not owned_by(ledger, me.pid, me.create_time() - 600).owner_lives()  # the pid is another's now
    with subprocess.Popen([sys.executable, "-c", ""]) as child:
        began = psutil.Process(child.pid).create_time()
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
        assert not owned_by(ledger, child.pid, began).owner_lives()  # killed, and not reaped yet
    assert not owned_by(ledger, child.pid, began).owner_lives()
