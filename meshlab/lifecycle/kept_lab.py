"""A lab that stays up, to be looked at: its pages through port-forwards, and gentle traffic so that they show something.

A start page leads to them and draws live views of the mesh. The command line holds it all until Ctrl-C (`hold`);
docs/decisions tells when it does.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from meshlab.app.loop import RequestLoop
from meshlab.app.source import find_source
from meshlab.config.settings import LabConfig
from meshlab.core.address import host_port
from meshlab.core.errors import MeshlabError, Problem, QueryError
from meshlab.core.http import Getter
from meshlab.core.registry import instance
from meshlab.istio.facts import read_facts
from meshlab.kube.client import Kube
from meshlab.kube.portforward import PortForward
from meshlab.observability.addons.addon import Addon
from meshlab.observability.addons.grafana import GRAFANA
from meshlab.observability.addons.jaeger import JAEGER
from meshlab.observability.addons.kiali import KIALI
from meshlab.observability.addons.prometheus import PROMETHEUS
from meshlab.observability.pages import server
from meshlab.observability.pages.live import Sources, views
from meshlab.observability.pages.server import PageServer
from meshlab.observability.pages.start_page import StartPage

log = logging.getLogger(__name__)
PAGE_TIMEOUT = 15.0  # seconds that a page gets to answer
WATCH_EVERY = 5.0  # seconds between looks at the gentle loop
SHOP = "productpage:9080/productpage"
START = "start page"
ABSENT = "does not run here; see the run's report.html"
INSTEAD = "API only; its part of the run's report.html shows what it knows"


@dataclass(frozen=True)
class Place:
    """Where a page may be. stand_in: words of a page that is shown where the real one was not compiled in."""

    name: str
    namespace: str
    service: str
    port: int
    path: str = "/"
    stand_in: str = ""


@dataclass(frozen=True)
class Link:
    """One of the lab's pages.

    Attributes:
        name: Whose it is.
        url: Where it is; "" where nothing can be opened.
        note: What is there instead of a page.
        kind: `page`, or `api` where only an API answers at the URL.
    """

    name: str
    url: str = ""
    note: str = ""
    kind: Literal["page", "api"] = "page"


def page_problems(config: LabConfig) -> list[Problem]:
    """Find out why the start page could not be served. Touches nothing."""
    return server.problems(config.pages.port)


def places(config: LabConfig) -> tuple[Place, ...]:
    """The pages that the document opens, in its order."""
    return (
        Place("productpage", config.namespace, "productpage", 9080, "/productpage"),
        _place(PROMETHEUS, config),
        _place(GRAFANA, config),
        _place(JAEGER, config, "/jaeger/", "not the Jaeger UI"),
        _place(KIALI, config, "/kiali/"),
    )


def _place(addon: Addon[Any], config: LabConfig, path: str = "/", stand_in: str = "") -> Place:
    return Place(addon.title, addon.namespace(config), addon.service, addon.port, path, stand_in)


@dataclass(frozen=True)
class Shown:
    """What the start page shows beside the cluster's own.

    name: of the lab. directory: of the run whose report it links to. samples: Istio's, with the dashboards;
    why_no_samples: why they are not known.
    """

    name: str = "meshlab"
    directory: Path | None = None
    samples: Path | None = None
    why_no_samples: str = ""


class KeptLab:
    """Port-forwards to every page that is there, the start page, and the gentle loop.

    `close` ends them; the lab stays as it is.

    start: where the start page is. links: one for each place; both are known once it is open. loop_note: why there is
    no traffic, "" where there is.
    """

    def __init__(self, kube: Kube, config: LabConfig, shown: Shown | None = None) -> None:
        self._kube, self._config, self._shown = kube, config, shown or Shown()
        self._stack = ExitStack()
        self._loop: RequestLoop | None = None
        self._forwards: dict[str, str] = {}
        self.start = Link(START)
        self.links: tuple[Link, ...] = ()
        self.loop_note = ""

    def open(self) -> KeptLab:
        """Open what is there. A place that does not answer becomes a link without an address, never an error."""
        try:
            self._send()
            self.links = tuple(self._link(place) for place in places(self._config))
            self.start = self._serve()
        except BaseException:
            self.close()
            raise
        return self

    def close(self) -> None:
        """End the loop and the port-forwards. May be called twice."""
        if self._loop is not None:
            self._loop.stop_and_drain()
            self._loop = None
        self._stack.close()

    def hold(self, *, stop: threading.Event | None = None, every: float = WATCH_EVERY) -> None:
        """Keep it all up until `stop` is set, or a signal's exception ends the wait.

        A loop that ended begins anew.

        Args:
            stop: Ends the wait.
            every: Seconds between two looks at the loop.
        """
        stop = stop or threading.Event()
        while not stop.wait(every):
            if self._loop is None or not self._loop.running:
                self._send()

    def _send(self) -> None:
        """Start the gentle loop. That it can't run is said, and tried again: pods come and go."""
        self._loop = None
        try:
            source = find_source(self._kube, self._config.namespace)
            loop = RequestLoop(self._kube, source, SHOP, interval=self._config.traffic.gentle_interval)
            self._loop = loop.start()
            self.loop_note = ""
        except MeshlabError as problem:
            self.loop_note = problem.message
            log.warning("no gentle traffic: %s", problem.message)

    def _serve(self) -> Link:
        """Serve the start page. Where it can't be, that is said: the other pages are open all the same."""
        sources = Sources(
            self._forwards.get(PROMETHEUS.title),
            self._forwards.get(JAEGER.title),
            self._shown.samples,
            self._shown.why_no_samples,
        )
        try:
            domain = read_facts(self._kube, self._config.namespace).cluster_domain
            shown = views(self._config, sources, domain=domain)
            links = [asdict(link) for link in self.links]
            page = StartPage(self._shown.name, links, shown, self._shown.directory)
            pages = PageServer(page.answer, self._config.pages.port).open()
        except MeshlabError as problem:
            log.warning("%s", problem.message)
            return Link(START, note=problem.message)
        self._stack.callback(pages.close)
        return Link(START, pages.url)

    def _link(self, place: Place) -> Link:
        try:
            if self._kube.get("v1", "Service", place.service, place.namespace) is None:
                return Link(place.name, note=ABSENT)
            forward = self._stack.enter_context(
                PortForward(self._kube, namespace=place.namespace, port=place.port, service=place.service)
            )
        except MeshlabError as problem:
            return Link(place.name, note=f"can't be reached: {problem.message}")
        self._forwards[place.name] = forward.url
        return probe(place, forward.url, why=lambda: forward.last_error.message if forward.last_error else "")


