"""What every cluster provider offers, and the small value that passes between steps."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from meshlab.core.progress import Progress


@dataclass(frozen=True)
class ClusterRef:
    """A cluster that answers. Carries no secret: the kubeconfig is a file of mode 0600 that this names.

    provider: local, existing or gke. context: the kubeconfig's context, None for its current one. nodes: how many are
    wanted (0: not ours to say). endpoint: the API server's URL. adopted: it was running before this run.
    started_seconds: from the first process to every node Ready, None when adopted or not ours. images: references of
    images of ours that its nodes were given.
    """

    provider: str
    name: str
    kubeconfig: Path
    context: str | None = None
    nodes: int = 0
    endpoint: str = ""
    adopted: bool = False
    started_seconds: float | None = None
    images: tuple[str, ...] = ()


@dataclass(frozen=True)
class Leftovers:
    """An inventory of what a provider's cluster has on this machine or in its cloud, by kind (processes, mounts, …)."""

    items: dict[str, tuple[str, ...]] = field(default_factory=dict)

    def __len__(self) -> int:
        return sum(len(names) for names in self.items.values())

    def counts(self) -> dict[str, int]:
        """Kind → how many, kinds without any included."""
        return {kind: len(names) for kind, names in self.items.items()}


class ClusterProvider(Protocol):
    """The same few methods, in the same order, for every provider."""

    def up(self, *, progress: Progress, stop: threading.Event | None = None) -> ClusterRef:
        """Make the cluster, or adopt it where it runs and is healthy.

        Args:
            progress: Told how far it came.
            stop: Ends what waits, and leaves the rest to `down`.

        Returns:
            The cluster, its nodes Ready.

        Raises:
            ClusterError: It can't be made.
            ClusterBusyError: Another run holds it.
            BuildError: Its programs can't be compiled.
        """

    def inventory(self) -> Leftovers:
        """What exists of it now."""

    def collect_logs(self, directory: Path) -> Sequence[Path]:
        """Copy what helps to understand a failure into `directory`."""

    def down(self, *, progress: Progress) -> None:
        """Remove it. Running it twice, or without a cluster, is fine. Raises ClusterError when something can't go."""
