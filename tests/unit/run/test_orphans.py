from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from meshlab.core.environment import mark_children
from meshlab.core.process import SystemRunner, end_group
from meshlab.run.orphans import TEMPORARY_SERVER, end_servers

Start = Callable[..., int]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts a process with these words on its command line and this owner in its environment; returns its pid."""
    children = []

    def started(*words: str, owner: tuple[int, float] | None) -> int:
        environ: dict[str, str] = {}
        if owner is not None:
            mark_children(*owner, environ)
        argv = [sys.executable, "-c", "import signal; signal.pause()", *words]
        children.append(SystemRunner().spawn(argv, log_file=tmp_path / "log", env=environ))
        return children[-1].pid

    yield started
    for child in children:
        end_group(child)


def test_only_the_server_of_a_run_that_is_dead_is_ended(start: Start) -> None:
    me = psutil.Process()
    dead = (me.pid, me.create_time() - 3600)  # the pid is another's by now
    of_a_living_run = start(TEMPORARY_SERVER, owner=(me.pid, me.create_time()))
    somebody_s_own = start(TEMPORARY_SERVER, owner=None)
    a_component = start("kubelet", owner=dead)
    left = start(TEMPORARY_SERVER, owner=dead)
    ended = end_servers()
    assert left in ended
    assert not {of_a_living_run, somebody_s_own, a_component} & set(ended)
    assert psutil.Process(of_a_living_run).status() != psutil.STATUS_ZOMBIE
    assert left not in end_servers()
