"""Causes put to the test: the same reading of a mesh explained without its history, and beside newer changes that do no harm.

An explanation that rests on what an object does names the same object each time. `sabotage` asks so of every fault.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from meshlab.causes.explain import Cause, explain
from meshlab.causes.objects import Found
from meshlab.causes.snapshot import Baseline

WITHOUT_HISTORY, BESIDE_NEWER = "without history", "beside newer changes"
TOUCHED = "details"  # a Service of the application: its newest change is a note that nothing reads
NOTE = {"meshlab/note": "harmless"}


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
        three: a Service with a note, a DestinationRule with a pool that is never full, a policy against a page that
        nobody asks for.
    """
    forgotten = [replace(each, changed="") for each in objects]
    beside = [*newer(objects, namespace, now)]
    return {
        WITHOUT_HISTORY: explain(checks, forgotten, namespace=namespace, root=root),
        BESIDE_NEWER: explain(checks, beside, namespace=namespace, root=root, green=green),
    }


def newer(objects: Iterable[Found], namespace: str, now: str) -> Iterable[Found]:
    """Change a mesh's configuration in three places that do no harm.

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
    pool = {"host": "ratings", "trafficPolicy": {"connectionPool": {"tcp": {"maxConnections": 10_000}}}}
    yield Found("DestinationRule", namespace, "harmless-pool", pool, changed=changed)
    denied = {
        "selector": {"matchLabels": {"app": "productpage"}},
        "action": "DENY",
        "rules": [{"to": [{"operation": {"paths": ["/nobody-asks-for-this"]}}]}],
    }
    yield Found("AuthorizationPolicy", namespace, "harmless-denial", denied, changed=changed)
