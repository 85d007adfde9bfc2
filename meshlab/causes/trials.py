"""Causes put to the test: the same reading of a mesh explained without its history, and beside newer changes that do no harm.

An explanation that rests on what an object does names the same object each time. `sabotage` asks so of every fault. The
newer changes are put into what was read of the mesh, and never applied: how they are ranked is tried, not what they do.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from meshlab.causes.effects import service_of
from meshlab.causes.explain import Cause, explain
from meshlab.causes.objects import Found
from meshlab.causes.snapshot import Baseline

WITHOUT_HISTORY, BESIDE_NEWER = "without history", "beside newer changes"
TOUCHED = "details"  # a Service of the application: its newest change is a note that nothing reads
NOTE = {"meshlab/note": "harmless"}
ROUTABLE = ("reviews", "ratings", "details")


def tried(
    checks: Sequence[Mapping[str, Any]],
    objects: Sequence[Found],
    *,
    namespace: str,
    root: str,
    green: Baseline | None,
    now: str,
) -> dict[str, tuple[Cause, ...]]:
    """Explain red checks once more, in each of two ways.

    Args:
        checks: Checks as `result.json` holds them.
        objects: The mesh's configuration.
        namespace: The app's.
        root: The mesh's root namespace.
        green: The configuration of the last green run, where one is known.
        now: The time, as Kubernetes writes it: that of the newer changes.

    Returns:
        Way → causes. Without history nobody knows who changed what and when, nor what the last green run saw. Newer are
        four: a Service with a note, a VirtualService that asks again where a request failed, a DestinationRule with a pool
        that is never full and an ejection after many errors, a policy against a page that nobody asks for.
    """
    forgotten = [replace(each, changed="") for each in objects]
    beside = [*newer(objects, namespace, now)]
    return {
        WITHOUT_HISTORY: explain(checks, forgotten, namespace=namespace, root=root),
        BESIDE_NEWER: explain(checks, beside, namespace=namespace, root=root, green=green),
    }


def newer(objects: Sequence[Found], namespace: str, now: str) -> Iterable[Found]:
    """Change a mesh's configuration, as it was read, in four places that do no harm.

    Args:
        objects: The configuration.
        namespace: The app's.
        now: When they were changed.

    Yields:
        The configuration with them.
    """
    changed = f"changed {now} by kubectl-edit"
    for each in objects:
        touched = (each.kind, each.namespace, each.name) == ("Service", namespace, TOUCHED)
        yield replace(each, changed=changed, annotations={**each.annotations, **NOTE}) if touched else each
    host = _unrouted(objects)
    retries = {
        "attempts": 3,
        "perTryTimeout": "2s",
        "retryOn": "gateway-error,connect-failure,refused-stream",
    }
    again = {"hosts": [host], "http": [{"route": [{"destination": {"host": host}}], "retries": retries}]}
    yield Found("VirtualService", namespace, "harmless-retries", again, changed=changed)
    policy = {
        "connectionPool": {"tcp": {"maxConnections": 10_000}, "http": {"http1MaxPendingRequests": 10_000}},
        "outlierDetection": {"consecutive5xxErrors": 50},
    }
    lax = {"host": "productpage", "trafficPolicy": policy}
    yield Found("DestinationRule", namespace, "harmless-limits", lax, changed=changed)
    denied = {
        "selector": {"matchLabels": {"app": "productpage"}},
        "action": "DENY",
        "rules": [{"to": [{"operation": {"paths": ["/nobody-asks-for-this"]}}]}],
    }
    yield Found("AuthorizationPolicy", namespace, "harmless-denial", denied, changed=changed)


def _unrouted(objects: Iterable[Found]) -> str:
    """A service for which the mesh has no VirtualService: of two for one host only the older one counts."""
    routed = {
        service_of(str(host))
        for each in objects
        if each.kind == "VirtualService"
        for host in each.spec.get("hosts") or ()
    }
    return next((host for host in ROUTABLE if host not in routed), ROUTABLE[-1])
