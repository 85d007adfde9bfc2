"""Signals reach a main thread at any moment, also at the one in which it holds the lock of what it waits on."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest

from meshlab.core.errors import Interrupted
from meshlab.core.signals import ENDING, answer_signals, signals_raise, signals_set, signals_wait
from meshlab.core.waiting import wait

STORM = 20_000  # signals; an Event set by the handler waited for itself after some hundred
LISTENS = """
import signal
from meshlab.clusters.local.supervisor import asked_to_stop
from meshlab.core.signals import signals_queue
signals = signals_queue(signal.SIGTERM, signal.SIGCHLD)
print("ready", flush=True)
while not asked_to_stop(signals, 0.0001):
    pass
"""


@pytest.fixture(autouse=True)
def handlers() -> Iterator[None]:
    """The handlers of this process are put back, and nothing is left to be answered."""
    before = {signum: signal.getsignal(signum) for signum in ENDING}
    yield
    answer_signals()
    for signum, handler in before.items():
        signal.signal(signum, handler)


def test_a_storm_of_ended_children_does_not_hide_the_signal_to_stop() -> None:
    with subprocess.Popen([sys.executable, "-c", LISTENS], stdout=subprocess.PIPE, text=True) as listening:
        assert listening.stdout is not None and listening.stdout.readline() == "ready\n"
        for _ in range(STORM):
            os.kill(listening.pid, signal.SIGCHLD)
        listening.terminate()
        try:
            assert listening.wait(timeout=20) == 0
        finally:
            listening.kill()


def test_a_signal_sets_the_event_of_those_who_wait() -> None:
    stop = threading.Event()
    received = signals_set(stop)
    assert not stop.is_set()
    os.kill(os.getpid(), signal.SIGTERM)
    wait("the event", stop.is_set, ready=bool, timeout=10, delay=0.01)
    assert received == [signal.SIGTERM]


def test_signals_are_raised_even_where_a_shell_had_them_ignored() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signals_raise()
    with pytest.raises(Interrupted) as caught:
        signal.raise_signal(signal.SIGINT)
    assert caught.value.signum == signal.SIGINT


def test_a_teardown_is_not_ended_by_a_signal_but_answers_it() -> None:
    said: list[str] = []
    signals_raise()
    with signals_wait(said.append):
        signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGINT)
    assert [line.split(":")[0] for line in said] == ["signal 15", "signal 2"]
    with pytest.raises(Interrupted):
        signal.raise_signal(signal.SIGTERM)


def test_a_teardown_off_the_main_thread_goes_without_signals() -> None:
    done: list[bool] = []

    def teardown() -> None:
        with signals_wait():
            done.append(True)

    thread = threading.Thread(target=teardown)
    thread.start()
    thread.join()
    assert done == [True]
