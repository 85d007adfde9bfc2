"""The egress, closed for one caller: first everything is allowed, then only what is declared."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass

from meshlab.app.bookinfo import PAGE_PATH, PORT, PRODUCTPAGE, SLEEPER
from meshlab.app.once import n_requests
from meshlab.app.source import Source, find_source
from meshlab.app.traffic_clients import CALLER
from meshlab.core.address import host_port
from meshlab.envoy.stats import SidecarReader
from meshlab.istio.acknowledge import wait_acknowledged
from meshlab.istio.istioctl import Istioctl
from meshlab.istio.mesh import Mesh
from meshlab.kube.changes import Changes
from meshlab.kube.client import Kube
from meshlab.kube.pods import PodSummary, serving
from meshlab.kube.rollout import wait_deployments
from meshlab.security.gateways import answering, egress
from meshlab.security.gateways.egress import DECLARED, OUTSIDE, PAGE, TEXT, UNDECLARED
from meshlab.security.gateways.entry import ROLLOUT_TIMEOUT
from meshlab.security.gateways.ingress import Alter, unchanged
from meshlab.security.gateways.settled import wait_clusters
from meshlab.security.gateways.trials import Answer, Trial

REQUEST_TIMEOUT = 5.0  # seconds
REFUSALS = ("502", "000")  # an HTTP route to nowhere, a closed connection: what REGISTRY_ONLY answers
EXITS = {52: "empty reply", 56: "connection reset", 35: "connection closed"}  # curl's, of a closed connection


@dataclass(frozen=True)
class Passed:
    """Requests to a host that the egress gateway's pods have counted.

    metric: by their request metric (port 15090); attempts: by their own count per endpoint.
    """

    metric: int
    attempts: int

    def __sub__(self, other: Passed) -> Passed:
        return Passed(self.metric - other.metric, self.attempts - other.attempts)


class EgressProbe:
    """The caller, the pod outside, and the gateway between them.

    mesh: its facts, for the app's namespace. outside: the namespace of the pod outside the mesh, made unless it is the app's.
    gateways: the egress gateway's pods; without them nothing is declared. alter: what a planted fault makes
    of the objects that close the egress. fit: what the settings make of the pod outside. changes puts everything
    back; that is its owner's to do.
    """

    def __init__(
        self,
        kube: Kube,
        istioctl: Istioctl,
        changes: Changes,
        mesh: Mesh,
        outside: str,
        *,
        gateways: Sequence[PodSummary] = (),
        alter: Alter = unchanged,
        fit: Alter = unchanged,
    ) -> None:
        self.kube, self._istioctl, self._changes = kube, istioctl, changes
        self.mesh, self.namespace, self.outside = mesh, mesh.namespace, outside
        self._alter, self._fit = alter, fit
        self.gateways = gateways
        self._address = ""

    def begin(self) -> None:
        """Put the pod outside up, and allow the caller everything. Raises as `Changes` and the waits do."""
        namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": self.outside}}
        image = answering.proxy_image(self.kube, self.namespace, *self.mesh.istio_namespaces)
        self._changes.apply(
            *self._fit([namespace] if self.outside != self.namespace else []),
            *self._fit(egress.outside_pod(self.outside, image)),
            *self._fit([egress.outbound_policy(self.namespace, "ALLOW_ANY")]),
        )
        with ThreadPoolExecutor(max_workers=1, thread_name_prefix="outside") as pool:
            ready = pool.submit(wait_deployments, self.kube, self.outside, [OUTSIDE], timeout=ROLLOUT_TIMEOUT)
            self._acknowledged()
            ready.result()
        self._address = self.kube.pods(self.outside, f"app={OUTSIDE}")[0].ip

    def close(self) -> None:
        """Allow the caller only what the mesh knows; where there is an egress gateway, declare one host."""
        policy = [egress.outbound_policy(self.namespace, "REGISTRY_ONLY")]
        declared = egress.through_gateway(self.mesh, self.outside) if self.gateways else []
        self._changes.apply(*self._fit(self._alter([*policy, *declared])))
        self._acknowledged()

    def answered(self) -> int:
        """Requests that the pod outside has answered, by its own count."""
        return answering.answered(self.kube, self.outside, OUTSIDE)

    def passed(self) -> Passed:
        """Requests to the declared host that the egress gateway has counted."""
        wanted = self.mesh.service_host(DECLARED, self.outside)
        with ExitStack() as stack:
            reader = stack.enter_context(SidecarReader(self.kube, self.mesh.egress_namespace))
            pods = [pod.name for pod in self.gateways]
            metric = sum(
                sample.value
                for pod in pods
                for sample in reader.stats(pod)
                if sample.get("destination_service") == wanted
            )
            attempts = sum(each.total for pod in pods for each in reader.attempts(pod, wanted))
        return Passed(int(metric), attempts)

    # ── requests

    def known(self) -> Trial:
        """A service of the mesh: the control that the caller can send at all."""
        url = f"http://{host_port(f'{PRODUCTPAGE.app}.{self.namespace}', PORT)}{PAGE_PATH}"
        return self._trial("a service of the mesh", url, passes=True, text="")

    def undeclared(self, *, passes: bool, control: str = "") -> Trial:
        """Ask the host that the mesh does not know.

        Args:
            passes: Whether the request must get an answer; else it must be refused.
            control: The trial that shows that a refused request could pass.

        Returns:
            The trial.
        """
        url = f"http://{self.mesh.service_host(UNDECLARED, self.outside)}{PAGE}"
        return self._trial("undeclared host", url, passes=passes, control=control)

    def direct(self, *, passes: bool, control: str = "") -> Trial:
        """Ask the declared host's pod by its address: the path around the egress gateway.

        Args:
            passes: Whether the request must get an answer; else it must be refused.
            control: The trial that shows that a refused request could pass.

        Returns:
            The trial.
        """
        url = f"http://{host_port(self._address, answering.PORT)}{PAGE}"
        return self._trial("direct, by address", url, passes=passes, control=control)

    def declared(self) -> Trial:
        """The declared host, which must go through the egress gateway."""
        return self._trial(
            "declared host", f"http://{self.mesh.service_host(DECLARED, self.outside)}{PAGE}", passes=True
        )

    def around(self) -> Trial:
        """The declared host from a pod without a sidecar, which no policy of the mesh holds."""
        url = f"http://{self.mesh.service_host(DECLARED, self.outside)}{PAGE}"
        return self._trial("from a pod without a sidecar", url, passes=True, selector=CALLER.selector)

    def _trial(
        self,
        name: str,
        url: str,
        *,
        passes: bool,
        control: str = "",
        text: str = TEXT,
        selector: str = SLEEPER.selector,
    ) -> Trial:
        expected = "200" if passes else "refused"
        source = find_source(self.kube, self.namespace, selector)
        return Trial(
            name,
            f"GET {url} from {source.pod}",
            expected,
            lambda: self._ask(source, url, passes, text),
            control,
        )

    def _ask(self, source: Source, url: str, passes: bool, text: str) -> Answer:
        asked = n_requests(self.kube, source, url, 1, expect=text, request_timeout=REQUEST_TIMEOUT)
        status = next(iter(asked.by_status))
        code = next(iter(asked.exit_codes), 0)
        refused = status in REFUSALS and (status != "000" or code in EXITS)
        if refused:
            return Answer(f"refused: {EXITS[code] if status == '000' else status}", not passes)
        told = f"{status}, curl ended with {code}" if code else status
        return Answer(told, passes and asked.passed == 1)

    def _acknowledged(self) -> None:
        pods = [*serving(self.kube.pods(self.namespace, SLEEPER.selector)), *self.gateways]
        wait_acknowledged(self.kube, self._istioctl, pods)
        wait_clusters(self.kube, pods)
