"""Ways around the egress gateway, asked with and without the NetworkPolicy that closes them.

The mesh holds none of them: a pod without a sidecar, a program of the proxy's own user, a port that the proxy was told to
leave alone, and here an address, because the caller's proxy lets everything pass.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from meshlab import manifests
from meshlab.app.once import n_requests
from meshlab.app.source import Source, find_source
from meshlab.app.traffic_clients import CALLER
from meshlab.core.address import host_port
from meshlab.core.errors import KubeError, NotHereError
from meshlab.core.waiting import Clock, wait, wait_or_last
from meshlab.istio.acknowledge import wait_acknowledged
from meshlab.istio.istioctl import Istioctl
from meshlab.istio.mesh import Mesh
from meshlab.kube.changes import Changes
from meshlab.kube.client import Kube
from meshlab.kube.pods import serving
from meshlab.kube.rollout import wait_deployments
from meshlab.security.gateways import answering
from meshlab.security.gateways.egress import DECLARED, OUTSIDE, PAGE, TEXT, UNDECLARED
from meshlab.security.gateways.entry import ROLLOUT_TIMEOUT
from meshlab.security.gateways.exit import EgressProbe, Passed
from meshlab.security.gateways.ingress import Alter, Document, unchanged
from meshlab.security.gateways.settled import wait_clusters
from meshlab.security.gateways.trials import ROUNDS, Answer, Trial, Tried, in_turn

NAME, PROXY_USER, SELECTOR = "meshlab-bypass", "proxy-user", "app=meshlab-bypass"
EXCLUDED, EXCLUDED_PORT = "excluded", 8081  # the Service of the pod beyond, on a port of its own
REQUEST_TIMEOUT = 3.0  # seconds; an answer takes some milliseconds
TAKES = 20.0  # seconds until the nodes keep a NetworkPolicy, or never do
# curl's exit codes of a connection that a NetworkPolicy stops: packets are dropped, or answered by the node.
STOPPED = {7: "no connection", 28: "no answer in time", 52: "empty reply", 56: "connection reset"}
NO_WAY = ("502", "503", "504")  # the caller's proxy, when it gets no connection itself


@dataclass(frozen=True)
class Ways:
    """What was asked at one time, in turn.

    around: each way past the egress gateway. through: its own way. answered: how many of all these requests reached
    the destination. passed: how many the gateway counted.
    """

    around: tuple[Tried, ...]
    through: Tried
    answered: int
    passed: Passed


class BypassProbe:
    """The callers, and the policy around them.

    exit_: the egress as `EgressProbe.close` leaves it: the declared host leads through the gateway. changes: of the
    callers; fence: of the policies. Their owner puts back what they hold. images: gives the caller its images.
    alter: what a planted fault makes of the policy.
    """

    def __init__(
        self,
        kube: Kube,
        istioctl: Istioctl,
        changes: Changes,
        fence: Changes,
        exit_: EgressProbe,
        *,
        images: Callable[[Sequence[Mapping[str, Any]]], list[Document]],
        alter: Alter = unchanged,
        clock: Clock | None = None,
    ) -> None:
        self._kube, self._istioctl, self._changes, self._fence = kube, istioctl, changes, fence
        self._exit, self._images, self._alter, self._clock = exit_, images, alter, clock
        self._mesh: Mesh = exit_.mesh
        self._made = made(exit_.mesh, exit_.outside)

    def begin(self) -> None:
        """Put the caller up. Raises NotHereError where the cluster enforces no NetworkPolicy, else as the waits do."""
        self._changes.apply(self._made["service"])
        if not self.enforced():
            raise NotHereError(
                "NetworkPolicies are not enforced here: with one that lets nothing out, a pod was served all the same",
                remedy="use a CNI plugin that enforces them; on the local cluster set local.network_policy",
            )
        self._changes.apply(*self._images([self._made["caller"]]), self._made["sidecar"])
        wait_deployments(self._kube, self._mesh.namespace, [NAME], timeout=ROLLOUT_TIMEOUT)
        pods = [*serving(self._kube.pods(self._mesh.namespace, SELECTOR)), *self._exit.gateways]
        wait_acknowledged(self._kube, self._istioctl, pods)
        wait_clusters(self._kube, pods)

    def enforced(self) -> bool:
        """Try a policy that lets nothing out of a pod: whether it holds, three times in a row.

        Raises:
            KubeError: The pod is refused without a policy, too, so nothing can be told.
            WaitTimeout: It is still refused once the policy is gone.
        """
        plain = self._plain
        if n_requests(self._kube, plain, self._address, 1, request_timeout=REQUEST_TIMEOUT).served != 1:
            raise KubeError(
                f"{plain.pod} can't reach {self._address} even without a policy of this run",
                remedy="see which NetworkPolicies select it",
            )
        self._fence.apply(self._made["probe"])
        try:
            self._until_stopped([plain])
            tried = n_requests(self._kube, plain, self._address, ROUNDS, request_timeout=REQUEST_TIMEOUT)
        finally:
            self._fence.restore()
        wait(
            f"{plain.pod} to be served again",
            lambda: n_requests(self._kube, plain, self._address, 1, request_timeout=REQUEST_TIMEOUT).served,
            ready=lambda served: served == 1,
            timeout=TAKES,
            clock=self._clock,
            remedy="see which NetworkPolicies select it",
        )
        return tried.served == 0

    def close(self) -> None:
        """Apply the policy, and wait until the nodes keep it: the callers' other requests stop.

        What is asked for meanwhile is none of the ways, so the ways are asked once it holds, and judged then. After
        TAKES seconds they are asked whatever became of it.
        """
        self._fence.apply(*self._alter([self._made["policy"]]))
        self._until_stopped([self._plain, self._caller()])

    def open(self) -> None:
        """Take the policy away."""
        self._fence.restore()

    def ask(self, *, passes: bool) -> Ways:
        """Ask every way, and the gateway's own beside each of them.

        Args:
            passes: Whether the ways around must get an answer; else they must be stopped.

        Returns:
            What came of them.

        Raises:
            ExecError: A request can't be sent.
            QueryError: The destination or the gateway does not tell its count.
            KubeError: The API server refuses something.
        """
        answered, passed = self._exit.answered(), self._exit.passed()
        *around, through = in_turn([*self._around(passes), self._through()])
        return Ways(tuple(around), through, self._exit.answered() - answered, self._exit.passed() - passed)

    # ── requests

    @property
    def _address(self) -> str:
        """The pod beyond, by its address."""
        ip = self._kube.pods(self._exit.outside, f"app={OUTSIDE}")[0].ip
        return f"http://{host_port(ip, answering.PORT)}{PAGE}"

    @property
    def _plain(self) -> Source:
        return find_source(self._kube, self._mesh.namespace, CALLER.selector)

    def _caller(self, container: str = "") -> Source:
        found = find_source(self._kube, self._mesh.namespace, SELECTOR)
        return replace(found, container=container) if container else found

    def _url(self, service: str, port: int | None = None) -> str:
        host = self._mesh.service_host(service, self._exit.outside)
        return f"http://{host_port(host, port) if port else host}{PAGE}"

    def _around(self, passes: bool) -> list[Trial]:
        caller, user, plain = self._caller(), self._caller(PROXY_USER), self._plain
        return [
            self._trial("a program of the proxy's user (1337)", user, self._url(UNDECLARED), passes),
            self._trial("a pod without a sidecar", plain, self._url(UNDECLARED), passes),
            self._trial("a port excluded from the proxy", caller, self._url(EXCLUDED, EXCLUDED_PORT), passes),
            self._trial("an address", caller, self._address, passes),
        ]

    def _through(self) -> Trial:
        return self._trial("through the egress gateway", self._caller(), self._url(DECLARED), True)

    def _trial(self, name: str, source: Source, url: str, passes: bool) -> Trial:
        return Trial(
            name,
            f"GET {url} from {source.pod}/{source.container}",
            "200" if passes else "stopped",
            lambda: self._ask(source, url, passes),
            "" if passes else "the same request without the policy; through the egress gateway",
        )

    def _ask(self, source: Source, url: str, passes: bool) -> Answer:
        asked = n_requests(self._kube, source, url, 1, expect=TEXT, request_timeout=REQUEST_TIMEOUT)
        status, code = next(iter(asked.by_status)), next(iter(asked.exit_codes), 0)
        if status in NO_WAY or (status == "000" and code in STOPPED):
            return Answer(f"stopped: {STOPPED[code] if status == '000' else status}", not passes)
        told = f"{status}, curl ended with {code}" if code else status
        return Answer(told, passes and asked.passed == 1)

    def _until_stopped(self, sources: Sequence[Source]) -> None:
        """Until no pod of these is served by the pod beyond; after TAKES seconds the requests themselves show it."""

        def served() -> list[str]:
            asked = [(each, self._url(UNDECLARED)) for each in sources]
            return [
                source.pod
                for source, url in asked
                if n_requests(self._kube, source, url, 1, request_timeout=REQUEST_TIMEOUT).served
            ]

        wait_or_last(
            "the nodes to keep the NetworkPolicy",
            served,
            ready=lambda left: not left,
            describe=lambda left: f"still served: {', '.join(left)}" if left else "nobody is served",
            timeout=TAKES,
            clock=self._clock,
        )


def made(mesh: Mesh, outside: str) -> dict[str, Document]:
    """Make the objects: caller, sidecar, service, probe and policy.

    Args:
        mesh: Its facts, for the callers' namespace.
        outside: The namespace of the pod outside the mesh.

    Returns:
        Name → object.
    """
    words = {
        "NAMESPACE": mesh.namespace,
        "OUTSIDE": outside,
        "BEYOND": OUTSIDE,
        "PLAIN": CALLER.app,
        "EXCLUDED": str(EXCLUDED_PORT),
        "GATEWAYS": mesh.egress_namespace,
        "SYSTEM": mesh.system_namespace,
    }
    found: dict[str, Document] = manifests.read("egress-bypass", **words)
    [port] = found["service"]["spec"]["ports"]
    port["port"] = EXCLUDED_PORT
    _, control_plane, _ = found["policy"]["spec"]["egress"]
    terms = dict(term.split("=", 1) for term in mesh.istiod_selector.split(","))
    control_plane["to"][0]["podSelector"] = {"matchLabels": terms}
    return found
