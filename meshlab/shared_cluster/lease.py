"""One run per cluster that is not ours: a Lease says who holds it, is renewed while the run lives, and expires with it.

The Lease stands in the app's namespace; a run that may change the whole mesh holds a second one in kube-system.
Model: leader election of Kubernetes' client-go. As there, nobody's clock is trusted: a Lease is only taken over after
it was seen not to be renewed.
"""

from __future__ import annotations

import getpass
import logging
import socket
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from meshlab.config.settings import LabConfig
from meshlab.core.errors import ClusterBusyError, KubeError, WaitTimeout
from meshlab.core.waiting import Clock, SystemClock, wait
from meshlab.kube.changes import MANAGED_BY, MANAGER, RUN_LABEL
from meshlab.kube.client import Kube

API, KIND, NAME = "coordination.k8s.io/v1", "Lease", "meshlab-run"
SHARED = "kube-system"
DURATION = 45  # seconds without a renewal after which a Lease counts no longer
RENEW_EVERY = 10.0  # seconds
OBSERVED = 1.5 * RENEW_EVERY  # seconds that an expired Lease is watched before it is taken
GONE_WITHIN = 60  # seconds that the end of a run before is waited for: its namespace may still be going
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Holder:
    """Who holds a cluster: the run, and the person and machine it was started by, on. since: as the Lease says it."""

    run_id: str
    owner: str
    since: str

    def __str__(self) -> str:
        return f"run {self.run_id} of {self.owner}, since {self.since}"


class ClusterHold:
    """The Leases of one run. `acquire`, then `release`; between them a thread renews.

    demanded: labels that the cluster demands of everybody's objects (`app.labels`).
    """

    def __init__(
        self,
        kube: Kube,
        run_id: str,
        places: Sequence[str],
        *,
        demanded: Mapping[str, str] | None = None,
        clock: Clock | None = None,
    ) -> None:
        self._kube, self._run_id, self._places = kube, run_id, tuple(places)
        self._demanded = dict(demanded or {})
        self._clock = clock or SystemClock()
        self._identity = f"{run_id} {_owner()}"
        self._held: list[str] = []
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def acquire(self) -> None:
        """Take every Lease, or none. Raises ClusterBusyError naming who holds it, KubeError.

        Each thing is noted before it is made, so that `release` finds it when a signal comes in between.
        """
        try:
            for place in self._places:
                self._ensure_namespace(place)
                self._held.append(place)
                self._take(place)
        except BaseException:  # a signal, too
            self.release()
            raise
        self._thread = threading.Thread(target=self._renew_on, name="cluster-lease", daemon=True)
        self._thread.start()

    def release(self) -> None:
        """Stop renewing, and delete the Leases that this run still holds.

        A namespace that was made for one goes with it when nothing else is in it. May be called twice, and never
        raises: a Lease that stays expires.
        """
        self._stop.set()
        if self._thread is not None:
            self._thread.join(timeout=RENEW_EVERY)
            self._thread = None
        held, self._held = self._held, []
        for place in held:
            try:
                found = self._lease(place)
                if found is not None and _identity(found) == self._identity:
                    # It owns nothing. In the foreground it would stay until the garbage collector came by, and
                    # its namespace would look used.
                    self._kube.delete(API, KIND, NAME, place, foreground=False)
            except KubeError as problem:
                log.warning("the Lease in %s was left to expire: %s", place, problem.message)
        self._remove_namespace()

    def renew(self) -> None:
        """Renew every Lease that is still ours; one that is gone (with its namespace, at the teardown) is let go.

        Raises ClusterBusyError for one that another run has taken, KubeError.
        """
        for place in list(self._held):
            found = self._lease(place)
            if found is None:
                self._held.remove(place)
                continue
            if _identity(found) != self._identity:
                raise ClusterBusyError(
                    f"the Lease {place}/{NAME} was taken from this run: {_holder(found)} holds it",
                    remedy="two runs may have changed the cluster; take both down and run one",
                )
            found["spec"]["renewTime"] = _now()
            self._kube.replace(found, namespace=place)

    def _take(self, place: str) -> None:
        spec: dict[str, Any] = {"holderIdentity": self._identity, "leaseDurationSeconds": DURATION}
        spec |= {"acquireTime": _now(), "renewTime": _now()}
        meta: dict[str, Any] = {"name": NAME, "namespace": place, "labels": self._labels()}
        lease = {"apiVersion": API, "kind": KIND, "metadata": meta, "spec": spec}
        found = self._lease(place)
        try:
            if found is None:
                self._kube.create(lease, namespace=place)
                return
            if _identity(found) != self._identity and not self._abandoned(found, place):
                raise _busy(found, place)
            spec["leaseTransitions"] = int(found["spec"].get("leaseTransitions") or 0) + 1
            # Its version goes along, so of two that take it over at once one is refused.
            lease["metadata"] = {**found["metadata"], "labels": self._labels()}
            self._kube.replace(lease, namespace=place)
        except KubeError as problem:
            if problem.status != 409:
                raise
            raise _busy(self._lease(place), place) from problem

    def _abandoned(self, found: dict[str, Any], place: str) -> bool:
        """Whether nobody renews it: past its time, and not renewed while it is watched."""
        spec = found["spec"]
        renewed = spec.get("renewTime")
        if renewed:
            age = (datetime.now(UTC) - datetime.fromisoformat(renewed)).total_seconds()
            if age < float(spec.get("leaseDurationSeconds") or DURATION):
                return False
            self._clock.sleep(OBSERVED)
            again = self._lease(place)
            return again is None or again["spec"].get("renewTime") == renewed
        return True

    def _renew_on(self) -> None:
        while not self._stop.wait(RENEW_EVERY):
            try:
                self.renew()
            except KubeError as problem:
                log.warning(
                    "the cluster's Lease could not be renewed, which is tried again: %s", problem.message
                )
            except ClusterBusyError as problem:
                log.error("%s", problem.message)
                return

    def _ensure_namespace(self, name: str) -> None:
        found = self._kube.get("v1", "Namespace", name)
        if found is not None and "deletionTimestamp" in found["metadata"]:
            found = self._wait_gone(name)
        if found is None:
            meta = {"name": name, "labels": self._labels()}
            self._kube.create({"apiVersion": "v1", "kind": "Namespace", "metadata": meta})

    def _wait_gone(self, name: str) -> dict[str, Any] | None:
        """Wait for the end of a namespace that is being deleted. Raises ClusterBusyError where it stays, KubeError."""
        try:
            return wait(
                f"the namespace {name}, which is being deleted, to be gone",
                lambda: self._kube.get("v1", "Namespace", name),
                ready=lambda state: state is None or "deletionTimestamp" not in state["metadata"],
                timeout=GONE_WITHIN,
                describe=lambda state: "gone" if state is None else str(state.get("status", {}).get("phase")),
                clock=self._clock,
            )
        except WaitTimeout as problem:
            remedy = f"look what keeps it: kubectl get namespace {name} -o yaml"
            raise ClusterBusyError(problem.message, remedy=remedy) from problem

    def _remove_namespace(self) -> None:
        """Unless the run has used it, or another has: one that is labelled as this run's own it removes itself."""
        for name in self._places:
            try:
                mine = made_by(self._kube.get("v1", "Namespace", name), self._run_id)
                if mine and not self._kube.objects("v1", "Pod", name) and not self._leases_of_others(name):
                    self._kube.delete("v1", "Namespace", name)
            except KubeError as problem:
                log.warning("the namespace %s was left: %s", name, problem.message)

    def _leases_of_others(self, place: str) -> list[dict[str, Any]]:
        return [each for each in self._kube.objects(API, KIND, place) if _identity(each) != self._identity]

    def _lease(self, place: str) -> dict[str, Any] | None:
        return self._kube.get(API, KIND, NAME, place)

    def _labels(self) -> dict[str, str]:
        return {**self._demanded, MANAGED_BY: MANAGER, RUN_LABEL: self._run_id}


