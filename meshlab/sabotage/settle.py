"""When the lab has come to rest after a change: roll-outs done, proxies with the new configuration, none draining."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from meshlab.istio.acknowledge import wait_acknowledged
from meshlab.istio.admin import PROXY_PORT, PodPages
from meshlab.istio.control_plane import SIDECAR
from meshlab.istio.istioctl import Istioctl
from meshlab.istio.operator_file import SYSTEM_NAMESPACE
from meshlab.kube.client import Kube
from meshlab.kube.pods import PodSummary
from meshlab.kube.rollout import wait_deployments
from meshlab.waiting import Clock, wait

TIMEOUT = 90.0  # seconds for each of the steps
DRAINING = r"^listener_manager\.total_(listeners|filter_chains)_draining$"
AT_ONCE = 8  # pods that are asked side by side


def wait_settled(
    kube: Kube,
    istioctl: Istioctl,
    namespace: str,
    *,
    rejecting: Sequence[str] = (),
    drained: bool = True,
    clock: Clock | None = None,
) -> None:
    """Return when what was changed is in force in istio-system and `namespace`.

    rejecting: selectors of pods whose proxies can't take the configuration; they are not waited for. drained:
    also wait until no proxy serves a listener that it has replaced, whose counters go with it: needed before
    anything is counted. Without an istiod nothing can be acknowledged, and nothing has changed in the proxies.
    Raises WaitTimeout naming the laggards, RolloutError, KubeError, IstioError.
    """
    for each in dict.fromkeys((SYSTEM_NAMESPACE, namespace)):
        _wait_rollouts(kube, each, clock)
    pods = proxies_of(kube, namespace, rejecting)
    if any(pod.is_ready for pod in kube.pods(SYSTEM_NAMESPACE, "app=istiod")):
        wait_acknowledged(kube, istioctl, pods, timeout=TIMEOUT, clock=clock)
    if drained:
        _wait_drained(kube, pods, clock)


def proxies_of(kube: Kube, namespace: str, rejecting: Sequence[str] = ()) -> list[PodSummary]:
    """The pods with a proxy, gateways included, without those that match one of the selectors."""
    left_out = {pod.uid for selector in rejecting for pod in kube.pods(namespace, selector)}
    return [
        pod
        for each in dict.fromkeys((SYSTEM_NAMESPACE, namespace))
        for pod in kube.pods(each)
        if SIDECAR in pod.containers and not pod.deleting and pod.uid not in left_out
    ]


def _wait_rollouts(kube: Kube, namespace: str, clock: Clock | None) -> None:
    found = kube.objects("apps/v1", "Deployment", namespace)
    wanted = [each["metadata"]["name"] for each in found if each["spec"].get("replicas", 1)]
    stopped = [each for each in found if not each["spec"].get("replicas", 1)]
    if wanted:
        wait_deployments(kube, namespace, wanted, timeout=TIMEOUT, clock=clock)

    def going() -> list[str]:
        names = [pod.name for pod in kube.pods(namespace) if pod.deleting]
        for each in stopped:
            labels = ",".join(f"{k}={v}" for k, v in each["spec"]["selector"]["matchLabels"].items())
            names += [pod.name for pod in kube.pods(namespace, labels)]
        return sorted(set(names))

    wait(
        f"the pods of {namespace} that go to be gone",
        going,
        ready=lambda names: not names,
        describe=lambda names: ", ".join(names) or "none",
        timeout=TIMEOUT,
        clock=clock,
    )


def _wait_drained(kube: Kube, pods: Sequence[PodSummary], clock: Clock | None) -> None:
    with PodPages(kube) as pages:

        def draining(pod: PodSummary) -> int:
            asked = {"filter": DRAINING, "format": "json"}
            answer = pages.json(pod.namespace, pod.name, PROXY_PORT, "/stats", asked)
            return sum(int(each.get("value", 0)) for each in answer.get("stats", []))

        def look() -> list[str]:
            with ThreadPoolExecutor(max_workers=AT_ONCE) as pool:
                counts = list(pool.map(draining, pods))
            return [f"{pod.name}: {n}" for pod, n in zip(pods, counts, strict=True) if n]

        wait(
            f"the replaced listeners of {len(pods)} proxies to be drained",
            look,
            ready=lambda found: not found,
            describe=lambda found: f"draining: {', '.join(found)}" if found else "none",
            timeout=TIMEOUT,
            remedy="drainDuration of the proxies says how long it may take",
            clock=clock,
        )
