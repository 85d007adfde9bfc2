from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from meshlab.clusters.gke import access
from meshlab.clusters.gke.api import Backoff, Rest
from meshlab.clusters.gke.cluster import GkeCluster, Seams, api_of
from meshlab.clusters.gke.names import Place
from meshlab.config.settings import GkeSettings, Machine
from meshlab.core.waiting import Clock
from meshlab.run.journal import create
from meshlab.run.ledger import Ledger
from tests.fakes.gke.books import Books
from tests.fakes.gke.emulator import Emulator, running
from tests.fakes.gke.kube import FakeClusterKube

PATH = "projects/p/locations/us-central1-b/clusters/my-istio-cluster"


@pytest.fixture(scope="session")
def server() -> Iterator[Emulator]:
    """One emulator for all tests: starting a gRPC server takes longer than most of them."""
    with running(Books()) as emulator:
        yield emulator


@pytest.fixture
def emulator(server: Emulator) -> Emulator:
    """The emulator, its books empty."""
    server.books.__init__()  # type: ignore[misc]
    return server


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine.here({"HOME": str(tmp_path / "home")})


@pytest.fixture
def kube(emulator: Emulator) -> FakeClusterKube:
    return FakeClusterKube(emulator.books, PATH)


@pytest.fixture
def provider(
    emulator: Emulator, machine: Machine, kube: FakeClusterKube, tmp_path: Path
) -> Callable[..., GkeCluster]:
    """A provider for a run with a ledger of its own, in front of the emulator."""

    def make(
        run_id: str = "20260101t000000z-aaaa",
        *,
        ledger: bool = True,
        clock: Clock | None = None,
        **changes: object,
    ) -> GkeCluster:
        settings = emulator.settings(**changes)
        if ledger:
            Ledger.open(machine, create(tmp_path / "runs", "full-lab", run_id=run_id))
        return GkeCluster(settings, machine, run_id=run_id, seams=seams(settings, kube, clock))

    return make


def seams(settings: GkeSettings, kube: FakeClusterKube, clock: Clock | None = None) -> Seams:
    place = Place(settings.project or "", settings.zone, settings.name)
    quick = Backoff(first=0.01, longest=0.02, deadline=settings.retry_seconds)
    return Seams(
        api=lambda: api_of(settings, place, quick),
        rest=lambda: Rest(*access.session(settings), settings.project or "", quick),
        connect=lambda path, context: kube if place.path == PATH else FakeClusterKube(kube.books, place.path),  # type: ignore[arg-type,return-value]
        clock=clock,
    )


def ledger_of(machine: Machine, run_id: str = "20260101t000000z-aaaa") -> Ledger:
    ledger = Ledger.of(machine, run_id)
    assert ledger is not None
    return ledger
