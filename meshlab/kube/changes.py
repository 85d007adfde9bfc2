"""Changes that are undone: what was there before is in the ledger, on disk, before anything is changed.

A stage opens `Changes`, applies, patches and deletes through it, and leaves: everything is put back, newest
first. What a killed run left is put back by `restore_left`, from the ledger alone.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from itertools import groupby
from types import TracebackType
from typing import Any

from meshlab.core.errors import KubeError, MeshlabError
from meshlab.core.waiting import Clock, wait
from meshlab.kube.apply import SERVER_SET, ObjectRef, apply, delete, present
from meshlab.kube.client import Kube
from meshlab.run.journal import RunRef
from meshlab.run.ledger import Entry, Ledger

KIND = "change"  # of the ledger's entries that are written here
MANAGED_BY, MANAGER = "app.kubernetes.io/managed-by", "meshlab"
RUN_LABEL = "meshlab/run"
PUT_BACK_TIMEOUT = 20.0  # seconds for other writers' conflicts to pass


def labels_of(run: RunRef) -> dict[str, str]:
    """The labels of every object that a run makes: who made it, and in which run."""
    return {MANAGED_BY: MANAGER, RUN_LABEL: run.run_id}


class Changes:
    """The changes of one stage to a cluster.

    A context manager: leaving it puts everything back, also after a failure; it may also be kept open and restored
    later. It is safe for several threads.

    Objects must name their namespace, where their kind has one. Methods raise KubeError and WaitTimeout.
    """

    def __init__(self, kube: Kube, ledger: Ledger, run: RunRef, *, clock: Clock | None = None) -> None:
        self._kube, self._ledger, self._run, self._clock = kube, ledger, run, clock
        self._entries: list[Entry] = []
        self._lock = threading.Lock()

    def apply(self, *objects: Mapping[str, Any]) -> tuple[ObjectRef, ...]:
        """Server-side apply, labelled as ours; returns the names in the order of application.

        An object that was there comes back as it was, one that was not is removed.
        """
        for each in objects:
            ref = self._ref(each)
            self._intend(ref, {"before": _kept(present(self._kube, ref))})
        return apply(self._kube, objects, labels=labels_of(self._run), clock=self._clock)

    def delete(self, ref: ObjectRef) -> bool:
        """Delete an object and wait until it is gone; its content comes back. False when it was not there."""
        found = present(self._kube, ref)
        if found is None:
            return False
        self._intend(ref, {"before": _kept(found)})
        return bool(delete(self._kube, [ref], clock=self._clock))

    def patch(self, ref: ObjectRef, patch: Mapping[str, Any]) -> None:
        """Change fields of an object by a JSON merge patch (RFC 7396); only those fields are put back.

        Args:
            ref: The object.
            patch: The fields; null removes one.

        Raises:
            KubeError: The object is not there (status 404), or the API server refuses the patch.
        """
        found = present(self._kube, ref)
        if found is None:
            raise KubeError(f"can't change {ref}: it is not there", status=404, remedy="make it first")
        self._intend(ref, {"undo": undo_of(patch, found)})
        self._kube.patch(ref.api_version, ref.kind, ref.name, patch, ref.namespace)

    def keep(self, *refs: ObjectRef) -> None:
        """Write down objects as they are, which somebody else is about to change; they come back as they were."""
        for ref in refs:
            self._intend(ref, {"before": _kept(present(self._kube, ref))})

    def restore(self) -> tuple[ObjectRef, ...]:
        """Put everything back, newest first; returns what was put back. May be called twice.

        Every object is tried; raises KubeError naming those that failed, which a second call tries again.
        """
        with self._lock:
            entries, self._entries = self._entries, []
        try:
            return _put_back(self._kube, self._ledger, entries, self._clock)
        except MeshlabError:
            left = self._ledger.entries()
            with self._lock:
                self._entries[:0] = [entry for entry in entries if entry in left]
            raise

    def __enter__(self) -> Changes:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.restore()

    def _intend(self, ref: ObjectRef, undo: Mapping[str, Any]) -> None:
        content = {"ref": asdict(ref), "number": len(self._entries), **undo}
        entry = Entry(KIND, str(ref), self._kube.host, json.dumps(content, separators=(",", ":")))
        self._ledger.intend(entry)
        with self._lock:
            self._entries.append(entry)

    def _ref(self, document: Mapping[str, Any]) -> ObjectRef:
        api_version, kind, meta = document["apiVersion"], document["kind"], document["metadata"]
        namespaced = self._kube.resource(api_version, kind).namespaced
        if namespaced and not meta.get("namespace"):
            raise ValueError(f"{kind} {meta['name']} names no namespace")
        return ObjectRef(api_version, kind, meta["namespace"] if namespaced else None, meta["name"])


def restore_left(kube: Kube, ledger: Ledger, *, clock: Clock | None = None) -> tuple[ObjectRef, ...]:
    """Put back what a killed run left changed in this cluster, newest first.

    Entries of other clusters stay. May be called twice.

    Args:
        kube: Client of the cluster.
        ledger: Names what was changed, and how it was.
        clock: Of the wait; the real one where not given.

    Returns:
        What was put back.

    Raises:
        KubeError: Something could not be put back; its text names it.
    """
    entries = [each for each in ledger.entries() if each.kind == KIND and each.where == kube.host]
    return _put_back(kube, ledger, entries, clock)


def not_asked_to_go(kube: Kube, entries: Sequence[Entry]) -> tuple[str, ...]:
    """Name what was changed, is still there, and that nobody has asked to go.

    Args:
        kube: Client of the cluster.
        entries: Of the ledger; those that are no changes are passed over.

    Returns:
        `Kind namespace/name` of each.

    Raises:
        KubeError: The API server refuses it.
    """
    refs = dict.fromkeys(_ref_of(each) for each in entries if each.kind == KIND)
    found = {ref: kube.get(ref.api_version, ref.kind, ref.name, ref.namespace) for ref in refs}
    return tuple(
        str(ref) for ref, there in found.items() if there and "deletionTimestamp" not in there["metadata"]
    )


def undo_of(patch: Mapping[str, Any], before: Mapping[str, Any]) -> dict[str, Any]:
    """The merge patch that takes `patch` back from an object that was `before`."""
    undo: dict[str, Any] = {}
    for key, value in patch.items():
        old = before.get(key)
        if isinstance(value, Mapping) and isinstance(old, Mapping):
            undo[key] = undo_of(value, old)
        else:
            undo[key] = old
    return undo


def _put_back(
    kube: Kube, ledger: Ledger, entries: Sequence[Entry], clock: Clock | None
) -> tuple[ObjectRef, ...]:
    done: list[ObjectRef] = []
    failures: list[MeshlabError] = []
    # Objects to be removed one after the other go at once: each may take a second.
    for removal, group in groupby(reversed(entries), key=_is_removal):
        for batch in [list(group)] if removal else [[entry] for entry in group]:
            try:
                done += _remove(kube, batch, clock) if removal else _rewrite(kube, batch[0], clock)
            except MeshlabError as problem:
                failures.append(problem)
            else:
                for entry in batch:
                    ledger.gone(entry)
    if failures:
        raise KubeError(
            f"not everything could be put back: {'; '.join(each.message for each in failures)}",
            remedy="the ledger keeps what is left: the next run on this cluster tries again",
            retryable=any(each.retryable for each in failures),
        ) from failures[0]
    return tuple(done)


def _remove(kube: Kube, batch: Sequence[Entry], clock: Clock | None) -> Iterator[ObjectRef]:
    refs = [_ref_of(entry) for entry in batch]
    delete(kube, refs, clock=clock)
    yield from refs


def _rewrite(kube: Kube, entry: Entry, clock: Clock | None) -> Iterator[ObjectRef]:
    ref, content = _ref_of(entry), json.loads(entry.content)

    def attempt() -> None:
        found = present(kube, ref)
        if "undo" in content:
            if found is not None:  # else it was removed meanwhile: there is nothing to put back
                kube.patch(ref.api_version, ref.kind, ref.name, content["undo"], ref.namespace)
            return
        before = content["before"]
        if found is None:
            _create(kube, ref, before)
        elif _kept(found) != before:
            meta = {**before["metadata"], "resourceVersion": found["metadata"].get("resourceVersion")}
            kube.replace({**before, "metadata": meta}, namespace=ref.namespace)

    wait(
        f"{ref} to be put back",
        attempt,
        ready=lambda _: True,
        describe=lambda _: "put back",
        timeout=PUT_BACK_TIMEOUT,
        clock=clock,
    )
    yield ref


def _create(kube: Kube, ref: ObjectRef, before: Mapping[str, Any]) -> None:
    try:
        kube.create(before, namespace=ref.namespace)
    except KubeError as problem:
        # With its namespace gone, or its kind, there is no place left to which it could come back.
        if problem.status != 404:
            raise


def _is_removal(entry: Entry) -> bool:
    return json.loads(entry.content).get("before", "") is None


def _ref_of(entry: Entry) -> ObjectRef:
    return ObjectRef(**json.loads(entry.content)["ref"])


def _kept(found: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """An object as it can be put back: without what only the server sets."""
    if found is None:
        return None
    meta = {key: value for key, value in found["metadata"].items() if key not in SERVER_SET}
    return {**found, "metadata": meta}
