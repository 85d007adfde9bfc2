"""What the emulated cloud knows: clusters, operations, what clusters leave behind, and which errors come next."""

from __future__ import annotations

import hashlib
import json
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import grpc
from google.cloud.container_v1.types import (
    Cluster,
    CreateClusterRequest,
    Operation,
    OperationProgress,
    ReleaseChannel,
    ServerConfig,
    StatusCondition,
)

VERSIONS = ("1.34.1-gke.2037000", "1.33.5-gke.1201000", "1.32.9-gke.1130000", "1.31.13-gke.1008000")
ZONES = (
    "us-central1-a",
    "us-central1-b",
    "us-central1-c",
    "us-central1-f",
    "europe-west1-b",
    "europe-west1-c",
)
MACHINES = {"e2-small": 2, "e2-medium": 2, "e2-standard-2": 2, "e2-standard-4": 4, "x9-exotic": 4}
QUOTAS = {
    "CPUS": (24, 0),
    "PREEMPTIBLE_CPUS": (0, 0),
    "IN_USE_ADDRESSES": (8, 0),
    "SSD_TOTAL_GB": (500, 0),
    "DISKS_TOTAL_GB": (4096, 0),
}
POLLS = 2  # looks at an operation until it is done
Status = grpc.StatusCode


@dataclass
class Fault:
    """An error that a call ends with. after: the call has its effect, and only the answer is lost. times: how often.

    seconds: how long the answer is kept back (slow). code None: only slow.
    """

    method: str
    code: Status | None = Status.UNAVAILABLE
    message: str = "the server is away"
    reason: str = ""
    times: int = 1
    after: bool = False
    seconds: float = 0.0


@dataclass
class BadEnd:
    """How the next creation ends badly: the operation's error, the cluster's condition.

    code 0: the operation has no error, only conditions (kubeflow/pipelines#673).
    """

    code: int = 8
    message: str = "ZONE_RESOURCE_POOL_EXHAUSTED"
    condition: StatusCondition.Code = StatusCondition.Code.GCE_STOCKOUT


class Backend(Protocol):
    """What stands behind a cluster."""

    def create(self, cluster: Cluster) -> None:
        """Make it and fill in endpoint, CA and versions. Any exception makes the operation fail."""

    def delete(self, cluster: Cluster) -> None: ...

    def token(self) -> tuple[str, int]:
        """A token for it, and for how many seconds it holds."""


class Nothing:
    """No machine behind the cluster: an address that answers nobody."""

    def create(self, cluster: Cluster) -> None:
        cluster.endpoint = "203.0.113.10"
        cluster.master_auth.cluster_ca_certificate = "bm90IGEgY2VydGlmaWNhdGU="

    def delete(self, cluster: Cluster) -> None:
        pass

    def token(self) -> tuple[str, int]:
        return "a-token-of-the-emulator", 3600


