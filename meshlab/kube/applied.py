"""What a run applies on a cluster that stays, object by object in its ledger before it is applied.

A step that is cut off returns nothing; what it had applied by then is removed by what the ledger names.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict

from meshlab.kube.apply import ObjectRef, noting
from meshlab.kube.client import Kube
from meshlab.run.ledger import Entry, Ledger

KIND = "object"  # of the ledger's entries that are written here


@contextmanager
def applying(kube: Kube, ledger: Ledger) -> Iterator[None]:
    """Write down every object that is applied in this block.

    Args:
        kube: Client of the cluster.
        ledger: Where it is written down.
    """
    with noting(lambda ref: note(kube, ledger, ref)):
        yield


def note(kube: Kube, ledger: Ledger, ref: ObjectRef) -> None:
    """Write down that an object is about to be made.

    Args:
        kube: Client of the cluster.
        ledger: Where it is written down.
        ref: The object.
    """
    ledger.intend(Entry(KIND, str(ref), kube.host, json.dumps(asdict(ref), separators=(",", ":"))))


def applied(kube: Kube, ledger: Ledger) -> tuple[ObjectRef, ...]:
    """List what the ledger names of this cluster.

    Args:
        kube: Client of the cluster.
        ledger: What the run made, written down first.

    Returns:
        The objects, in the order of application.
    """
    entries = (each for each in ledger.entries() if each.kind == KIND and each.where == kube.host)
    return tuple(ObjectRef(**json.loads(each.content)) for each in entries)