def probe(place: Place, url: str, *, why: Callable[[], str] | None = None) -> Link:
    """Look whether a page answers at a place: with 200, and HTML that is the page's own.

    Args:
        place: What should be there.
        url: Where it is asked.
        why: Asked why there is no connection.

    Returns:
        The link; of kind `api` where something else than a page answers, without a URL where nothing does.
    """
    asked = Getter(url, timeout=PAGE_TIMEOUT, name=place.name, remedy="look at its pod", why=why)
    try:
        answer = asked.get(place.path)
    except QueryError as problem:
        return Link(place.name, note=f"does not answer: {problem.message}")
    page = answer.status == 200 and "<html" in answer.text[:2000].lower()
    if not page or (place.stand_in and place.stand_in in answer.text):
        return Link(place.name, url, INSTEAD, "api")
    return Link(place.name, f"{url}{place.path}")


def links_to_pods(kube: Kube, config: LabConfig) -> tuple[Link, ...]:
    """Link to the pages at their pods' own addresses, which a machine reaches whose own cluster it is.

    They need no port-forward, so they lead somewhere for as long as the pods live.

    Args:
        kube: Client of the cluster.
        config: The settings.

    Returns:
        One link for each place.
    """
    return tuple(_link_to_pod(kube, place) for place in places(config))


def _link_to_pod(kube: Kube, place: Place) -> Link:
    try:
        service = kube.get("v1", "Service", place.service, place.namespace)
        slices = kube.objects("discovery.k8s.io/v1", "EndpointSlice", place.namespace)
    except MeshlabError as problem:
        return Link(place.name, note=f"can't be reached: {problem.message}")
    if service is None:
        return Link(place.name, note=ABSENT)
    names = [each.get("name") or "" for each in service["spec"]["ports"] if each["port"] == place.port]
    for found in slices:
        if (found["metadata"].get("labels") or {}).get("kubernetes.io/service-name") != place.service:
            continue
        ports = [each["port"] for each in found.get("ports") or [] if (each.get("name") or "") in names]
        ready = [e for e in found.get("endpoints") or [] if (e.get("conditions") or {}).get("ready", True)]
        if ports and ready:
            return probe(place, f"http://{host_port(ready[0]['addresses'][0], ports[0])}")
    return Link(place.name, note="no pod of it is Ready")


class _Terminal:
    """What the command line of this process and its flow hand each other."""

    def __init__(self) -> None:
        self.serves_pages = False
        self.kept: KeptLab | None = None


def serve_pages(wanted: bool) -> None:
    """Note whether the command line will keep the pages open once the flow of this process has ended."""
    instance(_Terminal).serves_pages = wanted


def serves_pages() -> bool:
    """Return whether the command line keeps the pages open; it does not where a worker runs the flow."""
    return instance(_Terminal).serves_pages


def hand_over(kept: KeptLab) -> None:
    """Give the open pages to the command line, which closes them."""
    instance(_Terminal).kept = kept


def take_kept_lab() -> KeptLab | None:
    """Return the pages that the flow has opened, once; later calls give None."""
    terminal = instance(_Terminal)
    kept, terminal.kept = terminal.kept, None
    return kept


def lines(links: Sequence[Link], loop_note: str = "") -> list[str]:
    """Say on the terminal what can be opened.

    Args:
        links: The pages.
        loop_note: Why there is no traffic; "" where there is.

    Returns:
        The lines.
    """
    said = [f"{link.name:<12} {' '.join(filter(None, (link.url, link.note)))}" for link in links]
    traffic = f"none: {loop_note}" if loop_note else "a request to productpage every 1 to 2 s"
    return [*said, f"{'traffic':<12} {traffic}"]
