"""A lab that is kept for a part of the benchmarks, and goes with it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks import lab_by_hand
from benchmarks.commands import CLUSTER, LAB, NAME, NETWORK, Bench
from meshlab.config.settings import LabConfig, LocalSettings
from meshlab.istio.distribution import Distribution
from meshlab.istio.images import in_cluster
from meshlab.kube.client import Kube


@dataclass(frozen=True)
class Kept:
    """A kept lab. config: as it was made with. distribution: its Istio."""

    run: Path
    config: LabConfig
    kubeconfig: Path
    kube: Kube
    distribution: Distribution

    @property
    def images(self) -> tuple[str, ...]:
        """References of our images in it."""
        return in_cluster(self.kube)

    @property
    def night(self) -> tuple[str, ...]:
        """The words of a night on it."""
        return night_words(str(self.kubeconfig))


def night_words(kubeconfig: str) -> tuple[str, ...]:
    """The words of a night on a kept lab's cluster, which is then one of somebody else's."""
    own = ("--set", "istio.distribution=embedded", "--set", "images=embedded")
    return ("--kubeconfig", kubeconfig, *own)


@contextmanager
def lab(bench: Bench, name: str, *more: str) -> Iterator[Kept]:
    """Bring a lab up, keep it while the block runs, and take its cluster down.

    Args:
        bench: Starts it.
        name: Of the folder that gets its run.
        *more: Words of its command line.

    Yields:
        It.

    Raises:
        MeshlabError: It does not pass.
    """
    try:
        _, run = bench.lab(name, *LAB, "--keep", *more)
        kubeconfig = Path(lab_by_hand.result_of(run, "start-cluster")["kubeconfig"])
        config = LabConfig(local=LocalSettings(name=NAME, network=NETWORK))
        distribution = lab_by_hand.distribution_of(run)
        yield Kept(run, config, kubeconfig, Kube.connect(kubeconfig), distribution)
    finally:
        bench.python("meshlab.clusters.local", "down", *CLUSTER)
