"""The one seam to the Kubernetes API. Every call has a deadline, every failure is a KubeError."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, cast

import urllib3
from kubernetes import client
from kubernetes.dynamic import DynamicClient
from kubernetes.dynamic.resource import Resource

from meshlab.core.errors import KubeError
from meshlab.kube.api_errors import api_errors
from meshlab.kube.kubeconfig import configuration_of
from meshlab.kube.pods import PodSummary, summarise
from meshlab.kube.streams import Stream, open_in_time
from meshlab.kube.timed import TimedClient, discovering

__all__ = ["Kube", "PodSummary", "api_errors"]
BACKOFF = 0.2  # seconds; doubled before each further try of a call that found no connection


class Kube:
    """One cluster. Safe for use by several threads; make one per cluster with `Kube.connect`.

    The generic methods (`objects`, `get`, `server_side_apply`, `delete`) take and return objects as the
    API's JSON, so they work for custom resources too. The typed APIs of the client library are there for
    what they don't cover; put such calls in `with api_errors("what we do")`.

    Every method raises KubeError where the API refuses (the error has its status) or does not answer. Status 404:
    the object is not there, or the cluster does not serve its kind; 409: it is there already, or has changed.
    """

    def __init__(self, configuration: client.Configuration, *, context: str | None = None) -> None:
        configuration.retries = urllib3.Retry(total=2, backoff_factor=BACKOFF)
        # It warns of each retry; what does not heal is raised, and a wait for the API server would fill
        # the log.
        logging.getLogger("urllib3.connectionpool").setLevel(logging.ERROR)
        self.configuration = configuration
        self.context = context
        self.api_client = TimedClient(configuration)
        self._discovery = threading.RLock()

    @classmethod
    def connect(cls, kubeconfig: Path | None, context: str | None = None) -> Kube:
        """Make a client for a context of a kubeconfig.

        Nothing is asked of the server yet.

        Args:
            kubeconfig: The file; None takes the default one.
            context: The context's name; None takes the current one.

        Returns:
            The client.
        """
        return cls(configuration_of(kubeconfig, context), context=context)

    @property
    def host(self) -> str:
        """The API server's URL."""
        return str(self.configuration.host)

    @cached_property
    def core(self) -> client.CoreV1Api:
        """Pods, Services, Namespaces, logs and streams."""
        return client.CoreV1Api(self.api_client)

    @cached_property
    def version(self) -> client.VersionApi:
        """The server's version."""
        return client.VersionApi(self.api_client)

    @cached_property
    def dynamic(self) -> DynamicClient:
        """Every kind that the cluster serves, as it tells."""
        with self._discovery, api_errors("discover the kinds that the cluster knows"):
            return discovering(self.api_client)

    def server_version(self) -> str:
        """The API server's gitVersion, for example v1.36.1. Raises KubeError."""
        with api_errors("ask the API server for its version"):
            return str(self.version.get_code().git_version)

    # ── objects

    def resource(self, api_version: str, kind: str) -> Resource:
        """Find how the cluster serves a kind.

        Args:
            api_version: Of the kind, such as apps/v1.
            kind: Its name, such as Deployment.

        Returns:
            Its path, and whether it is namespaced.
        """
        dynamic = self.dynamic
        with self._discovery, api_errors(f"find kind {kind} of {api_version}"):
            # Without the prefix the library would ask every group for its "v1".
            prefix = "apis" if "/" in api_version else "api"
            return cast(Resource, dynamic.resources.get(prefix=prefix, api_version=api_version, kind=kind))

    def forget_discovery(self) -> None:
        """Ask the cluster anew which kinds it knows: after CustomResourceDefinitions came or went."""
        dynamic = self.dynamic
        with self._discovery, api_errors("discover the kinds that the cluster knows"):
            dynamic.resources.invalidate_cache()

    def objects(
        self, api_version: str, kind: str, namespace: str | None = None, *, selector: str | None = None
    ) -> list[dict[str, Any]]:
        """List the objects of a kind.

        Args:
            api_version: Of the kind.
            kind: Its name.
            namespace: Of the objects; None for all.
            selector: Label selector.

        Returns:
            The objects as the API's JSON, with apiVersion and kind.
        """
        resource = self.resource(api_version, kind)
        with api_errors(f"list {kind} in {namespace or 'all namespaces'}"):
            answer = resource.get(namespace=namespace, label_selector=selector, serialize=False)
        items = json.loads(answer.data)["items"]
        return [{"apiVersion": api_version, "kind": kind, **item} for item in items]

    def get(
        self, api_version: str, kind: str, name: str, namespace: str | None = None
    ) -> dict[str, Any] | None:
        """Read one object.

        Args:
            api_version: Of its kind.
            kind: Its kind.
            name: Its name.
            namespace: Where it is; None for kinds that have none.

        Returns:
            The object as the API's JSON; None where it does not exist.
        """
        resource = self.resource(api_version, kind)
        try:
            with api_errors(f"read {_named(kind, namespace, name)}"):
                answer = resource.get(name=name, namespace=namespace, serialize=False)
        except KubeError as problem:
            if problem.status == 404:
                return None
            raise
        return _object(answer)

    def server_side_apply(
        self, document: Mapping[str, Any], *, namespace: str | None = None, field_manager: str = "meshlab"
    ) -> dict[str, Any]:
        """Apply one object as the owner of its fields, taking over fields that others set.

        Args:
            document: The object.
            namespace: Where to put it.
            field_manager: The owner's name.

        Returns:
            The object as stored.
        """
        owner = {"field_manager": field_manager, "force_conflicts": True}
        return self._write(
            "server_side_apply", document, namespace, name=document["metadata"]["name"], **owner
        )

    def may(
        self, verb: str, group: str, resource: str, namespace: str | None = None, name: str | None = None
    ) -> bool:
        """Ask the cluster whether we may do something.

        Args:
            verb: Such as get, list, create.
            group: API group, empty for the core.
            resource: In the plural; `pods/exec` for a subresource.
            namespace: Where; None for all of them.
            name: Of one object; None for all of them.

        Returns:
            The cluster's answer.
        """
        whole, _, sub = resource.partition("/")
        attributes = client.V1ResourceAttributes(
            verb=verb, group=group, resource=whole, subresource=sub or None, namespace=namespace, name=name
        )
        review = client.V1SelfSubjectAccessReview(
            spec=client.V1SelfSubjectAccessReviewSpec(resource_attributes=attributes)
        )
        with api_errors(f"ask whether we may {verb} {resource}"):
            answer = client.AuthorizationV1Api(self.api_client).create_self_subject_access_review(review)
        return bool(answer.status and answer.status.allowed)

    def create(
        self, document: Mapping[str, Any], *, namespace: str | None = None, dry_run: bool = False
    ) -> dict[str, Any]:
        """Create an object.

        Args:
            document: The object.
            namespace: Where to put it.
            dry_run: Nothing is stored; the server only says what would become of it.

        Returns:
            The object as stored.
        """
        return self._write("create", document, namespace, **({"dry_run": "All"} if dry_run else {}))

    def replace(self, document: Mapping[str, Any], *, namespace: str | None = None) -> dict[str, Any]:
        """Put an object in the place of the one that is there; fields that it does not have go.

        Args:
            document: The object, with the resourceVersion of the one that is there.
            namespace: Where it is.

        Returns:
            The object as stored.
        """
        return self._write("replace", document, namespace, name=document["metadata"]["name"])

    def _write(
        self, method: str, document: Mapping[str, Any], namespace: str | None, **options: Any
    ) -> dict[str, Any]:
        """Hand an object to a method of its kind's resource; returns it as stored."""
        kind = document["kind"]
        resource = self.resource(document["apiVersion"], kind)
        doing = method.removeprefix("server_side_")
        with api_errors(f"{doing} {_named(kind, namespace, document['metadata']['name'])}"):
            answer = getattr(resource, method)(
                body=dict(document),
                namespace=namespace if resource.namespaced else None,
                serialize=False,
                **options,
            )
        return _object(answer)

    def patch(
        self, api_version: str, kind: str, name: str, patch: Mapping[str, Any], namespace: str | None = None
    ) -> dict[str, Any]:
        """Change fields of an object by a JSON merge patch.

        Args:
            api_version: Of its kind.
            kind: Its kind.
            name: Its name.
            patch: RFC 7396: null removes a field, lists are replaced whole.
            namespace: Where it is; None for kinds that have none.

        Returns:
            The object as stored.
        """
        resource = self.resource(api_version, kind)
        with api_errors(f"change {_named(kind, namespace, name)}"):
            answer = resource.patch(
                body=dict(patch),
                name=name,
                namespace=namespace,
                content_type="application/merge-patch+json",
                field_manager="meshlab",
                serialize=False,
            )
        return _object(answer)

    def delete(
        self, api_version: str, kind: str, name: str, namespace: str | None = None, *, foreground: bool = True
    ) -> bool:
        """Ask for an object's deletion.

        Args:
            api_version: Of its kind.
            kind: Its kind.
            name: Its name.
            namespace: Where it is; None for kinds that have none.
            foreground: The object stays, marked as deleting, until what it owns is gone.

        Returns:
            False where the object, or its kind, does not exist.
        """
        try:
            resource = self.resource(api_version, kind)
            with api_errors(f"delete {_named(kind, namespace, name)}"):
                resource.delete(
                    name=name,
                    namespace=namespace,
                    propagation_policy="Foreground" if foreground else "Background",
                    serialize=False,
                )
        except KubeError as problem:
            if problem.status == 404:
                return False
            raise
        return True

    def pods(self, namespace: str | None, selector: str | None = None) -> list[PodSummary]:
        """List pods as kubectl prints them.

        Args:
            namespace: Theirs; None for all.
            selector: Label selector.

        Returns:
            The pods, sorted by namespace and name.
        """
        found = [summarise(pod) for pod in self.objects("v1", "Pod", namespace, selector=selector)]
        return sorted(found, key=lambda pod: (pod.namespace, pod.name))

    def pod_log(
        self,
        namespace: str,
        pod: str,
        container: str | None = None,
        *,
        previous: bool = False,
        lines: int = 500,
    ) -> str:
        """Read the end of a container's log.

        Args:
            namespace: Of the pod.
            pod: Its name.
            container: Its name; None for the only one.
            previous: Of the run before its last restart.
            lines: How many, at most.

        Returns:
            The text.
        """
        with api_errors(f"read the log of {namespace}/{pod}" + (f" ({container})" if container else "")):
            answer = self.core.read_namespaced_pod_log(
                pod,
                namespace,
                container=container,
                previous=previous,
                tail_lines=lines,
                _preload_content=False,
            )
            return cast(urllib3.BaseHTTPResponse, answer).data.decode(errors="replace")

    # ── streams

    def open_exec(
        self, namespace: str, pod: str, container: str | None, argv: Sequence[str], *, stdin: bool
    ) -> Stream:
        """Start a command in a container.

        Args:
            namespace: Of the pod.
            pod: Its name.
            container: Its name; None for the default one.
            argv: The command.
            stdin: Whether it gets input.

        Returns:
            The open stream. Channels: 0 input, 1 output, 2 errors, 3 the command's status.
        """
        options = {"container": container, "command": list(argv), "stdin": stdin, "stdout": True, "stderr": True,
                   "tty": False}  # fmt: skip
        method = "connect_get_namespaced_pod_exec"
        return self._open(f"start a command in {namespace}/{pod}", method, pod, namespace, options)

    def open_portforward(self, namespace: str, pod: str, port: int) -> Stream:
        """Open a stream to one TCP connection with a pod's port.

        Args:
            namespace: Of the pod.
            pod: Its name.
            port: Of the pod.

        Returns:
            The open stream. Channels: 0 the data, 1 the text of an error.
        """
        doing, method = (
            f"connect to port {port} of {namespace}/{pod}",
            "connect_get_namespaced_pod_portforward",
        )
        return self._open(doing, method, pod, namespace, {"ports": str(port)})

    def _open(self, doing: str, method: str, pod: str, namespace: str, options: Mapping[str, Any]) -> Stream:
        with api_errors(doing):
            return open_in_time(self.configuration, doing, method, pod, namespace, options)


def _object(answer: Any) -> dict[str, Any]:
    """The object in an answer of the API."""
    found: dict[str, Any] = json.loads(answer.data)
    return found


def _named(kind: str, namespace: str | None, name: str) -> str:
    return f"{kind} {namespace}/{name}" if namespace else f"{kind} {name}"
