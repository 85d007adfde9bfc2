"""Planting a fault and taking it out again, both by way of the ledger.

Taking out reads nothing but the ledger, so it is the same for a run that goes on and for one that was killed.
"""

from __future__ import annotations

from meshlab.clusters.local.layout import Layout
from meshlab.config.settings import LabConfig, Machine
from meshlab.core.process import Runner
from meshlab.faults.fault import Fault, Site
from meshlab.faults.firewall import KIND as FIREWALL
from meshlab.faults.firewall import Firewall
from meshlab.faults.held_mount import KIND as MOUNT
from meshlab.faults.held_mount import HeldMount
from meshlab.faults.nodes import wait_nodes_ready
from meshlab.faults.scraping import PODS
from meshlab.faults.settle import wait_settled
from meshlab.istio.istioctl import Istioctl
from meshlab.istio.mesh import Mesh
from meshlab.istio.sidecars import ask_to_go
from meshlab.kube.apply import delete
from meshlab.kube.changes import KIND as CHANGE
from meshlab.kube.changes import Changes, restore_left
from meshlab.kube.client import Kube
from meshlab.observability.addons.prometheus import PROMETHEUS
from meshlab.run.journal import RunRef
from meshlab.run.ledger import Entry, Ledger

HEAL = "restart"  # of the ledger's entries: pods (namespace/selector) whose proxies remember a fault
NODES = "nodes"  # of the ledger's entries: nodes that are to be Ready again
CHANGES = (CHANGE, FIREWALL, HEAL, NODES, MOUNT)  # kinds of entries that `put_back` acts on
HEAL_TIMEOUT = 60.0  # seconds


def plant(
    fault: Fault,
    config: LabConfig,
    kube: Kube,
    istioctl: Istioctl,
    mesh: Mesh,
    ledger: Ledger,
    run: RunRef,
    firewall: Firewall | None,
) -> None:
    """Plant a fault and return when it is in force.

    Everything is in the ledger before it is changed.

    What was planted stays when this fails; `remove` takes it out.

    Args:
        fault: The fault.
        config: The settings of the run.
        kube: Client of the cluster.
        istioctl: Runs istioctl on the mesh.
        mesh: The facts of the mesh.
        ledger: What the run made, written down first.
        run: The run.
        firewall: Of the cluster's nodes; None where they are not on this machine.

    Raises:
        MeshlabError: It can't be planted, or does not come into force.
    """
    for selector in fault.heal:
        ledger.intend(Entry(HEAL, f"{config.namespace}/{selector}", kube.host))
    if fault.restarts_prometheus:
        ledger.intend(Entry(HEAL, f"{PROMETHEUS.namespace(config)}/{PODS}", kube.host))
    if fault.takes_nodes:
        ledger.intend(Entry(NODES, "Ready", kube.host))
    fault.plant(Site(kube, istioctl, config, Changes(kube, ledger, run), mesh, firewall))
    wait_settled(kube, istioctl, mesh, rejecting=fault.heal)


def remove(
    kube: Kube, istioctl: Istioctl, ledger: Ledger, mesh: Mesh, firewall: Firewall | None
) -> tuple[str, ...]:
    """Take out all that the ledger names, and return when the lab has come to rest.

    May be called twice.

    Args:
        kube: Client of the cluster.
        istioctl: Runs istioctl on the mesh.
        ledger: Names what was planted.
        mesh: The facts of the mesh.
        firewall: Of the cluster's nodes; None where they are not on this machine.

    Returns:
        What was put back.

    Raises:
        MeshlabError: Something stays planted, or the lab does not come to rest.
    """
    done = put_back(kube, ledger, firewall)
    wait_settled(kube, istioctl, mesh)
    return done


def put_back(
    kube: Kube, ledger: Ledger, firewall: Firewall | None, mount: HeldMount | None = None
) -> tuple[str, ...]:
    """Take out all that a ledger names in this cluster, of a killed run, too.

    Changes of objects, firewall rules of ours (by their mark), pods whose proxies remember what is gone.

    Args:
        kube: Client of the cluster.
        ledger: Names what was planted.
        firewall: Of the cluster's nodes; None where they are not on this machine.
        mount: Below the cluster's folder; None where it can't be there.

    Returns:
        What was put back.
    """
    done = list(firewall.restore()) if firewall else []
    done += [str(ref) for ref in restore_left(kube, ledger)]
    done += heal(kube, ledger)
    return (*done, *(mount.restore() if mount else ()))  # last, as somebody else may hold it


def heal(kube: Kube, ledger: Ledger) -> list[str]:
    """Restart the pods that the ledger names, whose proxies remember what is gone, and wait for nodes; returns what came back."""
    done: list[str] = []
    for entry in ledger.entries():
        if entry.kind == HEAL and entry.where == kube.host:
            namespace, _, selector = entry.name.partition("/")
            pods = [pod for pod in kube.pods(namespace, selector) if not pod.deleting]
            delete(kube, [ask_to_go(kube, pod) for pod in pods], timeout=HEAL_TIMEOUT)
            ledger.gone(entry)
            done += [f"restarted {pod.name}" for pod in pods]
        if entry.kind == NODES and entry.where == kube.host:
            wait_nodes_ready(kube)
            ledger.gone(entry)
            done.append("nodes Ready")
    return done


def firewall_of(config: LabConfig, machine: Machine, runner: Runner, ledger: Ledger) -> Firewall | None:
    """Make the firewall of the cluster's nodes.

    Args:
        config: The settings of the run.
        machine: This machine: its folders and what it has.
        runner: Starts processes.
        ledger: What the run made, written down first.

    Returns:
        It; None where they are not on this machine.
    """
    if config.cluster != "local":
        return None
    return Firewall(Layout.of(config.local, machine), runner, ledger)
