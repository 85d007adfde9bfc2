"""Clusters of ours that nobody took down: found by label and age in every zone of a project."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import datetime

from google.cloud.container_v1.types import Cluster

from meshlab.clusters.gke.api import Rest
from meshlab.clusters.gke.cluster import seams_of
from meshlab.clusters.gke.names import OWNER, RUN, Place, expiry, is_ours
from meshlab.config.settings import GkeSettings
from meshlab.core.errors import CloudError

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Owned:
    """A cluster that this project made. expires: None where its label can't be read, so that age never condemns it."""

    place: Place
    run_id: str
    owner: str
    status: str
    expires: datetime | None

    def expired(self, now: datetime) -> bool:
        """Whether it has outlived the time that it was given."""
        return self.expires is not None and self.expires <= now

    def __str__(self) -> str:
        until = f"{self.expires:%Y-%m-%d %H:%M} UTC" if self.expires else "no readable date"
        return f"{self.place.path} ({self.status}) of run {self.run_id} by {self.owner}, expires: {until}"


@dataclass(frozen=True)
class Survey:
    """What a look over a whole project found.

    Attributes:
        ours: Clusters that carry our labels.
        foreign: How many clusters carry no label of ours.
        unanswered: Locations that did not answer: what is there could not be seen.
        now: Google's own time; None where it could not be learnt.
    """

    ours: tuple[Owned, ...]
    foreign: int
    unanswered: tuple[str, ...] = ()
    now: datetime | None = None


def survey(settings: GkeSettings) -> Survey:
    """Look at every cluster of the project, in all zones and regions. Raises CloudError where nobody answered."""
    seams = seams_of(settings)
    found, unanswered = seams.api().clusters()
    ours = [_owned(each, settings) for each in found if is_ours(each.resource_labels)]
    by_place = tuple(sorted(ours, key=lambda each: each.place))
    return Survey(by_place, len(found) - len(ours), unanswered, google_time(seams.rest()))


def google_time(rest: Rest) -> datetime | None:
    """Ask for something small, and take the time of the answer; None where nobody answers."""
    try:
        rest.listed("zones", "")
    except CloudError as problem:
        log.info("Google's time is not known: %s", problem.message)
    return rest.now()


def _owned(cluster: Cluster, settings: GkeSettings) -> Owned:
    labels = cluster.resource_labels
    place = Place(settings.project or "", cluster.location, cluster.name)
    return Owned(place, labels[RUN], labels.get(OWNER, "nobody"), cluster.status.name, expiry(labels))