def places(config: LabConfig) -> tuple[str, ...]:
    """The namespaces whose Lease a run must hold."""
    return (SHARED, config.namespace) if config.scope == "mesh" else (config.namespace,)


def holder(kube: Kube, place: str) -> str:
    """The run whose Lease stands in a namespace; "" where none stands there. Raises KubeError."""
    found = kube.get(API, KIND, NAME, place)
    return "" if found is None else _holder(found).run_id


def made_by(thing: Mapping[str, Any] | None, run_id: str) -> bool:
    """Tell whether an object carries the label of a run, which made it.

    Args:
        thing: The object; None where there is none.
        run_id: The run.

    Returns:
        True where it does.
    """
    return thing is not None and (thing["metadata"].get("labels") or {}).get(RUN_LABEL) == run_id


def _busy(found: dict[str, Any] | None, place: str) -> ClusterBusyError:
    who = str(_holder(found)) if found else "another run, which took it at the same moment"
    return ClusterBusyError(
        f"another run holds this cluster: {who} (Lease {place}/{NAME})",
        remedy=f"wait for its end; if it was killed, its Lease expires {DURATION} s after its last renewal",
    )


def _holder(found: dict[str, Any]) -> Holder:
    run_id, _, owner = _identity(found).partition(" ")
    return Holder(run_id, owner or "unknown", str(found["spec"].get("acquireTime") or "?")[:19])


def _identity(found: dict[str, Any]) -> str:
    return str((found.get("spec") or {}).get("holderIdentity") or "")


def _owner() -> str:
    try:
        user = getpass.getuser()
    except (OSError, KeyError):
        user = "unknown"
    return f"{user}@{socket.gethostname()}"


def _now() -> str:
    """MicroTime, as the API wants it."""
    return datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
