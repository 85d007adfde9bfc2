"""The inside of an emulated cluster: Services of type LoadBalancer and volumes, whose controllers are the books'."""

from __future__ import annotations

from typing import Any

from meshlab.core.errors import KubeError
from tests.fakes.gke.books import Books


class FakeClusterKube:
    """Stands in for meshlab.kube.client.Kube: `objects`, `delete` and `server_version` of one cluster.

    deaf: it does not answer. stuck: its controller does not take load balancers back.
    """

    def __init__(self, books: Books, path: str, *, deaf: bool = False, stuck: bool = False) -> None:
        self.books, self.path, self.deaf, self.stuck = books, path, deaf, stuck
        self.things: dict[tuple[str, str, str], dict[str, Any]] = {}

    def server_version(self) -> str:
        self._answer()
        return "v1.34.1-gke.2037000"

    def add_service(self, space: str, name: str, uid: str) -> None:
        address = self.books.balance(self.path, uid, f"{space}/{name}")
        self.things["Service", space, name] = {
            "metadata": {"name": name, "namespace": space, "uid": uid}, "spec": {"type": "LoadBalancer"},
            "status": {"loadBalancer": {"ingress": [{"ip": address}]}},
        }  # fmt: skip

    def add_volume(self, space: str, name: str) -> None:
        disk = f"pvc-{space}-{name}"
        labels = {"goog-k8s-cluster-name": self.path.rsplit("/", 1)[-1]}
        self.books.table("disks")[disk] = {"name": disk, "labels": labels}
        self.things["PersistentVolumeClaim", space, name] = {
            "metadata": {"name": name, "namespace": space},
            "spec": {},
        }
        self.things["PersistentVolume", "", disk] = {
            "metadata": {"name": disk},
            "spec": {"claimRef": {"name": name}},
        }
        volume = {"persistentVolumeClaim": {"claimName": name}}
        self.things["Pod", space, "user"] = {
            "metadata": {"name": "user", "namespace": space},
            "spec": {"volumes": [volume]},
        }

    def objects(self, api_version: str, kind: str) -> list[dict[str, Any]]:
        self._answer()
        assert (api_version, kind) in {
            ("v1", k) for k in ("Service", "PersistentVolumeClaim", "PersistentVolume", "Pod")
        }
        return [thing for (known, _, _), thing in self.things.items() if known == kind]

    def delete(
        self, api_version: str, kind: str, name: str, namespace: str, *, foreground: bool = True
    ) -> bool:
        self._answer()
        thing = self.things.get((kind, namespace, name))
        if thing is None or self.stuck:
            return thing is not None
        del self.things[kind, namespace, name]
        if kind == "Service":
            self.books.unbalance(thing["metadata"]["uid"])
        if kind == "Pod":  # the claim's finalizer goes, and with it the disk
            for claim in [key for key in self.things if key[0] == "PersistentVolume"]:
                self.books.table("disks").pop(claim[2])
                del self.things[claim]
        return True

    def _answer(self) -> None:
        if self.deaf or self.path not in self.books.clusters:
            raise KubeError("can't ask: no answer from the API server", retryable=False)
