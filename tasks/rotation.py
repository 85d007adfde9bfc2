"""The rotation drill, where a setting asks for it: certificates of minutes, an intermediate, a root, and back, under load."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from meshlab.app.background_traffic import BackgroundResult, BackgroundTraffic, Stream
from meshlab.app.bookinfo import DETAILS, PAGE_PATH, PORT, PRODUCTPAGE, RATINGS, REVIEWS_V1, SLEEPER
from meshlab.app.traffic_clients import CALLER, ingress_host, wait_ingress
from meshlab.checks import rotation
from meshlab.checks.base import run_check
from meshlab.clusters.base import ClusterRef
from meshlab.config.settings import LabConfig
from meshlab.core.address import host_port
from meshlab.core.attempt import attempt, given
from meshlab.core.errors import MeshlabError, NotHereError
from meshlab.istio.acknowledge import wait_acknowledged
from meshlab.istio.distribution import Distribution
from meshlab.istio.mesh import Mesh
from meshlab.kube.changes import Changes
from meshlab.kube.client import Kube
from meshlab.lifecycle.context import context_of, istioctl_of, kube_of, mesh_of
from meshlab.run.journal import RunRef, record_check
from meshlab.run.results import CheckResult, Verdict
from meshlab.security.rotation.authorities import Signer, intermediate, new_root, own_authority
from meshlab.security.rotation.drill import Choose, Drill, Step, new_connections, short, strangers
from tasks.common import lab_task, log_info
from tasks.resume import checks_passed

PAUSE = 0.25  # seconds between the requests of a stream; five streams send about 15 a second
PATHS = {
    PRODUCTPAGE.app: PAGE_PATH,
    DETAILS.app: "/details/0",
    REVIEWS_V1.app: "/reviews/0",
    RATINGS.app: "/ratings/0",
}


@lab_task("check-rotation", verify=checks_passed, depends_on_pods=True)
def check_rotation(
    run: RunRef, config: LabConfig, cluster: ClusterRef, distribution: Distribution, choose: Choose = short
) -> list[CheckResult]:
    """Make rotation.leaf and rotation.root; what was changed is put back, whatever became of them.

    Args:
        run: The run.
        config: Its settings.
        cluster: Its cluster.
        distribution: Its Istio.
        choose: What proxies are told of their certificates; a planted fault freezes one.

    Returns:
        The checks.
    """
    if config.scope != "mesh":
        return [
            record_check(run, run_check(name, _never, granted=config.scope))
            for name in (rotation.LEAF, rotation.ROOT)
        ]
    kube, mesh, ledger = kube_of(cluster), mesh_of(run, cluster), context_of(run).ledger
    with Changes(kube, ledger, run) as changes, Changes(kube, ledger, run) as authority:
        drill = Drill(kube, mesh, changes, authority)

        def ready() -> Signer:
            own = own_authority(kube, mesh.system_namespace)
            if others := strangers(kube, mesh):
                raise NotHereError(
                    f"{len(others)} proxies of others would not trust another root for hours ({', '.join(others[:3])})",
                    remedy="drill on a mesh whose proxies are the lab's own",
                )
            changes.apply(new_connections(mesh))
            drill.shorten(choose)
            wait_acknowledged(kube, istioctl_of(cluster, distribution), drill.proxies())
            wait_ingress(kube, mesh)
            return own

        begun = attempt(ready)

        def leaf() -> CheckResult:
            given(begun)
            step, sent = under_load(kube, mesh, lambda steps: steps.append(drill.await_renewed()))
            return rotation.leaf(step[0], sent)

        def root() -> CheckResult:
            own = given(begun)
            if checks[0].verdict is not Verdict.PASS:
                raise MeshlabError(
                    "leaf certificates are not renewed, so no proxy would get another authority's: see rotation.leaf",
                    remedy="mend what rotation.leaf tells",
                )
            return rotation.root(*under_load(kube, mesh, lambda steps: rotate(drill, own, steps)))

        checks: list[CheckResult] = []
        for name, make in ((rotation.LEAF, leaf), (rotation.ROOT, root)):
            checks.append(record_check(run, run_check(name, make, granted=config.scope)))
        drill.finish()
    return checks


def rotate(drill: Drill, own: Signer, steps: list[Step]) -> None:
    """Go to another intermediate, to another root, and all the way back.

    Args:
        drill: Its hands.
        own: istiod's own authority.
        steps: Filled with what was seen.

    Raises:
        MeshlabError: A step could not be made; istiod's own authority is put back all the same.
    """
    other = new_root()
    first, second = (
        intermediate(own, "meshlab intermediate"),
        intermediate(other, "meshlab other intermediate"),
    )
    try:
        steps.append(drill.plug("intermediate", first, [own, other]))
        drill.await_mounted([own, other])  # istiod shows the other root's certificate next
        steps.append(drill.plug("root", second, [own, other]))
        steps.append(drill.plug("back to the first root", first, [own, other]))
    finally:
        steps.append(drill.put_authority_back(own))
    log_info(", ".join(f"{step.name}: {step.seconds} s" for step in steps))


def under_load(
    kube: Kube, mesh: Mesh, work: Callable[[list[Step]], None]
) -> tuple[list[Step], BackgroundResult]:
    """Do something while requests are sent to every server of the application, some of them through the ingress gateway.

    Args:
        kube: Client of the cluster.
        mesh: Its facts, for our namespace.
        work: Is given the list that it fills with its steps.

    Returns:
        The steps, and what was sent meanwhile.
    """
    steps: list[Step] = []
    with BackgroundTraffic(kube, mesh.namespace, streams(mesh)) as traffic:
        work(steps)
        return steps, traffic.stop_and_drain()


def streams(mesh: Mesh) -> Sequence[Stream]:
    """The load: each server from the sleep pod, and the page through the ingress gateway."""
    inside = [
        Stream(app, SLEEPER.selector, f"http://{host_port(f'{app}.{mesh.namespace}.svc', PORT)}{path}", PAUSE)
        for app, path in PATHS.items()
    ]
    return [*inside, Stream("ingress", CALLER.selector, f"http://{ingress_host(mesh)}{PAGE_PATH}", PAUSE)]


def _never() -> CheckResult:
    raise AssertionError("a check beyond the write scope was called")
