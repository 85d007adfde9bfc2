"""The context of a run: what its steps share in one process, made in one place from small frozen values.

Steps are called with a `RunRef` and a `ClusterRef` and ask the context for the rest: the machine, the ledger, the
connection to the cluster. Functions of the library get what they need as arguments, never the context.
"""

from __future__ import annotations

import threading
from pathlib import Path

from meshlab.clusters.base import ClusterProvider, ClusterRef
from meshlab.clusters.existing import current_context
from meshlab.clusters.provider import provider_of
from meshlab.config.settings import ExistingSettings, LabConfig, Machine
from meshlab.core.errors import MeshlabError
from meshlab.core.registry import find, instance, put
from meshlab.istio.control_plane import control_planes, to_name
from meshlab.istio.distribution import Distribution
from meshlab.istio.facts import read_facts
from meshlab.istio.istioctl import Istioctl
from meshlab.istio.mesh import Mesh
from meshlab.kube.client import Kube
from meshlab.run.journal import RunRef, create
from meshlab.run.ledger import Ledger


class Connections:
    """The connections of this process, one per cluster: each is safe for threads, and its discovery costs a second.

    A local cluster that was made anew under the same name has other keys, so its kubeconfig is read again where it was
    written again. Those of others are their owners': a run stays with the cluster that it began on.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: dict[ClusterRef, tuple[int, Kube]] = {}

    def to(self, cluster: ClusterRef) -> Kube:
        """Return the connection to a cluster; the first caller opens it."""
        with self._lock:
            written, kube = self._known.get(cluster, (0, None))
            ours = cluster.provider == "local"
            now = (
                _written(cluster.kubeconfig) if ours else 0
            ) or written  # what is gone by now is not read again
            if kube is None or now != written:
                kube = Kube.connect(cluster.kubeconfig, cluster.context)
                self._known[cluster] = now, kube
            return kube


def _written(kubeconfig: Path) -> int:
    """When a file was written, in ns; 0 where there is none."""
    try:
        return kubeconfig.stat().st_mtime_ns
    except OSError:
        return 0


class LabContext:
    """One run in this process.

    Attributes:
        run: The run.
        config: What was asked for.
        machine: What this machine offers: paths and variables, read once at the entry point.
    """

    def __init__(self, run: RunRef, config: LabConfig, machine: Machine) -> None:
        self.run, self.config, self.machine = run, config, machine
        self._lock = threading.Lock()
        self._meshes: dict[ClusterRef, Mesh] = {}

    def mesh(self, cluster: ClusterRef) -> Mesh:
        """Return the facts of a cluster's mesh for the app's namespace; the first caller reads them.

        What is read before a control plane serves us is not kept. Raises KubeError where the cluster does not answer.
        """
        with self._lock:
            if cluster not in self._meshes:
                found = read_facts(kube_of(cluster), self.config.namespace)
                if found.serving is None:
                    return found
                self._meshes[cluster] = found
            return self._meshes[cluster]

    def read_mesh_again(self, cluster: ClusterRef) -> Mesh:
        """Return the facts as they are now, after a step that changed them. Raises KubeError."""
        with self._lock:
            self._meshes.pop(cluster, None)
        return self.mesh(cluster)

    @property
    def ledger(self) -> Ledger:
        """What the run made, on disk; a new one where there is none yet."""
        return Ledger.open(self.machine, self.run)

    @property
    def provider(self) -> ClusterProvider:
        """What makes and removes the run's cluster."""
        return provider_of(self.config, self.machine, self.run.run_id)


def begin_context(run: RunRef, config: LabConfig, machine: Machine) -> LabContext:
    """Make the context of a run and hold it for the run's steps.

    An earlier one of this process is replaced.

    Args:
        run: The run.
        config: The settings of the run.
        machine: This machine: its folders and what it has.

    Returns:
        The context.
    """
    context = LabContext(run, config, machine)
    put(context, run.run_id)
    return context


def context_of(run: RunRef) -> LabContext:
    """Return the context of a run.

    Raises:
        MeshlabError: The run was not begun in this process.
    """
    context = find(LabContext, run.run_id)
    if context is None:
        raise MeshlabError(
            f"run {run.run_id} was not begun in this process",
            remedy="begin it: meshlab.lifecycle.context.begin_context(run, config, machine), or start a flow",
        )
    return context


def context_from_kubeconfig(
    kubeconfig: Path,
    context: str | None = None,
    *,
    runs_dir: Path = Path("runs"),
    machine: Machine | None = None,
) -> tuple[LabContext, ClusterRef]:
    """Begin a run on a cluster that is there, to call a step's function from a REPL.

    Args:
        kubeconfig: A kubeconfig file.
        context: One of its contexts; the current one where none is given.
        runs_dir: Where the run's directory is made.
        machine: What this machine offers; read from its environment where it is not given.

    Returns:
        The context, whose `run` and `config` a step's function takes, and the cluster.

    Raises:
        MeshlabError: The run's directory can't be made, or the kubeconfig can't be read.
    """
    name = context or current_context(kubeconfig) or ""
    config = LabConfig(
        cluster="existing", existing=ExistingSettings(kubeconfig=kubeconfig, context=name or None)
    )
    run = create(runs_dir, "by-hand")
    cluster = ClusterRef("existing", name, kubeconfig, name or None)
    return begin_context(run, config, machine or Machine.here()), cluster


def kube_of(cluster: ClusterRef) -> Kube:
    """Return the connection to a cluster, one per process."""
    return instance(Connections).to(cluster)


def mesh_of(run: RunRef, cluster: ClusterRef) -> Mesh:
    """Return the facts of the mesh, read once per run and cluster.

    Args:
        run: The run.
        cluster: The cluster.

    Returns:
        The facts.

    Raises:
        MeshlabError: The run was not begun in this process.
        KubeError: The cluster does not answer.
    """
    return context_of(run).mesh(cluster)


def istioctl_of(cluster: ClusterRef, distribution: Distribution) -> Istioctl:
    """Bind istioctl to a cluster.

    Args:
        cluster: The cluster.
        distribution: Istio's istioctl and samples.

    Returns:
        It.
    """
    return Istioctl(
        distribution.istioctl,
        kubeconfig=cluster.kubeconfig,
        context=cluster.context,
        planes=lambda: to_name(control_planes(kube_of(cluster))),
    )
