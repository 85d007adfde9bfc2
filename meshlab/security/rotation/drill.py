"""The drill's hands: proxies with certificates of minutes, istiod with another authority, and what every proxy serves.

An authority is given to istiod as Istio's documentation says it: the Secret `cacerts`, and istiod started anew. The two roots
are trusted by all before a proxy gets a certificate of the other one, and istiod's own authority is put back at the end.
"""

from __future__ import annotations

import base64
import copy
import json
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from meshlab import manifests
from meshlab.core.errors import NotHereError
from meshlab.core.text import pluralize
from meshlab.core.waiting import Clock, SystemClock, wait, wait_or_last
from meshlab.envoy.admin import PodPages
from meshlab.istio.control_plane import SIDECAR
from meshlab.istio.mesh import Mesh
from meshlab.kube.apply import ObjectRef
from meshlab.kube.changes import Changes
from meshlab.kube.client import Kube
from meshlab.kube.exec import run_in_pod
from meshlab.kube.pods import PodSummary, serving
from meshlab.kube.restart import restart_workload
from meshlab.kube.rollout import wait_deployments
from meshlab.security.mtls.certificates import Held, fingerprint, held_by
from meshlab.security.rotation.authorities import PLUGGED, Signer, pem_of, plugged

# A proxy asks for certificates of so long, and renews them when 7/8 of it are left: after half a minute.
TTL, GRACE_RATIO = 240, "0.875"
RENEWED_AFTER = TTL * (1 - float(GRACE_RATIO))  # seconds
LATE = RENEWED_AFTER + 45  # seconds after which a certificate that was not renewed counts as frozen
ROLLOUT_TIMEOUT, MOUNTED_TIMEOUT = 240.0, 180.0  # kubelet renews mounted ConfigMaps within two minutes
PROXY_CONFIG, MARK = "proxy.istio.io/config", "meshlab/rotation"
ROOT_FILE = "/var/run/secrets/istio/root-cert.pem"  # what a proxy trusts istiod by
AT_ONCE = 8  # proxies that are asked at the same time
Settings = Mapping[str, str]
SHORT: Settings = {"SECRET_TTL": f"{TTL}s", "SECRET_GRACE_PERIOD_RATIO": GRACE_RATIO}
Choose = Callable[[str], Settings]  # Deployment → what its proxies are told


def short(deployment: str) -> Settings:
    """Certificates of minutes for every Deployment."""
    return SHORT


@dataclass(frozen=True)
class Step:
    """One change, and when every proxy had it.

    proxies: that were looked at. seconds: until the last of them; None where some never had it: late. left: seconds that
    the certificate with the nearest end was still valid for, when the last proxy was seen.
    """

    name: str
    proxies: int
    seconds: float | None
    late: tuple[str, ...] = ()
    left: float = 0.0
    slowest: Mapping[str, float] | None = None


