"""What a killed run left on a cluster that is not ours is taken out, by its ledger alone.

Istio itself is not: whoever let a run install it there decides whether it goes.
"""

from __future__ import annotations

from meshlab.istio import tracing
from meshlab.istio.control_plane import unlabel_namespace
from meshlab.kube.applied import KIND as OBJECT
from meshlab.kube.applied import applied
from meshlab.kube.apply import ObjectRef, delete
from meshlab.kube.changes import RUN_LABEL, restore_left
from meshlab.kube.client import Kube
from meshlab.ledger import Entry, Ledger
from meshlab.waiting import Clock


def take_out(kube: Kube, ledger: Ledger, namespace: str, *, clock: Clock | None = None) -> None:
    """Put changes back, and remove what the run applied, with a namespace that it had made. May be called twice.

    Entries of other clusters stay. Raises KubeError, WaitTimeout.
    """
    restore_left(kube, ledger, clock=clock)
    tracing.restore_left(kube, ledger)
    refs = applied(kube, ledger)
    found = kube.get("v1", "Namespace", namespace)
    if found is not None and (found["metadata"].get("labels") or {}).get(RUN_LABEL) == ledger.run_id:
        refs = (*refs, ObjectRef("v1", "Namespace", None, namespace))  # made for its Lease
    delete(kube, tuple(dict.fromkeys(refs)), clock=clock)
    for entry in ledger.entries():
        if entry.kind == "label" and entry.name == namespace:
            unlabel_namespace(kube, namespace)
        elif not (entry.kind == OBJECT and entry.where == kube.host) and not _heads(entry, ledger, kube):
            continue
        ledger.gone(entry)


def _heads(entry: Entry, ledger: Ledger, kube: Kube) -> bool:
    """Whether an entry stands for a group of objects, none of which is elsewhere."""
    elsewhere = any(each.kind == OBJECT and each.where != kube.host for each in ledger.entries())
    return entry.kind in ("app", "addon") and not elsewhere
