"""Runs that died without a word (kill -9, power loss): found by their ledgers, whose owners are gone."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import suppress

import psutil

from meshlab.config.settings import Machine
from meshlab.core.environment import owner_in
from meshlab.core.process import end_process, lives
from meshlab.run.ledger import Entry, Ledger, ledgers

log = logging.getLogger(__name__)
# How Prefect runs the temporary server of a process that has no server configured (prefect.server.api.server).
TEMPORARY_SERVER = "prefect.server.api.server:create_app"


def orphans(machine: Machine) -> list[Ledger]:
    """Ledgers of runs whose process is gone, oldest first. What they name may still exist."""
    return [ledger for ledger in ledgers(machine) if not ledger.owner_lives()]


def forget(machine: Machine, cluster: Entry) -> list[str]:
    """Close the ledgers of dead runs whose cluster is gone now: all they made lived in it.

    Args:
        machine: This machine: its folders and what it has.
        cluster: The cluster's line in those ledgers.

    Returns:
        The ids of those runs.
    """
    forgotten = []
    for ledger in orphans(machine):
        if cluster in ledger.entries():
            for entry in ledger.entries():
                ledger.gone(entry)
            if ledger.flow_run is None:  # else Prefect's run is still to be told, by the next flow
                ledger.close()
            forgotten.append(ledger.run_id)
    return forgotten


def end_servers() -> list[int]:
    """End the temporary Prefect servers of runs that were killed; returns their pids.

    Prefect ends the server that it started when its process exits, which kill -9 prevents. The server is known
    by its command line, and by the owner that its environment names (see `environment.mark_children`).
    """
    return [
        process.pid for process in _left_servers() if end_process(process.pid, process.create_time(), 5.0)
    ]


def _left_servers() -> Iterator[psutil.Process]:
    for process in psutil.process_iter(["cmdline"]):
        if TEMPORARY_SERVER not in (process.info["cmdline"] or ()):
            continue
        with suppress(psutil.NoSuchProcess, psutil.AccessDenied):  # ended meanwhile, or somebody else's
            owner = owner_in(process.environ())
            if owner is not None and not lives(*owner):
                log.info("process %s is the Prefect server of a run that was killed", process.pid)
                yield process
