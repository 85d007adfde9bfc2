"""Runs that died without a word (kill -9, power loss): found by their ledgers, whose owners are gone."""

from __future__ import annotations

from meshlab.ledger import Ledger, ledgers
from meshlab.settings import Machine


def orphans(machine: Machine) -> list[Ledger]:
    """Ledgers of runs whose process is gone, oldest first. What they name may still exist."""
    return [ledger for ledger in ledgers(machine) if not ledger.owner_lives()]


def forget_local(machine: Machine, cluster: str) -> list[str]:
    """Close the ledgers of dead runs whose local cluster of this name is gone now: all they made lived in it.

    Returns the ids of those runs.
    """
    forgotten = []
    for ledger in orphans(machine):
        if any(
            entry.kind == "cluster" and entry.where == "local" and entry.name == cluster
            for entry in ledger.entries()
        ):
            for entry in ledger.entries():
                ledger.gone(entry)
            if ledger.flow_run is None:  # else Prefect's run is still to be told, by the next flow
                ledger.close()
            forgotten.append(ledger.run_id)
    return forgotten
