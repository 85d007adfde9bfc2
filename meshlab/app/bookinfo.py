"""The application in the mesh: Bookinfo and sleep, from the official manifests of the distribution in use."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from meshlab.istio.distribution import Distribution
from meshlab.kube.apply import read_manifests

BOOKINFO = "bookinfo/platform/kube/bookinfo.yaml"
SLEEP = "sleep/sleep.yaml"
PORT = 9080  # of every Bookinfo service
PAGE_PATH = "/productpage"
PAGE_TITLE = "Simple Bookstore App"  # in the page's <title>


@dataclass(frozen=True)
class Workload:
    """One Deployment.

    app, version: its pods' labels (version empty where it has none). port: 0 where it serves nothing.
    """

    name: str
    app: str
    version: str
    service_account: str
    port: int = PORT

    @property
    def selector(self) -> str:
        """Label selector of its pods."""
        return f"app={self.app},version={self.version}" if self.version else f"app={self.app}"


PRODUCTPAGE = Workload("productpage-v1", "productpage", "v1", "bookinfo-productpage")
DETAILS = Workload("details-v1", "details", "v1", "bookinfo-details")
RATINGS = Workload("ratings-v1", "ratings", "v1", "bookinfo-ratings")
REVIEWS_V1 = Workload("reviews-v1", "reviews", "v1", "bookinfo-reviews")
REVIEWS_V2 = Workload("reviews-v2", "reviews", "v2", "bookinfo-reviews")
REVIEWS_V3 = Workload("reviews-v3", "reviews", "v3", "bookinfo-reviews")
SLEEPER = Workload("sleep", "sleep", "", "sleep", port=0)
WORKLOADS = (PRODUCTPAGE, DETAILS, RATINGS, REVIEWS_V1, REVIEWS_V2, REVIEWS_V3, SLEEPER)

# Workload that calls → workload that is called, when the sleep pod asks for the product page often enough
# that every version of reviews has its turn.
EDGES: tuple[tuple[str, str], ...] = (
    (SLEEPER.name, PRODUCTPAGE.name),
    (PRODUCTPAGE.name, DETAILS.name),
    (PRODUCTPAGE.name, REVIEWS_V1.name),
    (PRODUCTPAGE.name, REVIEWS_V2.name),
    (PRODUCTPAGE.name, REVIEWS_V3.name),
    (REVIEWS_V2.name, RATINGS.name),
    (REVIEWS_V3.name, RATINGS.name),
)


def manifests(distribution: Distribution) -> list[dict[str, Any]]:
    """Read the official objects of Bookinfo and sleep. Raises InputError where a manifest can't be read."""
    return [
        document for name in (BOOKINFO, SLEEP) for document in read_manifests(distribution.samples / name)
    ]
