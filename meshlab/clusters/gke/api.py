"""The calls of the Google APIs that we make. Every one has a deadline, every failure is a CloudError."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Any, TypeVar

import requests
from google.api_core import exceptions as google
from google.api_core.exceptions import GoogleAPICallError, from_http_response
from google.api_core.retry import Retry
from google.cloud.container_v1 import ClusterManagerClient
from google.cloud.container_v1.types import (
    Cluster,
    DeleteClusterRequest,
    GetClusterRequest,
    GetOperationRequest,
    GetServerConfigRequest,
    ListClustersRequest,
    ListOperationsRequest,
    Operation,
    ServerConfig,
)

from meshlab.clusters.gke.api_errors import cloud_errors, is_passing, unavailable
from meshlab.clusters.gke.names import Place
from meshlab.clusters.gke.request import creation_of, labelling_of
from meshlab.core.errors import CloudError

log = logging.getLogger(__name__)
Answer = TypeVar("Answer")
CALL_TIMEOUT = 45.0  # seconds for one try of one call
TIMEOUT = 30.0  # seconds for one try
PAGE = 500


@dataclass(frozen=True)
class Backoff:
    """How an API that does not answer is asked again: first and longest pause, and the deadline of all; seconds."""

    first: float = 0.5
    longest: float = 15.0
    deadline: float = 120.0


class GkeApi:
    """The GKE API for one place. Every call goes through `called`; "does not exist" is an answer, not an error.

    renew: gets a token anew, for a call that was refused for want of one. Methods raise CloudError.
    """

    def __init__(
        self,
        client: ClusterManagerClient,
        place: Place,
        backoff: Backoff | None = None,
        renew: Callable[[], object] = lambda: None,
    ) -> None:
        self.client = client
        self.place = place
        self.backoff = backoff or Backoff()
        self._renew = renew

    def cluster(self) -> Cluster | None:
        """The cluster of this place and name, None when there is none."""
        request = GetClusterRequest(name=self.place.path)
        return self._or_none(
            f"look at cluster {self.place.name}",
            lambda timeout: self.client.get_cluster(request, retry=None, timeout=timeout),
        )

    def clusters(self) -> tuple[list[Cluster], tuple[str, ...]]:
        """Every cluster of the project that was seen, in all locations; and the locations that did not answer."""
        request = ListClustersRequest(parent=f"projects/{self.place.project}/locations/-")
        answer = self._call(
            f"list the clusters of {self.place.project}",
            lambda timeout: self.client.list_clusters(request, retry=None, timeout=timeout),
        )
        return list(answer.clusters), tuple(answer.missing_zones)

    def create(self, cluster: Cluster) -> Operation:
        """Ask for a cluster, once: whoever calls must look what became of it where no answer came back."""
        request = creation_of(self.place, cluster)
        return self._call(
            f"create cluster {self.place.name} in {self.place.location}",
            lambda timeout: self.client.create_cluster(request, retry=None, timeout=timeout),
            repeat=False,
        )

    def delete(self) -> Operation | None:
        """Ask for the cluster's deletion; None when there is none. CloudError (precondition) while something goes on."""
        request = DeleteClusterRequest(name=self.place.path)
        return self._or_none(
            f"delete cluster {self.place.name}",
            lambda timeout: self.client.delete_cluster(request, retry=None, timeout=timeout),
        )

    def operation(self, name: str) -> Operation | None:
        """An operation by its short name, None when the API has forgotten it."""
        request = GetOperationRequest(name=self.place.operation(name))
        return self._or_none(
            f"look at operation {name}",
            lambda timeout: self.client.get_operation(request, retry=None, timeout=timeout),
        )

    def running_operations(self) -> list[Operation]:
        """What goes on with the cluster now, oldest first."""
        request = ListOperationsRequest(parent=self.place.parent)
        answer = self._call(
            f"list the operations of {self.place.location}",
            lambda timeout: self.client.list_operations(request, retry=None, timeout=timeout),
        )
        ours = [
            each for each in answer.operations if each.target_link.endswith(f"/clusters/{self.place.name}")
        ]
        return sorted(
            (each for each in ours if each.status != Operation.Status.DONE), key=lambda each: each.start_time
        )

    def server_config(self) -> ServerConfig:
        """Which versions and channels the location has."""
        request = GetServerConfigRequest(name=self.place.parent)
        return self._call(
            f"ask which versions {self.place.location} has",
            lambda timeout: self.client.get_server_config(request, retry=None, timeout=timeout),
        )

    def set_labels(self, cluster: Cluster, labels: Mapping[str, str]) -> Operation:
        """Add labels to those that `cluster` has, once. Refused where somebody changed them since it was read."""
        request = labelling_of(self.place, cluster, labels)
        return self._call(
            f"label cluster {self.place.name}",
            lambda timeout: self.client.set_labels(request, retry=None, timeout=timeout),
            repeat=False,
        )

    def _or_none(self, doing: str, call: Callable[[float], Answer]) -> Answer | None:
        try:
            return self._call(doing, call)
        except CloudError as problem:
            if problem.kind == "not-found":
                return None
            raise

    def _call(self, doing: str, call: Callable[[float], Answer], *, repeat: bool = True) -> Answer:
        return called(doing, call, self.backoff, CALL_TIMEOUT, renew=self._renew, repeat=repeat)


