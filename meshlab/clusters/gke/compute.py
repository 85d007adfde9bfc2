"""The few REST calls beside the GKE API: what a cluster may leave behind, quotas, zones, machine types, permissions."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import requests
from google.api_core.exceptions import GoogleAPICallError, from_http_response
from google.api_core.retry import Retry

from meshlab.clusters.gke.api import Backoff
from meshlab.clusters.gke.api_errors import cloud_errors, is_passing, unavailable
from meshlab.core.errors import CloudError

TIMEOUT = 30.0  # seconds for one try
PAGE = 500


class Rest:
    """Compute Engine and Resource Manager for one project. session, root: see `access.session`. Raises CloudError."""

    def __init__(
        self, session: requests.Session, root: str, project: str, backoff: Backoff | None = None
    ) -> None:
        self.project = project
        self._session, self._root, self._backoff = session, root, backoff or Backoff()

    def listed(self, kind: str, where: str) -> list[dict[str, Any]]:
        """Every resource of a kind. where: `global`, `zones/Z` or `regions/R`, or "" for kinds without a place."""
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
        pause = self._backoff
        again = Retry(
            predicate=is_passing, initial=pause.first, maximum=pause.longest, timeout=pause.deadline
        )

        def once() -> dict[str, Any]:
            url = f"{self._root.format(service=service)}/{path}"
            answer = self._session.request(method, url, json=body, timeout=min(TIMEOUT, pause.deadline))
            if not answer.ok:
                raise _with_reason(answer)
            return answer.json()

        try:
            with cloud_errors(doing):
                return again(once)()
        except requests.RequestException as problem:
            raise unavailable(doing, str(problem)) from problem


def zones_of(rest: Rest, region: str) -> list[str]:
    """The zones of a region that are up. Raises CloudError."""
    zones = [zone["name"] for zone in rest.listed("zones", "") if zone.get("status", "UP") == "UP"]
    return sorted(name for name in zones if name.rpartition("-")[0] == region)


def _with_reason(answer: requests.Response) -> GoogleAPICallError:
    """The library's error for an HTTP answer, its message without method and address."""
    problem = from_http_response(answer)
    said = (problem.message or "").partition(": ")[2]
    problem.message = said or problem.message
    return problem
