"""Signals reach a main thread at any moment, also at the one in which it holds the lock of what it waits on."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading

from meshlab.core.signals import ENDING, signals_set
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
    before = {signum: signal.getsignal(signum) for signum in ENDING}
    stop = threading.Event()
    try:
        received = signals_set(stop)
        assert not stop.is_set()
        os.kill(os.getpid(), signal.SIGTERM)
        wait("the event", stop.is_set, ready=bool, timeout=10, delay=0.01)
        assert received == [signal.SIGTERM]
    finally:
        for signum, handler in before.items():
            signal.signal(signum, handler)