class Drill:
    """The proxies of our namespace and the gateways, and istiod's authority.

    changes: of workloads; authority: of istiod. Both are put back by `finish` and `put_authority_back`, and by what a killed
    run leaves to the next one: the ledger names them in an order in which this works.
    """

    def __init__(
        self, kube: Kube, mesh: Mesh, changes: Changes, authority: Changes, *, clock: Clock | None = None
    ) -> None:
        self._kube, self._mesh, self._changes, self._authority = kube, mesh, changes, authority
        self._clock = clock or SystemClock()

    # ── leaf certificates

    def shorten(self, choose: Choose = short) -> None:
        """Give all proxies certificates of minutes, which starts their pods anew.

        Args:
            choose: What the proxies of a Deployment are told; a planted fault freezes one of them.

        Raises:
            NotHereError: Other proxies are in this mesh, which would not trust another root for hours.
            RolloutError: A workload does not get Ready; its text names the cause.
        """
        chosen = self._deployments()
        for namespace, name, found in chosen:
            template = found["spec"]["template"]
            told = choose(name)
            meta = template.get("metadata") or {}
            if any(
                each["name"] == SIDECAR for each in template["spec"]["containers"]
            ):  # a gateway's own proxy
                change: dict[str, Any] = {
                    "spec": {"containers": _with_env(template["spec"]["containers"], told)}
                }
            else:
                noted = json.dumps({"proxyMetadata": dict(told)})
                if PROXY_CONFIG in (meta.get("annotations") or {}):
                    raise NotHereError(
                        f"Deployment {namespace}/{name} has an annotation {PROXY_CONFIG} of its own",
                        remedy="the drill leaves the configuration of others alone",
                    )
                change = {"metadata": {"annotations": {PROXY_CONFIG: noted}}}
            ref = ObjectRef("apps/v1", "Deployment", namespace, name)
            self._changes.patch(ref, {"spec": {"template": change}})
        self._rolled_out(chosen)

    def finish(self) -> None:
        """Give the proxies back what they had, and wait until they are Ready. May be called twice."""
        chosen = self._deployments()
        if self._changes.restore():
            self._rolled_out(chosen)

    def proxies(self) -> list[PodSummary]:
        """Every proxy that the drill is about: pods of ours and of the gateways."""
        homes = dict.fromkeys((self._mesh.namespace, *(each.namespace for each in self._mesh.gateways)))
        return [pod for home in homes for pod in serving(self._kube.pods(home)) if SIDECAR in pod.containers]

    def await_renewed(self) -> Step:
        """Wait until every proxy has another certificate; one that is late is told, long before its end."""
        with PodPages(self._kube) as pages:
            before = {each.pod: fingerprint(each.leaf) for each in self._held(pages)}
        return self._await("leaf", lambda held: fingerprint(held.leaf) != before.get(held.pod), LATE)

    # ── authorities

    def plug(self, name: str, signer: Signer, roots: Sequence[Signer]) -> Step:
        """Give istiod an authority, and wait until every proxy serves its chain and trusts all roots.

        Args:
            name: Of the step.
            signer: Signs from now on.
            roots: All that are trusted.

        Returns:
            How long it took, from istiod's start on.

        Raises:
            MeshlabError: istiod did not start, or a proxy did not answer.
        """
        content = plugged(signer, roots)
        if self._kube.get("v1", "Secret", PLUGGED, self._mesh.system_namespace) is None:
            # In this order the undoing removes the authority first and then starts istiod anew, which finds its own.
            mark = {"metadata": {"annotations": {MARK: "plugged"}}}
            self._authority.patch(self._istiod, {"spec": {"template": mark}})
            self._authority.apply(
                {
                    "apiVersion": "v1",
                    "kind": "Secret",
                    "metadata": {"name": PLUGGED, "namespace": self._mesh.system_namespace},
                    "type": "Opaque",
                    "stringData": content,
                }
            )
        else:  # not by `Changes`: what was there before is ours, and a key is not written to the ledger
            data = {name: base64.b64encode(text.encode()).decode() for name, text in content.items()}
            self._kube.patch("v1", "Secret", PLUGGED, {"data": data}, self._mesh.system_namespace)
        restart_workload(self._kube, self._istiod, timeout=ROLLOUT_TIMEOUT, clock=self._clock)
        wanted = {each.certificate for each in roots}
        return self._await(
            name, lambda held: signer.signed(held.leaf) and wanted <= set(held.roots), ROLLOUT_TIMEOUT
        )

    def await_mounted(self, roots: Sequence[Signer]) -> None:
        """Wait until every proxy's file of roots has these: by it istiod is trusted, once it has a certificate of another root.

        Args:
            roots: That must be there.

        Raises:
            WaitTimeout: kubelet did not renew the file.
            ExecError: A proxy's image has no `cat`.
        """
        wanted = [pem_of([each.certificate]).strip() for each in roots]

        def lacking() -> list[str]:
            return [pod.name for pod in self.proxies() if not self._mounts(pod, wanted)]

        wait(
            "every proxy's file of roots to have both",
            lacking,
            ready=lambda left: not left,
            describe=lambda left: f"not yet: {', '.join(left)}" if left else "all have them",
            timeout=MOUNTED_TIMEOUT,
            delay=2.0,
            remedy="kubelet renews mounted ConfigMaps; look at istio-ca-root-cert of the namespace",
            clock=self._clock,
        )

    def put_authority_back(self, own: Signer) -> Step:
        """Take the given authority away: istiod signs by its own again.

        Args:
            own: istiod's own authority.

        Returns:
            How long it took until every proxy served it.

        Raises:
            MeshlabError: istiod did not start, or a proxy did not answer.
        """
        self._authority.restore()
        wait_deployments(
            self._kube, str(self._istiod.namespace), [self._istiod.name],
            timeout=ROLLOUT_TIMEOUT, clock=self._clock,
        )  # fmt: skip
        return self._await("put back", lambda held: own.signed(held.leaf), ROLLOUT_TIMEOUT)

    # ── looking

    @property
    def _istiod(self) -> ObjectRef:
        return ObjectRef("apps/v1", "Deployment", self._mesh.system_namespace, self._mesh.istiod)

    def _held(self, pages: PodPages) -> list[Held]:
        with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="rotation") as pool:
            return list(pool.map(lambda pod: held_by(pages, pod.namespace, pod.name), self.proxies()))

    def _await(self, name: str, has: Callable[[Held], bool], timeout: float) -> Step:
        begun, seen = self._clock.now(), dict[str, float]()
        held: list[Held] = []

        def late() -> list[str]:
            held[:] = self._held(pages)
            for each in held:
                if each.pod not in seen and has(each):
                    seen[each.pod] = round(self._clock.now() - begun, 1)
            return [each.pod for each in held if each.pod not in seen]

        with PodPages(self._kube) as pages:  # of pods that stay
            left = wait_or_last(
                f"every proxy to have its certificate ({name})",
                late,
                ready=lambda left: not left,
                describe=lambda left: f"{pluralize(len(left), 'proxies')} without it: {', '.join(left[:5])}",
                timeout=timeout,
                delay=1.0,
                clock=self._clock,
            )
        ends = min((each.leaf.not_valid_after_utc for each in held), default=datetime.now(UTC))
        rest = (ends - datetime.now(UTC)).total_seconds()
        return Step(
            name,
            len(held),
            None if left else max(seen.values(), default=0.0),
            tuple(left),
            round(rest, 1),
            seen,
        )

    def _mounts(self, pod: PodSummary, wanted: Sequence[str]) -> bool:
        done = run_in_pod(
            self._kube, pod.namespace, pod.name, SIDECAR, ["cat", ROOT_FILE], timeout=20, check=True
        )
        return all(each in done.stdout for each in wanted)

    def _deployments(self) -> list[tuple[str, str, dict[str, Any]]]:
        """Deployments of ours with proxies, and those of the gateways: namespace, name, object."""
        ours = [
            each
            for each in self._kube.objects("apps/v1", "Deployment", self._mesh.namespace)
            if self._has_proxy(each)
        ]
        gateways = [
            found
            for each in self._mesh.gateways
            if (found := self._kube.get("apps/v1", "Deployment", each.name, each.namespace)) is not None
        ]
        every = {(d["metadata"]["namespace"], d["metadata"]["name"]): d for d in (*ours, *gateways)}
        return [(*key, found) for key, found in every.items()]

    def _has_proxy(self, deployment: Mapping[str, Any]) -> bool:
        labels = (deployment["spec"].get("selector") or {}).get("matchLabels") or {}
        chosen = ",".join(f"{key}={value}" for key, value in labels.items())
        pods = serving(self._kube.pods(deployment["metadata"]["namespace"], chosen)) if chosen else []
        return any(SIDECAR in pod.containers for pod in pods)

    def _rolled_out(self, chosen: Sequence[tuple[str, str, Any]]) -> None:
        for home in dict.fromkeys(namespace for namespace, _, _ in chosen):
            names = [name for namespace, name, _ in chosen if namespace == home]
            wait_deployments(self._kube, home, names, timeout=ROLLOUT_TIMEOUT, clock=self._clock)
        wait(
            "the old proxies to be gone",
            lambda: [
                pod.name
                for namespace in dict.fromkeys(home for home, _, _ in chosen)
                for pod in self._kube.pods(namespace)
                if pod.deleting
            ],
            ready=lambda left: not left,
            describe=lambda left: ", ".join(left) or "none is left",
            timeout=ROLLOUT_TIMEOUT,
            clock=self._clock,
        )


