"""What may have happened to a killed run's cluster before somebody cleans up, and how the clean-up ended."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from meshlab.clusters.gke.names import expires_in, labels
from meshlab.config.settings import Machine
from meshlab.core.errors import MeshlabError
from meshlab.core.progress import silent
from meshlab.lifecycle import teardown as reaping
from meshlab.lifecycle.teardown import Plan
from meshlab.run.results import Verdict
from tests.fakes.gke.books import Books, Fault, Status

RUN, OTHER = "20260101t000000z-aaaa", "20260102t000000z-bbbb"
NOTHING, REMOVED = "nothing was there", "removed"
QUOTA_MESSAGE = (
    'Insufficient regional quota to satisfy request: resource "SSD_TOTAL_GB": '
    "request requires '300.0' and is short '50.0'."
)
CALLS = ("GetCluster", "DeleteCluster", "ListClusters", "GetOperation", "ListOperations")
REST = ("zones", "firewalls", "forwardingRules", "targetPools", "disks")


@dataclass(frozen=True)
class Variant:
    """Something that happens. before: faults that the run itself meets; after: what happens once it is killed."""

    name: str
    after: Callable[[Books], None] = lambda books: None
    before: tuple[tuple[str, Status, str], ...] = ()

    def faults(self) -> list[Fault]:
        """New ones for each run: a fault counts how often it was met."""
        return [Fault(*each) for each in self.before]


def unlabel(books: Books) -> None:
    for cluster in books.clusters.values():
        cluster.resource_labels = {}


def adopt(books: Books) -> None:
    """Another run has the cluster by now, for three days."""
    for cluster in books.clusters.values():
        cluster.resource_labels = labels(OTHER, "another", expires_in(72))


def refuse_once(books: Books) -> None:
    """A token is refused, for each call once."""
    books.faults += [Fault(each, Status.UNAUTHENTICATED, "the token has expired") for each in (*CALLS, *REST)]


def silence(books: Books) -> None:
    """The cluster's own zone does not answer a look over the project."""
    books.missing_zones = ("us-central1-b",)


VARIANTS = (
    Variant("label removed", unlabel),
    Variant("adopted by another run", adopt),
    Variant("401 once, each call", refuse_once),
    Variant("quota refused by 403", before=(("CreateCluster", Status.PERMISSION_DENIED, QUOTA_MESSAGE),)),
    Variant("its zone missing", silence),
)


def clean_up(books: Books, search: Callable[[], Plan], machine: Machine) -> str:
    """Do what `python -m flows.teardown` does, and tell how it ended: removed, left to whom, or refused and why."""
    before = count(books)
    plan, said = search(), ""
    for target in plan.targets:
        try:
            reaping.remove(target, machine, silent)
        except MeshlabError as problem:
            said = f"left to run {OTHER}" if OTHER in problem.message else f"refused: {problem.message}"
    check = reaping.nothing_left(plan, search, acted=True)
    if said:
        return said
    if any(OTHER in each for each in plan.stay):
        return f"left to run {OTHER}"
    if count(books) == 0:
        return REMOVED if before else NOTHING
    if check.verdict is Verdict.INFRA_ERROR:
        return f"not seen, exit 3: no answer for {', '.join(plan.unanswered)}"
    if check.verdict is Verdict.FAIL and f"python -m flows.teardown --run {RUN} --project p" in check.summary:
        return "left and told, exit 1: it has lost its labels"
    return f"left, {check.verdict.value}: {check.summary}"


def count(books: Books) -> int:
    return sum(map(len, books.left().values()))


def later() -> datetime:
    return datetime.now(UTC) + timedelta(days=1)
