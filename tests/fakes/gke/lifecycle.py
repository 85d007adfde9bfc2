"""A run on GKE with its cheap parts faked, in a process of its own that ends itself by SIGKILL at one boundary.

Ledger, labels, API calls, kubeconfig and teardown are the product's own; Istio and the application are a Service of
type LoadBalancer inside the emulated cluster. Boundaries are the begin and end of each step, and each call that makes or
removes something, before it is sent and after its answer.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import requests
from google.cloud.container_v1.types import Cluster, Operation

from meshlab.clusters.gke import access
from meshlab.clusters.gke.api import Backoff, GkeApi, Rest
from meshlab.clusters.gke.cluster import GkeCluster, Seams
from meshlab.clusters.gke.names import Place
from meshlab.clusters.provider import forget_cluster
from meshlab.config.settings import GkeSettings, Machine
from meshlab.core.errors import KubeError
from meshlab.run.journal import create, listening, step
from meshlab.run.ledger import Ledger

UID = "123e4567-e89b-12d3-a456-426614174000"
QUICK = Backoff(first=0.01, longest=0.05, deadline=60.0)
Boundary = Callable[[str], None]


class RemoteKube:
    """Stands in for meshlab.kube.client.Kube: one Service, which lives in the emulator's books."""

    def __init__(self, settings: GkeSettings, boundary: Boundary = lambda name: None) -> None:
        self._url = f"http://{access.rest_endpoint(settings)}"
        self._path = Place(settings.project or "", settings.zone, settings.name).path
        self._boundary = boundary

    def server_version(self) -> str:
        if self._path not in requests.get(f"{self._url}/books", timeout=5).json()["left"].get("clusters", []):
            raise KubeError("can't ask: no answer from the API server")
        return "v1.34.1"

    def add(self, space: str, name: str) -> None:
        self._tell(wanted=True, path=self._path, uid=UID, name=f"{space}/{name}")

    def objects(self, api_version: str, kind: str) -> list[dict[str, Any]]:
        self.server_version()
        services = (
            requests.get(f"{self._url}/services", timeout=5).json()["services"] if kind == "Service" else {}
        )
        return [
            {
                "metadata": {
                    "uid": uid,
                    "namespace": each["name"].split("/")[0],
                    "name": each["name"].split("/")[1],
                },
                "spec": {"type": "LoadBalancer"},
                "status": {"loadBalancer": {"ingress": [{"ip": each["address"]}]}},
            }
            for uid, each in services.items()
        ]

    def delete(
        self, api_version: str, kind: str, name: str, namespace: str, *, foreground: bool = True
    ) -> bool:
        assert (kind, name) == ("Service", "istio-ingressgateway")
        self._boundary("before the Service's deletion")
        self._tell(wanted=False, uid=UID)
        self._boundary("after the Service's deletion")
        return True

    def _tell(self, **what: object) -> None:
        requests.post(f"{self._url}/services", json=what, timeout=5).raise_for_status()


class KillableApi(GkeApi):
    """The product's API with a boundary before and after each call that changes something."""

    boundary: Boundary

    def create(self, cluster: Cluster) -> Operation:
        self.boundary("before CreateCluster")
        answer = super().create(cluster)
        self.boundary("after CreateCluster")
        return answer

    def delete(self) -> Operation | None:
        self.boundary("before DeleteCluster")
        answer = super().delete()
        self.boundary("after DeleteCluster")
        return answer

    def operation(self, name: str) -> Operation | None:
        answer = super().operation(name)
        self.boundary("during an operation")
        return answer


def seams(settings: GkeSettings, boundary: Boundary = lambda name: None) -> Seams:
    """The emulator's API and REST, the cluster's inside from its books."""

    def api() -> GkeApi:
        client, renew = access.connect(settings)
        place = Place(settings.project or "", settings.zone, settings.name)
        made = KillableApi(client, place, QUICK, renew)
        made.boundary = boundary
        return made

    return Seams(
        api=api,
        rest=lambda: Rest(*access.session(settings), settings.project or "", QUICK),
        connect=lambda path, context: RemoteKube(settings, boundary),  # type: ignore[arg-type,return-value]
    )


def live(
    settings: Mapping[str, Any], home: str, run_id: str, kill_at: int, report: str | None = None
) -> None:
    """A whole run; at boundary number `kill_at` (from 1) the process is gone. report: gets the boundaries' names."""
    names: list[str] = []

    def boundary(name: str) -> None:
        if name == "during an operation" and names and names[-1] == name:
            return  # how often an operation is looked at depends on the machine
        names.append(name)
        if len(names) == kill_at:
            os.kill(os.getpid(), signal.SIGKILL)

    def on_event(event: Mapping[str, Any]) -> None:
        if event["event"] == "step":
            boundary(f"step {event['name']} {event['state']}")

    wanted = GkeSettings.model_validate(settings)
    machine = Machine.here({"HOME": home})
    with listening(events=on_event):
        run = create(Path(home) / "runs", "full-lab", run_id=run_id)
        boundary("run directory made")
        ledger = Ledger.open(machine, run)
        boundary("ledger opened")
        cluster = GkeCluster(wanted, machine, run_id=run_id, seams=seams(wanted, boundary))
        kube = RemoteKube(wanted)
        with step(run, "start-cluster"):
            cluster.up()
        with step(run, "install-istio"):
            kube.add("istio-system", "istio-ingressgateway")
            boundary("load balancer made")
            cluster.note_balancers(kube)  # type: ignore[arg-type]
        for name in ("deploy-bookinfo", "fast-load", "uninstall-istio"):
            with step(run, name):
                pass
        with step(run, "remove-cluster"):
            cluster.down()
            boundary("cluster gone")
            for entry in ledger.entries():
                ledger.gone(entry)
            forget_cluster(machine, wanted)
        with step(run, "check-teardown"):
            assert len(cluster.inventory()) == 0
        ledger.close()
    if report:
        Path(report).write_text("\n".join(names))
