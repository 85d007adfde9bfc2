"""Clusters of ours that nobody took down: found by label and age in every zone of a project."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from google.cloud.container_v1.types import Cluster

from meshlab.clusters.gke.cluster import seams_of
from meshlab.clusters.gke.names import OWNER, RUN, Place, expiry, is_ours
from meshlab.config.settings import GkeSettings


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
    """What a look over a whole project found. foreign: how many clusters carry no label of ours."""

    ours: tuple[Owned, ...]
    foreign: int


def survey(settings: GkeSettings) -> Survey:
    """Every cluster of the project, in all zones and regions. Raises CloudError, also where one zone did not answer."""
    found = seams_of(settings).api().clusters()
    ours = [_owned(each, settings) for each in found if is_ours(each.resource_labels)]
    return Survey(tuple(sorted(ours, key=lambda each: each.place)), len(found) - len(ours))


def _owned(cluster: Cluster, settings: GkeSettings) -> Owned:
    labels = cluster.resource_labels
    place = Place(settings.project or "", cluster.location, cluster.name)
    return Owned(place, labels[RUN], labels.get(OWNER, "nobody"), cluster.status.name, expiry(labels))