def called(
    doing: str,
    call: Callable[[float], Answer],
    pause: Backoff,
    timeout: float,
    *,
    renew: Callable[[], object] = lambda: None,
    repeat: bool = True,
) -> Answer:
    """Make one call of a Google API; made again, after a random pause that grows, while what keeps it may pass.

    Args:
        doing: What is being done, as in "create cluster x".
        call: Makes it, given seconds for one try.
        pause: The pauses, and the deadline of all tries.
        timeout: Seconds for one try.
        renew: Gets a token anew. A call that is refused for want of one is made once more: it had no effect.
        repeat: It may be made twice. One that may not is left to its caller where the answer was lost.

    Returns:
        The answer.

    Raises:
        CloudError: It was refused, or nobody answered until the deadline.
    """
    renewed = False

    def may_pass(problem: Exception) -> bool:
        nonlocal renewed
        if isinstance(problem, google.Unauthenticated | google.Unauthorized) and not renewed:
            renewed = True
            renew()
            return True
        return repeat and is_passing(problem)

    again = Retry(
        predicate=may_pass,
        initial=pause.first,
        maximum=pause.longest,
        timeout=pause.deadline,
        on_error=lambda problem: log.info("can't %s yet: %s", doing, problem),
    )
    with cloud_errors(doing):
        return again(lambda: call(min(timeout, pause.deadline)))()


class Rest:
    """Compute Engine and Resource Manager for one project. session, root: see `access.session`. Raises CloudError."""

    def __init__(
        self, session: requests.Session, root: str, project: str, backoff: Backoff | None = None
    ) -> None:
        self.project = project
        self._session, self._root, self._backoff = session, root, backoff or Backoff()
        self._date = ""

    def listed(self, kind: str, where: str) -> list[dict[str, Any]]:
        """List every resource of a kind.

        Args:
            kind: As the API names it, in the plural.
            where: `global`, `zones/Z` or `regions/R`, or "" for kinds without a place.

        Returns:
            The resources.
        """
        path = f"compute/v1/projects/{self.project}/{where + '/' if where else ''}{kind}"
        return [item for page in self._pages(path, f"list {kind}") for item in page.get("items") or []]

    def listed_everywhere(self, kind: str) -> list[dict[str, Any]]:
        """Every resource of a zonal or regional kind, in all zones and regions."""
        path = f"compute/v1/projects/{self.project}/aggregated/{kind}"
        return [
            item
            for page in self._pages(path, f"list {kind}")
            for scope in (page.get("items") or {}).values()
            for item in scope.get(kind) or []
        ]

    def project_quotas(self) -> list[dict[str, Any]]:
        """The quotas of the project as a whole (compute.projects.get)."""
        path = f"compute/v1/projects/{self.project}"
        return list(self._ask("GET", "compute", path, f"look at project {self.project}").get("quotas") or [])

    def one(self, path: str) -> dict[str, Any] | None:
        """One resource by its path below the project, None when there is none."""
        try:
            return self._ask(
                "GET", "compute", f"compute/v1/projects/{self.project}/{path}", f"look at {path}"
            )
        except CloudError as problem:
            if problem.kind == "not-found":
                return None
            raise

    def granted(self, permissions: Iterable[str]) -> set[str]:
        """Which of these permissions we have in the project (testIamPermissions)."""
        answer = self._ask(
            "POST",
            "cloudresourcemanager",
            f"v1/projects/{self.project}:testIamPermissions",
            f"ask which permissions we have in {self.project}",
            {"permissions": list(permissions)},
        )
        return set(answer.get("permissions") or [])

    def _pages(self, path: str, doing: str) -> Iterator[dict[str, Any]]:
        token = ""
        while True:
            page = self._ask(
                "GET",
                "compute",
                f"{path}?maxResults={PAGE}" + (f"&pageToken={token}" if token else ""),
                doing,
            )
            yield page
            token = page.get("nextPageToken") or ""
            if not token:
                return

    def _ask(
        self, method: str, service: str, path: str, doing: str, body: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        def once(timeout: float) -> dict[str, Any]:
            url = f"{self._root.format(service=service)}/{path}"
            answer = self._session.request(method, url, json=body, timeout=timeout)
            self._date = answer.headers.get("Date") or self._date
            if not answer.ok:
                raise _with_reason(answer)
            found: dict[str, Any] = answer.json()
            return found

        try:
            return called(doing, once, self._backoff, TIMEOUT)  # its session gets tokens anew by itself
        except requests.RequestException as problem:
            raise unavailable(doing, str(problem)) from problem

    def now(self) -> datetime | None:
        """Google's own time, by the Date of the last answer; None where none came, or it had none."""
        try:
            return parsedate_to_datetime(self._date) if self._date else None
        except ValueError:
            return None


def zones_of(rest: Rest, region: str) -> list[str]:
    """The zones of a region that are up. Raises CloudError."""
    zones = [zone["name"] for zone in rest.listed("zones", "") if zone.get("status", "UP") == "UP"]
    return sorted(name for name in zones if name.rpartition("-")[0] == region)


def _with_reason(answer: requests.Response) -> GoogleAPICallError:
    """The library's error for an HTTP answer, its message without method and address."""
    problem: GoogleAPICallError = from_http_response(answer)  # type: ignore[no-untyped-call]  # no types
    said = (problem.message or "").partition(": ")[2]
    problem.message = said or problem.message
    return problem
