"""What a killed run left on a cluster that is not ours is taken out, by its ledger alone.

Istio itself is not: whoever let a run install it there decides whether it goes.
"""

from __future__ import annotations

import logging

from meshlab.core.waiting import Clock
from meshlab.istio import tracing
from meshlab.istio.control_plane import unlabel_namespace
from meshlab.kube.applied import KIND as OBJECT
from meshlab.kube.applied import applied
from meshlab.kube.apply import ObjectRef, delete
from meshlab.kube.changes import RUN_LABEL, restore_left
from meshlab.kube.client import Kube
from meshlab.run.ledger import Entry, Ledger
from meshlab.shared_cluster.lease import holder, made_by

log = logging.getLogger(__name__)


def left_here(kube: Kube, ledger: Ledger) -> bool:
    """Tell whether a ledger names something in this cluster that `take_out` removes.

    Args:
        kube: Client of the cluster.
        ledger: Of a run.

    Returns:
        True where it does.
    """
    return any(each.kind in (OBJECT, tracing.NOTED) and each.where == kube.host for each in ledger.entries())


def take_out(
    kube: Kube, ledger: Ledger, namespace: str, *, adopting_run: str = "", clock: Clock | None = None
) -> tuple[ObjectRef, ...]:
    """Put changes back, and remove what the run applied, with a namespace that it had made.

    May be called twice. Entries of other clusters stay, and everything while another run works in one of
    the namespaces, by its Lease.

    Args:
        kube: Client of the cluster.
        ledger: Of the run.
        namespace: Of the application.
        adopting_run: A run that works in `namespace` now; the namespace stays for it, and becomes its own.
        clock: Of the wait; the real one where not given.

    Returns:
        What was removed.

    Raises:
        KubeError: The API server refuses it.
        WaitTimeout: Something does not go.
    """
    home = ObjectRef("v1", "Namespace", None, namespace)
    refs = applied(kube, ledger)
    places = {
        namespace,
        *(ref.namespace or ref.name for ref in refs if ref.namespace or ref.kind == "Namespace"),
    }
    busy = [each for each in sorted(places) if holder(kube, each) not in ("", adopting_run, ledger.run_id)]
    if busy:
        log.warning("what run %s left stays: another run works in %s", ledger.run_id, ", ".join(busy))
        return ()
    restore_left(kube, ledger, clock=clock)
    tracing.restore_left(kube, ledger)
    found = kube.get("v1", "Namespace", namespace)
    if made_by(found, ledger.run_id):
        refs = (*refs, home)  # made for its Lease
    if adopting_run and home in refs and found is not None:
        kube.patch("v1", "Namespace", namespace, {"metadata": {"labels": {RUN_LABEL: adopting_run}}})
    removed = delete(
        kube, [ref for ref in dict.fromkeys(refs) if not (adopting_run and ref == home)], clock=clock
    )
    for entry in ledger.entries():
        if entry.kind == "label" and entry.name == namespace:
            unlabel_namespace(kube, namespace)
        elif not (entry.kind == OBJECT and entry.where == kube.host) and not _heads(entry, ledger, kube):
            continue
        ledger.gone(entry)
    return removed


def _heads(entry: Entry, ledger: Ledger, kube: Kube) -> bool:
    """Whether an entry stands for a group of objects, none of which is elsewhere."""
    elsewhere = any(each.kind == OBJECT and each.where != kube.host for each in ledger.entries())
    return entry.kind in ("app", "addon") and not elsewhere
