"""The ingress, opened for its checks and closed after them."""

from __future__ import annotations

import ssl
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from meshlab.core.errors import KubeError
from meshlab.istio.acknowledge import wait_acknowledged
from meshlab.istio.istioctl import Istioctl
from meshlab.istio.mesh import Mesh
from meshlab.kube.changes import Changes
from meshlab.kube.client import Kube
from meshlab.kube.pods import PodSummary, serving
from meshlab.kube.portforward import PortForward
from meshlab.kube.rollout import wait_deployments
from meshlab.security.gateways import answering, ingress
from meshlab.security.gateways.client import Reply, ask
from meshlab.security.gateways.ingress import HOSTS, Alter, unchanged
from meshlab.security.gateways.pki import GatewayKeys, make_keys
from meshlab.security.gateways.settled import wait_key
from meshlab.security.gateways.tokens import Issuer

HTTP, HTTPS = 80, 443  # of the gateway's Service
ROLLOUT_TIMEOUT = 90.0  # seconds for the pod that serves the keys


@dataclass(frozen=True)
class IngressProbe:
    """The gateway as it stands open. http, https: port-forwards to its ports. keys: what it shows and accepts.

    mutual: a port of its own for the host that takes known clients only; None where it shares the others'.
    Both methods raise KubeError where the port-forward broke: that is no refusal of the gateway's.
    """

    http: PortForward
    https: PortForward
    keys: GatewayKeys
    issuer: Issuer
    mutual: PortForward | None = None

    def get(
        self,
        host: str,
        path: str,
        context: ssl.SSLContext,
        *,
        server_name: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Reply:
        """Send one GET over TLS.

        Args:
            host: The name in the Host header, and the TLS server name.
            path: What is asked for.
            context: The TLS client.
            server_name: The TLS server name (SNI) where it is not the host.
            headers: Sent with the request.

        Returns:
            What came of it; a refusal is a Reply, too.
        """
        forward = self.mutual if self.mutual is not None and host == ingress.MUTUAL else self.https
        reply = ask(forward.port, host, path, context=context, server_name=server_name, headers=headers)
        return _over(forward, reply)

    def get_plain(self, host: str, path: str) -> Reply:
        """Send one GET without TLS.

        Args:
            host: The name in the Host header.
            path: What is asked for.

        Returns:
            What came of it.
        """
        return _over(self.http, ask(self.http.port, host, path))


def _over(forward: PortForward, reply: Reply) -> Reply:
    if reply.status is None and forward.last_error is not None:
        raise forward.last_error
    return reply


def gateway_pods(kube: Kube, service: str, namespace: str) -> list[PodSummary]:
    """List the Ready pods behind a gateway's Service.

    Args:
        kube: Client of the cluster.
        service: The Service's name.
        namespace: Where the gateway runs.

    Returns:
        The pods; empty where the profile has no such gateway.
    """
    found = kube.get("v1", "Service", service, namespace)
    chosen = ((found or {}).get("spec") or {}).get("selector") or {}
    if not chosen:
        return []
    selector = ",".join(f"{key}={value}" for key, value in chosen.items())
    return serving(kube.pods(namespace, selector))


@dataclass(frozen=True)
class Missing:
    """Why a gateway can't be used. chosen: the installation does not have it, so nothing is wrong with it."""

    reason: str
    chosen: bool


def usable(kube: Kube, service: str, namespace: str) -> list[PodSummary] | Missing:
    """Find the Ready pods of a gateway, or what is missing of it.

    Args:
        kube: Client of the cluster.
        service: Name of its Service.
        namespace: Where the gateway runs.

    Returns:
        The pods, at least one; else what is missing.
    """
    pods = gateway_pods(kube, service, namespace)
    if pods:
        return pods
    if kube.get("v1", "Service", service, namespace) is None:
        return Missing(f"this installation of Istio has no {service}", chosen=True)
    return Missing(f"no pod of {service} is Ready", chosen=False)


@contextmanager
def opened(
    kube: Kube,
    istioctl: Istioctl,
    changes: Changes,
    mesh: Mesh,
    *,
    keys: GatewayKeys | None = None,
    alter: Alter = unchanged,
    fit: Alter = unchanged,
) -> Iterator[IngressProbe]:
    """Apply the ingress, wait until the gateway uses it, and keep port-forwards to it open.

    Args:
        kube: Client of the cluster.
        istioctl: The istioctl of the run.
        changes: Puts everything back; that is its owner's to do.
        mesh: Its facts, for the app's namespace.
        keys: Of the gateway; made when not given.
        alter: What a planted fault makes of the objects.
        fit: What the settings make of them, and of the pod that serves the keys.

    Yields:
        The open gateway.

    Raises:
        KubeError: No pod of the gateway is Ready, or the API refuses an object.
        RolloutError: The pod that serves the keys does not start.
        WaitTimeout: The gateway does not take the configuration in time.
        IstioError: No proxy can be waited for.
    """
    namespace, place = mesh.namespace, mesh.ingress_namespace
    pods = gateway_pods(kube, ingress.GATEWAY, place)
    if not pods:
        raise KubeError(f"no pod of {ingress.GATEWAY} is Ready", remedy=f"look at the pods of {place}")
    image = answering.proxy_image(kube, place)
    keys, issuer = keys or make_keys(*HOSTS), Issuer()
    changes.apply(*fit(ingress.key_server(namespace, image, issuer)))
    objects = ingress.documents(mesh, keys, issuer)
    wait_deployments(kube, namespace, [ingress.JWKS], timeout=ROLLOUT_TIMEOUT)
    changes.apply(*fit(alter(objects)))
    wait_acknowledged(kube, istioctl, pods)
    wait_key(kube, pods, issuer.key_id)
    with forwarded(kube, ingress.GATEWAY, place, keys, issuer) as probe:
        yield probe


@contextmanager
def forwarded(
    kube: Kube, service: str, namespace: str, keys: GatewayKeys, issuer: Issuer, *, mutual: int | None = None
) -> Iterator[IngressProbe]:
    """Keep port-forwards to a gateway open.

    Args:
        kube: Client of the cluster.
        service: The gateway's.
        namespace: Where it runs.
        keys: What it shows and accepts.
        issuer: Of the tokens that it accepts.
        mutual: The port for known clients, where that is not 443.

    Yields:
        The open gateway.
    """
    with ExitStack() as stack:

        def forward(port: int) -> PortForward:
            return stack.enter_context(PortForward(kube, namespace=namespace, port=port, service=service))

        yield IngressProbe(
            forward(HTTP), forward(HTTPS), keys, issuer, forward(mutual) if mutual is not None else None
        )
