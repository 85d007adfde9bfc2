"""What a mesh has to be asked, and how: its metrics as they are scraped, and its tracing. What it lacks is a NotHereError."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from meshlab.config.settings import LabConfig
from meshlab.core.errors import IstioError, NotHereError
from meshlab.core.patience import LEAST, patience_of
from meshlab.core.registry import instance
from meshlab.istio.mesh import Mesh
from meshlab.istio.tracing import find_provider
from meshlab.kube.client import Kube
from meshlab.observability.addons.jaeger import JAEGER
from meshlab.observability.addons.jaeger_client import JaegerClient
from meshlab.observability.addons.prometheus import PROMETHEUS
from meshlab.observability.addons.query import PrometheusClient
from meshlab.observability.addons.scraping import USUAL, Scraping, read_scraping, scrape_job
from meshlab.run.journal import RunRef

SCRAPES = 2  # that a wait for new ones must have time for
TOLD_BY = "prometheus.targets"  # the check that says what to do where no sidecar is scraped


class _Known:
    """How this run's Prometheus scrapes our pods, once it was read; None: it does not."""

    def __init__(self) -> None:
        self.read, self.scraping = False, USUAL
        self.not_scraped = ""


@contextmanager
def metrics(run: RunRef, kube: Kube, config: LabConfig) -> Iterator[PrometheusClient]:
    """Open the way to the mesh's Prometheus; the first time on somebody else's mesh, read how it scrapes our pods.

    Args:
        run: The run.
        kube: Client of the cluster.
        config: The settings.

    Yields:
        Its client.

    Raises:
        NotHereError: The mesh has no Prometheus, or one that scrapes no sidecar of ours.
        MeshlabError: It can't be asked.
    """
    with PROMETHEUS.open(kube, config) as client:
        known = instance(_Known, run.run_id)
        if not known.read and not config.ours:
            _read(run, kube, config, client, known)
        if known.not_scraped:
            raise NotHereError(known.not_scraped, remedy=scrape_job(), told_by=TOLD_BY)
        yield client


def scraping_of(run: RunRef, config: LabConfig) -> Scraping:
    """Return how the run's Prometheus scrapes our pods, as far as it was read; on a cluster of ours as we told it.

    Args:
        run: The run.
        config: The settings.

    Returns:
        How.
    """
    if config.ours:
        return Scraping(float(config.prometheus.scrape_seconds)) if config.tuned else USUAL
    return instance(_Known, run.run_id).scraping


def answer_timeout(run: RunRef, config: LabConfig) -> float:
    """Return the seconds until a series must be there: those of the settings, more where scrapes are rare.

    Args:
        run: The run.
        config: The settings.

    Returns:
        Seconds.
    """
    return scraping_of(run, config).patient(config.prometheus.answer_timeout)


@contextmanager
def scraped_within(run: RunRef, config: LabConfig) -> Iterator[float]:
    """Give a wait for new scrapes its time of the run's.

    Args:
        run: The run.
        config: The settings.

    Yields:
        Seconds: two scrapes at least, whatever else was absent in this run.
    """
    least = SCRAPES * scraping_of(run, config).seconds + LEAST
    with patience_of(run.run_id).awaiting(answer_timeout(run, config), least=least) as seconds:
        yield seconds


@contextmanager
def traces(kube: Kube, config: LabConfig, mesh: Mesh) -> Iterator[JaegerClient]:
    """Open the way to the mesh's traces.

    Args:
        kube: Client of the cluster.
        config: The settings.
        mesh: The facts of the mesh.

    Yields:
        Its client.

    Raises:
        NotHereError: The mesh has no tracing.
        MeshlabError: It can't be asked.
    """
    if reason := why_no_tracing(kube, config, mesh):
        remedy = f"{JAEGER.set_remedy()}; and name the collector in meshConfig.extensionProviders"
        raise NotHereError(reason, remedy=remedy)
    with JAEGER.open(kube, config) as client:
        yield client


def why_no_tracing(kube: Kube, config: LabConfig, mesh: Mesh) -> str:
    """Say why a mesh of somebody else has no tracing.

    Args:
        kube: Client of the cluster.
        config: The settings.
        mesh: The facts of the mesh.

    Returns:
        The reason; "" where it has, and on a cluster of ours, where it would be a fault.
    """
    if config.ours:
        return ""
    if reason := JAEGER.lacking(kube, config):
        return reason
    try:
        find_provider(kube, mesh, anywhere=True)
    except NotHereError as problem:
        return problem.message
    except IstioError:
        return ""  # it is there and broken, which the check will say
    return ""


def _read(run: RunRef, kube: Kube, config: LabConfig, client: PrometheusClient, known: _Known) -> None:
    pods = [pod.name for pod in kube.pods(config.namespace) if not pod.deleting]
    if not pods:
        return  # nothing of ours is there yet that could be scraped
    patience = patience_of(run.run_id)
    with patience.awaiting(config.prometheus.answer_timeout) as timeout:
        found = read_scraping(client, config.namespace, pods, timeout=timeout, clock=patience.clock)
    known.read = True
    if found is not None:
        known.scraping = found
        return
    place = PROMETHEUS.place(kube, config)
    where = place.where if place is not None else "Prometheus"
    known.not_scraped = f"{where} scrapes other things, and none of the sidecars in {config.namespace}"