def new_connections(mesh: Mesh) -> dict[str, Any]:
    """Make the rule that gives each request to our services a connection of its own: it meets the certificates of the moment."""
    words = {"NAMESPACE": mesh.namespace, "CLUSTER_DOMAIN": mesh.cluster_domain}
    found: dict[str, Any] = manifests.read("new-connections", **words)
    return found


def strangers(kube: Kube, mesh: Mesh) -> tuple[str, ...]:
    """Name the proxies of others: they would not trust another root before they renew their own certificates.

    Args:
        kube: Client of the cluster.
        mesh: Its facts, for our namespace.

    Returns:
        `namespace/pod` of each.
    """
    homes = {mesh.namespace, *(each.namespace for each in mesh.gateways)}
    return tuple(
        f"{pod.namespace}/{pod.name}"
        for pod in kube.pods(None)
        if SIDECAR in pod.containers and not pod.deleting and pod.namespace not in homes
    )


def _with_env(containers: Sequence[Mapping[str, Any]], told: Settings) -> list[dict[str, Any]]:
    """The containers, the proxy's with these variables; a merge patch replaces the list whole."""
    found = copy.deepcopy([dict(each) for each in containers])
    for each in found:
        if each["name"] == SIDECAR:
            kept = [entry for entry in each.get("env") or [] if entry["name"] not in told]
            each["env"] = [*kept, *({"name": name, "value": value} for name, value in told.items())]
    return found
