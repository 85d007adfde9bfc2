"""The ClusterManager service over gRPC, without TLS: the methods that the lab calls, and no others."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import grpc
from google.cloud.container_v1 import types
from google.protobuf import any_pb2
from google.rpc import error_details_pb2, status_pb2
from grpc_status import rpc_status

from tests.fakes.gke.books import ZONES, Books, Fault, Status

SERVICE = "google.container.v1.ClusterManager"
Busy = types.Operation.Status.RUNNING


class Refused(Exception):
    def __init__(self, code: Status, message: str, reason: str = "") -> None:
        self.code, self.message, self.reason = code, message, reason


class Manager:
    """One method for each call; the books are locked while it runs."""

    def __init__(self, books: Books) -> None:
        self.books = books

    def get_cluster(self, request: types.GetClusterRequest) -> types.Cluster:
        return self._found(request.name)

    def list_clusters(self, request: types.ListClustersRequest) -> types.ListClustersResponse:
        project, location = self._parent(request.parent)
        known = self.books.clusters
        wanted = f"projects/{project}/locations/" + ("" if location == "-" else f"{location}/")
        return types.ListClustersResponse(
            clusters=[
                cluster
                for path, cluster in known.items()
                if path.startswith(wanted) and cluster.location not in self.books.missing_zones
            ],
            missing_zones=list(self.books.missing_zones),
        )

    def create_cluster(self, request: types.CreateClusterRequest) -> types.Operation:
        self.books.created.append(types.CreateClusterRequest(request))
        self._parent(request.parent)
        path = f"{request.parent}/clusters/{request.cluster.name}"
        if path in self.books.clusters:
            raise Refused(Status.ALREADY_EXISTS, f"Already exists: {path}.")
        if request.cluster.initial_cluster_version not in self.books.versions:
            raise Refused(
                Status.INVALID_ARGUMENT,
                f"No valid versions with the prefix {request.cluster.initial_cluster_version!r}.",
            )
        return self.books.create(request.parent, request.cluster)

    def delete_cluster(self, request: types.DeleteClusterRequest) -> types.Operation:
        self._found(request.name)
        if any(each.status == Busy for each in self._of(request.name)):
            raise Refused(Status.FAILED_PRECONDITION, "Cluster is running incompatible operation.")
        return self.books.delete(request.name)

    def get_operation(self, request: types.GetOperationRequest) -> types.Operation:
        name = request.name.rsplit("/", 1)[-1]
        if name not in self.books.operations or "/operations/" not in request.name:
            raise Refused(Status.NOT_FOUND, f"Not found: {request.name}.")
        return self.books.look(self.books.operations[name])

    def list_operations(self, request: types.ListOperationsRequest) -> types.ListOperationsResponse:
        self._parent(request.parent)
        return types.ListOperationsResponse(
            operations=[self.books.look(each) for each in self.books.operations.values()]
        )

    def get_server_config(self, request: types.GetServerConfigRequest) -> types.ServerConfig:
        self._parent(request.name)
        return self.books.server_config()

    def set_labels(self, request: types.SetLabelsRequest) -> types.Operation:
        cluster = self._found(request.name)
        if request.label_fingerprint != cluster.label_fingerprint:
            raise Refused(Status.FAILED_PRECONDITION, "Labels could not be set due to fingerprint mismatch.")
        return self.books.set_labels(request.name, dict(request.resource_labels))

    def _found(self, path: str) -> types.Cluster:
        if path not in self.books.clusters:
            raise Refused(Status.NOT_FOUND, f"Not found: {path}.")
        return self.books.clusters[path]

    def _of(self, path: str) -> Iterator[types.Operation]:
        return (each for each in self.books.operations.values() if each.target_link.endswith(path))

    def _parent(self, parent: str) -> tuple[str, str]:
        _, project, _, location = parent.split("/")
        known = {*ZONES, *(zone.rpartition("-")[0] for zone in ZONES), "-"}
        if location not in known:
            raise Refused(Status.INVALID_ARGUMENT, f"Location {location!r} does not exist.")
        return project, location


REQUESTS: dict[str, type[Any]] = {
    "GetCluster": types.GetClusterRequest,
    "ListClusters": types.ListClustersRequest,
    "CreateCluster": types.CreateClusterRequest,
    "DeleteCluster": types.DeleteClusterRequest,
    "GetOperation": types.GetOperationRequest,
    "ListOperations": types.ListOperationsRequest,
    "GetServerConfig": types.GetServerConfigRequest,
    "SetLabels": types.SetLabelsRequest,
}


def handler(books: Books, method: str) -> Callable[[Any, grpc.ServicerContext], Any]:
    manager, request_type = Manager(books), REQUESTS[method]
    snake = "".join(f"_{c.lower()}" if c.isupper() else c for c in method).lstrip("_")

    def handle(message: Any, context: grpc.ServicerContext) -> Any:
        with books.lock:
            books.calls.append(method)
            books.log.append(method)
            fault = take(books, method)
        if fault is not None and fault.seconds:
            time.sleep(fault.seconds)
        try:
            if fault is not None and fault.code is not None and not fault.after:
                raise Refused(fault.code, fault.message, fault.reason)
            with books.lock:
                answer = getattr(manager, snake)(request_type.wrap(message))
                books.save()
                bytes_now = type(answer).pb(answer)
            if fault is not None and fault.code is not None:
                raise Refused(fault.code, fault.message, fault.reason)
        except Refused as refused:
            context.abort_with_status(rpc_status.to_status(_status(refused)))
        return bytes_now

    return handle


def take(books: Books, method: str) -> Fault | None:
    for fault in books.faults:
        if fault.method == method and fault.times > 0:
            fault.times -= 1
            return fault
    return None


def _status(refused: Refused) -> status_pb2.Status:
    status = status_pb2.Status(code=refused.code.value[0], message=refused.message)
    if refused.reason:
        info = any_pb2.Any()
        info.Pack(error_details_pb2.ErrorInfo(reason=refused.reason, domain="emulated.test"))
        status.details.append(info)
    return status


@contextmanager
def serving(books: Books, port: int = 0) -> Iterator[int]:
    """The service on the loopback while the block runs; yields its port."""
    server = grpc.server(ThreadPoolExecutor(max_workers=8))
    handlers = {
        method: grpc.unary_unary_rpc_method_handler(
            handler(books, method),
            request_deserializer=request.pb().FromString,
            response_serializer=lambda message: message.SerializeToString(),
        )
        for method, request in REQUESTS.items()
    }
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, handlers),))
    bound = server.add_insecure_port(f"127.0.0.1:{port}")
    server.start()
    try:
        yield bound
    finally:
        server.stop(grace=0).wait()
