"""Clusters of ours that nobody took down: found by label and age in every zone of a project.

One that has lost its labels is known by its description, which names the run that made it, but not its age: it is told.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import datetime

from google.cloud.container_v1.types import Cluster

from meshlab.clusters.gke.api import Rest
from meshlab.clusters.gke.cluster import seams_of
from meshlab.clusters.gke.names import OWNER, RUN, Place, expiry, is_ours, maker
from meshlab.clusters.gke.stays import hourly, paid
from meshlab.config.settings import GkeSettings
from meshlab.core.errors import CloudError

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Owned:
    """A cluster that this project made.

    Attributes:
        place: Where it is.
        run_id: The run that made it, or has adopted it.
        owner: Who started that run.
        status: As the API names it.
        expires: None where its label can't be read, so that age never condemns it.
        hourly: What it costs an hour, US dollars; None where that is not known.
    """

    place: Place
    run_id: str
    owner: str
    status: str
    expires: datetime | None
    hourly: float | None = None

    @property
    def paid(self) -> str:
        """What it costs an hour, in words."""
        return paid(self.hourly)

    def expired(self, now: datetime) -> bool:
        """Whether it has outlived the time that it was given."""
        return self.expires is not None and self.expires <= now

    def __str__(self) -> str:
        until = f"{self.expires:%Y-%m-%d %H:%M} UTC" if self.expires else "no readable date"
        return f"{self.place.path} ({self.status}) of run {self.run_id} by {self.owner}, expires: {until}, {self.paid}"


@dataclass(frozen=True)
class Survey:
    """What a look over a whole project found.

    Attributes:
        ours: Clusters that carry our labels.
        foreign: How many clusters are not ours.
        unlabelled: Clusters that a run of ours made, by their descriptions, and that have lost their labels.
        unanswered: Locations that did not answer: what is there could not be seen.
        now: Google's own time; None where it could not be learnt.
    """

    ours: tuple[Owned, ...]
    foreign: int
    unanswered: tuple[str, ...] = ()
    now: datetime | None = None
    unlabelled: tuple[Owned, ...] = ()


def survey(settings: GkeSettings) -> Survey:
    """Look at every cluster of the project, in all zones and regions. Raises CloudError where nobody answered."""
    seams = seams_of(settings)
    found, unanswered = seams.api().clusters()
    ours, unlabelled = [], []
    for each in found:
        if is_ours(each.resource_labels):
            ours.append(_owned(each, settings, each.resource_labels[RUN]))
        elif (run_id := maker(each.description)) is not None:
            unlabelled.append(_owned(each, settings, run_id))
    foreign = len(found) - len(ours) - len(unlabelled)
    return Survey(_sorted(ours), foreign, unanswered, google_time(seams.rest()), _sorted(unlabelled))


def _sorted(found: list[Owned]) -> tuple[Owned, ...]:
    return tuple(sorted(found, key=lambda each: each.place))


def google_time(rest: Rest) -> datetime | None:
    """Ask for something small, and take the time of the answer; None where nobody answers."""
    try:
        rest.listed("zones", "")
    except CloudError as problem:
        log.info("Google's time is not known: %s", problem.message)
    return rest.now()


def _owned(cluster: Cluster, settings: GkeSettings, run_id: str) -> Owned:
    labels = cluster.resource_labels
    place = Place(settings.project or "", cluster.location, cluster.name)
    return Owned(
        place,
        run_id,
        labels.get(OWNER, "nobody"),
        cluster.status.name,
        expiry(labels),
        hourly(cluster, settings),
    )