@dataclass
class Books:
    """The cloud's own account, shared by the gRPC and the REST side. With a file it outlives a restart."""

    backend: Backend = field(default_factory=Nothing)
    file: Path | None = None
    clusters: dict[str, Cluster] = field(default_factory=dict)
    operations: dict[str, Operation] = field(default_factory=dict)
    looks: dict[str, int] = field(default_factory=dict)
    compute: dict[str, dict[str, dict[str, Any]]] = field(default_factory=dict)
    services: dict[str, dict[str, Any]] = field(default_factory=dict)  # inside the cluster, by uid
    faults: list[Fault] = field(default_factory=list)
    bad_ends: list[BadEnd] = field(default_factory=list)
    calls: list[str] = field(default_factory=list)
    log: list[str] = field(default_factory=list)  # calls of both halves in their order, REST as "GET path"
    created: list[CreateClusterRequest] = field(default_factory=list)  # as they came
    versions: tuple[str, ...] = VERSIONS
    quotas: dict[str, tuple[float, float]] = field(default_factory=lambda: dict(QUOTAS))
    project_quotas: dict[str, tuple[float, float]] = field(
        default_factory=lambda: {"CPUS_ALL_REGIONS": (32, 0)}
    )
    denied: set[str] = field(default_factory=set)  # permissions that the caller lacks
    missing_zones: tuple[str, ...] = ()
    networks: dict[str, dict[str, Any]] = field(default_factory=lambda: {"default": {}})
    working: dict[str, threading.Thread] = field(default_factory=dict)
    lock: threading.RLock = field(default_factory=threading.RLock)

    # ── clusters

    def create(self, parent: str, wanted: Cluster) -> Operation:
        path = f"{parent}/clusters/{wanted.name}"
        location = parent.rsplit("/", 1)[-1]
        cluster = Cluster(wanted)
        cluster.location, cluster.zone, cluster.self_link = (
            location,
            location,
            f"https://emulated.test/v1/{path}",
        )
        cluster.locations = [location] if location.count("-") == 2 else [f"{location}-{z}" for z in "abc"]
        cluster.id = hashlib.sha256(path.encode()).hexdigest()
        cluster.status = Cluster.Status.PROVISIONING
        cluster.label_fingerprint = fingerprint(cluster)
        cluster.current_master_version = wanted.initial_cluster_version
        self.clusters[path] = cluster
        bad = self.bad_ends.pop(0) if self.bad_ends else None
        operation = self._begin(Operation.Type.CREATE_CLUSTER, path)
        if bad is not None:
            operation.detail = json.dumps({"bad": [bad.code, bad.message, int(bad.condition)]})
        else:
            self._work(operation, lambda: self.backend.create(cluster))
        return operation

    def delete(self, path: str) -> Operation:
        cluster = self.clusters[path]
        cluster.status = Cluster.Status.STOPPING
        operation = self._begin(Operation.Type.DELETE_CLUSTER, path)
        self._work(operation, lambda: self.backend.delete(cluster))
        return operation

    def set_labels(self, path: str, labels: dict[str, str]) -> Operation:
        cluster = self.clusters[path]
        cluster.resource_labels = labels
        cluster.label_fingerprint = fingerprint(cluster)
        operation = self._begin(Operation.Type.UPDATE_CLUSTER, path)
        self._end(operation)
        return operation

    def _begin(self, kind: Operation.Type, path: str) -> Operation:
        number = len(self.operations) + 1
        operation = Operation(
            name=f"operation-{number}", operation_type=kind, status=Operation.Status.RUNNING,
            start_time=f"2026-11-23T00:00:{number:02}Z", target_link=f"https://emulated.test/v1/{path}",
        )  # fmt: skip
        self.operations[operation.name] = operation
        self.looks[operation.name] = 0
        return operation

    def _work(self, operation: Operation, what: Any) -> None:
        def run() -> None:
            try:
                what()
            except Exception as problem:  # noqa: BLE001 - whatever the backend says is the operation's error
                operation.error = {"code": 13, "message": f"{type(problem).__name__}: {problem}"}

        thread = threading.Thread(target=run, name=operation.name)
        self.working[operation.name] = thread
        thread.start()

    def look(self, operation: Operation) -> Operation:
        """An operation goes on each time it is looked at, and ends when what stands behind it has ended too."""
        if operation.status == Operation.Status.DONE:
            return operation
        self.looks[operation.name] += 1
        seen, thread = self.looks[operation.name], self.working.get(operation.name)
        operation.progress = OperationProgress(
            metrics=[
                {"name": "CLUSTER_CONFIGURING", "int_value": min(seen, POLLS)},
                {"name": "CLUSTER_CONFIGURING_TOTAL", "int_value": POLLS},
                {"name": "CLUSTER_HEALTHCHECKING", "int_value": 0},
                {"name": "CLUSTER_HEALTHCHECKING_TOTAL", "int_value": 1},
            ]
        )
        if seen >= POLLS and (thread is None or not thread.is_alive()):
            self._end(operation)
        return operation

    def _end(self, operation: Operation) -> None:
        operation.status = Operation.Status.DONE
        path = operation.target_link.partition("/v1/")[2]
        cluster = self.clusters.get(path)
        if cluster is None or operation.operation_type == Operation.Type.UPDATE_CLUSTER:
            return
        if operation.operation_type == Operation.Type.DELETE_CLUSTER:
            self.clusters.pop(path)
            self.services.clear()  # with their cluster; what the cloud made for them stays
            self.compute_of(cluster, path, there=False)
        elif operation.detail.startswith('{"bad"'):
            code, message, condition = json.loads(operation.detail)["bad"]
            operation.detail, operation.status_message = "", message
            if code:
                operation.error = {"code": code, "message": message}
            operation.cluster_conditions = [StatusCondition(code=condition, message=message)]
            cluster.status, cluster.status_message = Cluster.Status.ERROR, message
            cluster.conditions = operation.cluster_conditions
            self.compute_of(cluster, path, there=True)
        elif "error" in operation:
            cluster.status, cluster.status_message = Cluster.Status.ERROR, operation.error.message
        else:
            cluster.status = Cluster.Status.RUNNING
            cluster.current_node_version = cluster.current_node_version or cluster.current_master_version
            cluster.current_node_count = sum(p.initial_node_count for p in cluster.node_pools) * len(
                cluster.locations
            )
            self.compute_of(cluster, path, there=True)

    # ── Compute Engine

    def table(self, kind: str) -> dict[str, dict[str, Any]]:
        return self.compute.setdefault(kind, {})

    def compute_of(self, cluster: Cluster, path: str, *, there: bool) -> None:
        """What GKE makes and removes with the cluster itself: node disks and firewalls."""
        tag = f"gke-{cluster.name}-{cluster.id[:8]}"
        walls = {
            f"{tag}-{end}": {"name": f"{tag}-{end}", "targetTags": [f"{tag}-node"]} for end in ("all", "vms")
        }
        nodes = {
            f"gke-{cluster.name}-default-pool-{cluster.id[8:16]}-{n}": {}
            for n in range(cluster.current_node_count)
        }
        for kind, things in (("firewalls", walls), ("disks", {name: {"name": name} for name in nodes})):
            for name, thing in things.items():
                self.table(kind).update({name: thing}) if there else self.table(kind).pop(name, None)

    def balance(self, path: str, uid: str, service: str) -> str:
        """The cloud's half of a Service of type LoadBalancer; returns the address."""
        cluster, name = self.clusters[path], ("a" + uid.replace("-", ""))[:32]
        node = f"https://emulated.test/zones/z/instances/gke-{cluster.name}-default-pool-{cluster.id[8:16]}-0"
        tag = f"gke-{cluster.name}-{cluster.id[:8]}-node"
        self.table("targetPools")[name] = {"name": name, "instances": [node]}
        self.table("forwardingRules")[name] = {
            "name": name, "IPAddress": "203.0.113.20", "target": f"https://emulated.test/targetPools/{name}",
            "description": json.dumps({"kubernetes.io/service-name": service}),
        }  # fmt: skip
        self.table("firewalls")[f"k8s-fw-{name}"] = {"name": f"k8s-fw-{name}", "targetTags": [tag]}
        return "203.0.113.20"

    def unbalance(self, uid: str) -> None:
        """The cluster's controller takes a load balancer back."""
        name = ("a" + uid.replace("-", ""))[:32]
        self.table("targetPools").pop(name, None)
        self.table("forwardingRules").pop(name, None)
        self.table("firewalls").pop(f"k8s-fw-{name}", None)

    def left(self) -> dict[str, list[str]]:
        """Everything that somebody pays for, by kind; empty where nothing is left."""
        found = {
            "clusters": sorted(self.clusters),
            **{kind: sorted(names) for kind, names in self.compute.items()},
        }
        return {kind: names for kind, names in found.items() if names}

    # ── outliving a restart

    def save(self) -> None:
        if self.file is None:
            return
        content = {
            "clusters": {path: Cluster.to_json(cluster) for path, cluster in self.clusters.items()},
            "operations": {name: Operation.to_json(each) for name, each in self.operations.items()},
            "looks": self.looks,
            "compute": self.compute,
        }
        draft = self.file.with_suffix(".new")
        draft.write_text(json.dumps(content))
        draft.replace(self.file)

    def load(self) -> Books:
        if self.file is not None and self.file.exists():
            content = json.loads(self.file.read_text())
            self.clusters = {path: Cluster.from_json(text) for path, text in content["clusters"].items()}
            self.operations = {
                name: Operation.from_json(text) for name, text in content["operations"].items()
            }
            self.looks, self.compute = content["looks"], content["compute"]
        return self

    def server_config(self) -> ServerConfig:
        regular = ServerConfig.ReleaseChannelConfig(
            channel=ReleaseChannel.Channel.REGULAR, default_version=self.versions[min(1, len(self.versions) - 1)],
            valid_versions=list(self.versions),
        )  # fmt: skip
        return ServerConfig(
            valid_master_versions=list(self.versions),
            default_cluster_version=self.versions[0],
            channels=[regular],
        )


def fingerprint(cluster: Cluster) -> str:
    return hashlib.sha256(json.dumps(dict(cluster.resource_labels), sort_keys=True).encode()).hexdigest()[:8]
