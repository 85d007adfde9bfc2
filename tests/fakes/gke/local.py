"""A real cluster behind the emulated API: create brings the local cluster up, delete takes it down."""

from __future__ import annotations

import base64
import threading
import time

from google.cloud.container_v1.types import Cluster
from kubernetes import client

from meshlab.clusters.local import pins
from meshlab.clusters.local.cluster import LocalCluster
from meshlab.config.settings import LocalSettings, Machine
from meshlab.core.errors import MeshlabError
from meshlab.core.progress import silent
from meshlab.kube.api_errors import api_errors
from meshlab.kube.apply import apply
from meshlab.kube.client import Kube
from tests.fakes.gke.books import Books

USER, SPACE = "emulated-cloud-user", "kube-system"
TOKEN_SECONDS = 600  # the shortest that Kubernetes gives
ADDONS = ("prometheus", "jaeger")
RBAC = "rbac.authorization.k8s.io"
ACCOUNT = (
    {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": USER, "namespace": SPACE}},
    {
        "apiVersion": f"{RBAC}/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": USER},
        "roleRef": {"apiGroup": RBAC, "kind": "ClusterRole", "name": "cluster-admin"},
        "subjects": [{"kind": "ServiceAccount", "name": USER, "namespace": SPACE}],
    },
)


class Local:
    """Stands in for Google's machines. Tokens are those of a service account, as a cloud's would be: they expire."""

    def __init__(self, name: str, network: str) -> None:
        self.name, self.network = name, network
        self._kube: Kube | None = None

    def cluster(self, nodes: int) -> LocalCluster:
        settings = LocalSettings(name=self.name, network=self.network, nodes=nodes)
        return LocalCluster(settings, Machine.here(), addons=ADDONS)

    def create(self, cluster: Cluster) -> None:
        local = self.cluster(sum(pool.initial_node_count for pool in cluster.node_pools))
        ref = local.up(progress=silent)
        self._kube = Kube.connect(ref.kubeconfig, ref.context)
        apply(self._kube, ACCOUNT)
        cluster.endpoint = ref.endpoint.removeprefix("https://")
        cluster.master_auth.cluster_ca_certificate = base64.b64encode(local.layout.ca.read_bytes()).decode()

    def delete(self, cluster: Cluster) -> None:
        self._kube = None
        self.cluster(sum(pool.initial_node_count for pool in cluster.node_pools)).down(progress=silent)

    def token(self) -> tuple[str, int]:
        if self._kube is None:
            return "nobody-is-there-yet", TOKEN_SECONDS
        wanted = client.AuthenticationV1TokenRequest(
            spec=client.V1TokenRequestSpec(audiences=[], expiration_seconds=TOKEN_SECONDS)
        )
        with api_errors("get a token"):
            answer = self._kube.core.create_namespaced_service_account_token(USER, SPACE, wanted)
        return str(answer.status.token), TOKEN_SECONDS

    def services(self) -> dict[str, str]:
        """Uid → namespace/name of the Services of type LoadBalancer."""
        if self._kube is None:
            return {}
        return {
            each["metadata"]["uid"]: f"{each['metadata']['namespace']}/{each['metadata']['name']}"
            for each in self._kube.objects("v1", "Service")
            if each["spec"].get("type") == "LoadBalancer"
        }


def balance(books: Books, backend: Local, stop: threading.Event) -> None:
    """The cloud's controller: keeps forwarding rules, target pools and firewalls as the cluster's Services want them.

    What it can't see any more stays, as in a cloud whose cluster is gone.
    """
    known: dict[str, str] = {}
    while not stop.wait(0.5):
        with books.lock:
            paths = [path for path, each in books.clusters.items() if each.status == Cluster.Status.RUNNING]
        if not paths:
            continue
        try:
            wanted = backend.services()
        except MeshlabError:
            continue
        with books.lock:
            for uid in set(wanted) - set(known):
                books.balance(paths[0], uid, wanted[uid])
            for uid in set(known) - set(wanted):
                books.unbalance(uid)
            if wanted != known:
                books.save()
        known = wanted


def books_of(backend: Local) -> Books:
    """Books whose Kubernetes versions are the one that the local cluster compiles."""
    version = f"{pins.versions().kubernetes.removeprefix('v')}-gke.1"
    books = Books(backend=backend, versions=(version,))
    books.quotas["SSD_TOTAL_GB"] = (4096, 0)
    return books


def until_gone(books: Books, seconds: float) -> None:
    """Wait for what still goes on, so that no thread of the backend is cut off."""
    end = time.monotonic() + seconds
    for thread in list(books.working.values()):
        thread.join(max(0.0, end - time.monotonic()))
