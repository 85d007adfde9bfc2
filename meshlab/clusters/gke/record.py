"""What a run writes down about its GKE cluster, in the ledger, before and while it makes it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import Any

from google.cloud.container_v1.types import Cluster

from meshlab.clusters.gke.leftovers import Balancer
from meshlab.clusters.gke.names import EXPIRES, OWNER, RUN, Place, label_value, maker
from meshlab.config.settings import GkeSettings, Machine
from meshlab.run.ledger import Entry, Ledger

KEY = "gke"  # of the ledger's notes
WHERE = "gke:"  # how the place of an entry begins


class ClusterRecord:
    """One cluster's lines in one run's ledger. Without a ledger (a reaper has none) nothing is written."""

    def __init__(self, place: Place, machine: Machine, run_id: str) -> None:
        self.place = place
        self._machine, self._run_id = machine, run_id

    @property
    def ledger(self) -> Ledger | None:
        """The run's ledger, None without one."""
        return Ledger.of(self._machine, self._run_id)

    @property
    def id(self) -> str | None:
        """The id that the cloud gave the cluster, as the run wrote it down; None where it did not learn it."""
        found = self.ledger.noted(KEY).get("id") if self.ledger is not None else None
        return str(found) if found else None

    def is_of(self, cluster: Cluster) -> bool:
        """Tell whether the run made this cluster.

        By its id; where the run never learned one, by the run that its description names; else as it asked for one.
        """
        if self.id is not None:
            return cluster.id == self.id
        if (named := maker(cluster.description)) is not None:
            return named == label_value(self._run_id)
        return self.ledger is not None and bool(self.ledger.noted(KEY).get("asked"))

    def is_surely_of(self, cluster: Cluster) -> bool:
        """Tell whether the run made this cluster, by its id or its description: having asked for one is no proof."""
        known = self.id is not None or maker(cluster.description) is not None
        return known and self.is_of(cluster)

    def asked(self) -> None:
        """Write down, before it is sent, that a cluster is asked for: the answer may be lost."""
        if self.ledger is not None:
            self.ledger.note(KEY, {"asked": True})

    @property
    def entry(self) -> Entry:
        """The cluster's own line."""
        return entry_of(self.place)

    def intend(self, labels: Mapping[str, str], settings: GkeSettings) -> None:
        """Write down, durably, what will be made: before any call that makes something.

        Args:
            labels: The cluster's.
            settings: What is asked for.
        """
        if self.ledger is None:
            return
        facts = {"run_id": labels[RUN], "owner": labels[OWNER], "expires": labels[EXPIRES]}
        self.ledger.note(KEY, {**facts, "settings": settings.model_dump(mode="json", exclude_defaults=True)})
        self.ledger.intend(self.entry)

    def made(self, cluster: Cluster) -> None:
        """Write down what the cloud says that it made."""
        if self.ledger is not None:
            self.ledger.note(
                KEY, {"id": cluster.id, "self_link": cluster.self_link, "endpoint": cluster.endpoint}
            )

    def balancers_appeared(self, found: Iterable[Balancer]) -> None:
        """Add load balancers, with an entry for each and their addresses once they have one."""
        if self.ledger is None:
            return
        known = {each["uid"]: each for each in self.balancers()}
        fresh = {each.uid: asdict(each) for each in found}
        for each in fresh.values():
            self.ledger.intend(Entry("load-balancer", each["name"], f"{WHERE}{self.place.path}"))
        if fresh != {uid: known.get(uid) for uid in fresh}:
            self.ledger.note(KEY, {"balancers": list({**known, **fresh}.values())})

    def balancers(self) -> list[dict[str, Any]]:
        """uid, name and address of each load balancer that was seen."""
        return list(self.ledger.noted(KEY).get("balancers", ())) if self.ledger is not None else []

    def held_by(self, cluster: Cluster) -> str | None:
        """The living run of this machine that holds a cluster, by its label; None where none does, or it is this one."""
        label = cluster.resource_labels.get(RUN, "")
        other = Ledger.of(self._machine, label) if label != self._run_id else None
        return label if other is not None and self.entry in other.entries() and other.owner_lives() else None


def settings_of(ledger: Ledger) -> GkeSettings:
    """The settings with which a run made its cluster."""
    return GkeSettings.model_validate(ledger.noted(KEY).get("settings", {}))


def entry_of(place: Place) -> Entry:
    """A cluster's line in a ledger."""
    return Entry("cluster", place.name, f"{WHERE}{place.parent}")


def disown(place: Place, ledger: Ledger) -> None:
    """Strike a cluster that another run has adopted out of the ledger of the dead run that made it.

    Args:
        place: Where the cluster is.
        ledger: Of the dead run.
    """
    for each in ledger.entries():
        if each.where in (f"{WHERE}{place.parent}", f"{WHERE}{place.path}"):
            ledger.gone(each)
    if ledger.flow_run is None:
        ledger.close()
