"""Making a shape of a running lab, a night on it, and the planted fault; everything is put back afterwards."""

from __future__ import annotations

import json
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from meshlab import manifests
from meshlab.app import room as own_room
from meshlab.cli import room as preflight
from meshlab.clusters.base import ClusterRef
from meshlab.config.settings import LabConfig, Machine
from meshlab.core.waiting import wait
from meshlab.istio.acknowledge import wait_acknowledged
from meshlab.istio.distribution import Distribution, locate
from meshlab.istio.facts import read_facts
from meshlab.istio.images import in_cluster
from meshlab.istio.install import operator_document
from meshlab.kube.apply import ObjectRef, apply, delete
from meshlab.kube.changes import Changes
from meshlab.kube.client import Kube
from meshlab.kube.rollout import wait_deployments
from meshlab.lifecycle.context import begin_context, context_from_kubeconfig, istioctl_of
from meshlab.observability.addons.whereabouts import called
from meshlab.run.journal import RunRef
from meshlab.run.results import CheckResult
from meshlab.shared_cluster.capacity import rooms
from tasks import mesh_checks
from tests.live.conftest import ROOT, command, own_prefect
from tests.live.shapes.addons import check_targets, credentials_held, taken_away, wait_stateful
from tests.live.shapes.neighbours import Changing, freeze
from tests.live.shapes.shape import FOLDER, NAMESPACE, Shape, not_as_listed

LONGEST = 15 * 60  # seconds for a night, on a busy machine
SPARE = 0.03  # CPU that the filler of a full node leaves
Group = Callable[[RunRef, LabConfig, ClusterRef, Distribution], list[CheckResult]]
GROUPS: dict[str, Group] = {
    "check_app": lambda run, config, cluster, _: mesh_checks.check_app.fn(run, config, cluster),
    "check_istio": mesh_checks.check_istio.fn,
    "check_targets": lambda run, config, cluster, _: check_targets(run, config, cluster),
}


@dataclass(frozen=True)
class Outcome:
    """What became of a shape.

    verdicts: how many of the night's checks have which. wrong: what is not as listed, in lines. caught: the fault's check;
    "" for missed.
    """

    shape: str
    exit_code: int
    seconds: float
    verdicts: Mapping[str, int]
    wrong: tuple[str, ...]
    caught: str

    @property
    def counts(self) -> tuple[str, str, str]:
        """How many checks passed, failed (in whatever way), and were skipped."""
        passed, skipped = self.verdicts.get("pass", 0), self.verdicts.get("skipped", 0)
        return str(passed), str(sum(self.verdicts.values()) - passed - skipped), str(skipped)

    @property
    def ok(self) -> bool:
        """Everything is as listed, and the fault was caught."""
        return not self.wrong and bool(self.caught)


def run(shape: Shape, kubeconfig: Path, folder: Path) -> Outcome:
    """Make the shape on a lab, run a night and plant the fault.

    Args:
        shape: The shape.
        kubeconfig: Of a lab that is up.
        folder: An empty one, for the night's files.

    Returns:
        What became of it.
    """
    kube = Kube.connect(kubeconfig, None)
    with made(shape, kube, kubeconfig):
        there = kube.get("v1", "Namespace", NAMESPACE)
        with Changing(kubeconfig, shape.objects("changing", **words(kube))) as changing:
            done, seconds = night(shape, kubeconfig, folder)
        wrong, verdicts = judged(shape, done, folder)
        wrong += changing.wrong()
        if there is None and kube.get("v1", "Namespace", NAMESPACE) is not None:
            wrong.append(f"left or made namespace {NAMESPACE}")
        caught = fault_of_small(shape, kube, kubeconfig) if shape.exit_code == 2 else ""
        if shape.red and shape.without:
            caught = planted(shape, kubeconfig, folder)
    if shape.red and not shape.without:
        caught = planted(shape, kubeconfig, folder)
    return Outcome(shape.name, done.returncode, seconds, verdicts, tuple(wrong), caught)


@contextmanager
def made(shape: Shape, kube: Kube, kubeconfig: Path) -> Iterator[None]:
    """Install the shape for a while; what a lab of its own has more stays there."""
    more_control_planes(shape, kube, kubeconfig)
    before = kube.get("v1", "ConfigMap", "istio", "istio-system")
    assert before is not None or not shape.mesh
    refs: tuple[ObjectRef, ...] = ()
    objects, gone = shape.objects(nodes=nodes(kube), **words(kube)), ExitStack()
    try:
        gone.enter_context(taken_away(kube, shape))
        refs = apply(kube, objects)
        if shape.mesh and before is not None:
            changed = {**yaml.safe_load(before["data"]["mesh"]), **shape.mesh}
            kube.patch(
                "v1", "ConfigMap", "istio", {"data": {"mesh": yaml.safe_dump(changed)}}, "istio-system"
            )
        for ref in refs:
            if ref.kind == "Deployment":
                wait_deployments(kube, str(ref.namespace), [ref.name], timeout=120)
            if ref.kind == "StatefulSet":
                wait_stateful(kube, ref)
        if shape.freeze:
            freeze(kube, **shape.freeze)
        refs = (*refs, *apply(kube, shape.objects("after", **words(kube))))
        yield
    finally:
        delete(kube, refs, timeout=120)
        gone.close()
        if shape.mesh and before is not None:
            old = {"data": {"mesh": before["data"]["mesh"]}}
            kube.patch("v1", "ConfigMap", "istio", old, "istio-system")


def more_control_planes(shape: Shape, kube: Kube, kubeconfig: Path) -> None:
    """Install the shape's further control planes, and let tags say what is what."""
    if not shape.also:
        return
    config, machine = replaced(LabConfig(cluster="existing")), Machine.here()
    distribution = locate(config, machine=machine, images=(), kubernetes=None)
    istioctl = istioctl_of(ClusterRef("existing", "", kubeconfig, None), distribution)
    for name in shape.also:
        file = FOLDER / shape.name / name
        asked = config.model_copy(update={"istio": replace_model(config.istio, operator_file=file)})
        document, _ = operator_document(asked, distribution, in_cluster(kube))
        istioctl.install(document, timeout=180)
    program = [str(distribution.istioctl), "--kubeconfig", str(kubeconfig), "tag"]
    for tag, each in (shape.tags or {}).items():
        argv = [*program, "set", tag, "--revision", each, "--overwrite"]
        subprocess.run(argv, check=True, capture_output=True, timeout=60)
    # The first revision that is installed becomes the default by itself, in some versions.
    argv = [*program, "remove", "default", "--skip-confirmation"]
    subprocess.run(argv, check=False, capture_output=True, timeout=60)


def words(kube: Kube) -> dict[str, str]:
    """What is filled in: images that every node has, and the relabelling of the lab's Prometheus."""
    images = [image for pod in kube.pods("default", "app=sleep") for image in pod.images.values()]
    metrics = kube.pods("istio-system", "app.kubernetes.io/name=prometheus")
    return {
        "PROMETHEUS": next((image for pod in metrics for image in pod.images.values()), ""),
        "RELABEL": json.dumps(manifests.read("prometheus-relabel")),
        "IMAGE": next(each for each in images if "curl" in each),
    }


def nodes(kube: Kube) -> list[dict[str, str]]:
    """What is filled in of each node: its name, and the CPU that fills it."""
    found = rooms(kube.objects("v1", "Node"), kube.objects("v1", "Pod"))
    return [{"NODE_NAME": node.name, "FREE_CPU": f"{float(node.free['cpu']) - SPARE:.3f}"} for node in found]


def night(shape: Shape, kubeconfig: Path, folder: Path) -> tuple[subprocess.CompletedProcess[str], float]:
    """Run the nightly to its end; returns it and the seconds that it took."""
    risks = [
        {"rule": rule, "resource": "*", "reason": "a mesh to try things out", "expires": "2099-12-31"}
        for rule in shape.accepted
    ]
    settings: dict[str, Any] = {
        "istio": {"distribution": "embedded"},
        "images": "embedded",
        "runs_dir": str(folder / "runs"),
        "history": {"path": str(folder / "history.sqlite")},
        "audit": {"accepted": risks},
        "app": {"namespace": NAMESPACE},
        **(shape.settings or {}),
    }
    (folder / "runs").mkdir(parents=True)
    (folder / "night.yaml").write_text(json.dumps(settings))
    began = time.monotonic()
    done = subprocess.run(
        command("--kubeconfig", str(kubeconfig), "--config", str(folder / "night.yaml"), module="flows.nightly"),
        cwd=ROOT, capture_output=True, text=True, timeout=LONGEST, check=False, stdin=subprocess.DEVNULL,
        env={**own_prefect(folder / "runs"), **(shape.variables or {})},
    )  # fmt: skip
    (folder / "night.out").write_text(done.stdout + done.stderr)
    return done, time.monotonic() - began


def judged(
    shape: Shape, done: subprocess.CompletedProcess[str], folder: Path
) -> tuple[list[str], Mapping[str, int]]:
    """Say what of a night is not as listed, and how many checks have which verdict."""
    wrong = []
    if done.returncode != shape.exit_code:
        wrong.append(f"exit code {done.returncode}, listed is {shape.exit_code}")
    if shape.exit_code == 2:
        told = done.stdout + done.stderr
        wrong += [f"does not say {text!r}: {told[-500:]}" for text in shape.says if text not in told]
        wrong += ["made a run directory"] * any((folder / "runs").iterdir())
        return wrong, {}
    found = list((folder / "runs").glob("*/result.json"))
    if not found:
        return [*wrong, f"no result: {(done.stdout + done.stderr)[-1500:]}"], {}
    result = json.loads(found[0].read_text())
    wrong += not_as_listed(shape, result)
    return wrong, Counter(check["verdict"] for check in result["checks"])


def fault_of_small(shape: Shape, kube: Kube, kubeconfig: Path) -> str:
    """The shape is its own fault: the preflight names the nodes with the fillers, and nothing once they are gone."""
    config = LabConfig(cluster="existing")
    full = preflight.problems(kube, config)
    fillers = [each["metadata"]["name"] for each in kube.objects("apps/v1", "Deployment", "filled")]
    for name in fillers:
        kube.patch("apps/v1", "Deployment", name, {"spec": {"replicas": 0}}, "filled")
    wait_deployments(kube, "filled", fillers, timeout=60)
    free = [pod for pod in kube.pods("filled") if not pod.deleting]
    empty = preflight.problems(kube, config) if not free else full
    return "preflight: nodes" if [each.where for each in full] == ["nodes"] and not empty else ""


def planted(shape: Shape, kubeconfig: Path, folder: Path) -> str:
    """Plant the fault beside the lab's own app; returns the check that turned red, "" where it did not.

    The control is the same check on the same shape without the fault: it must pass.
    """
    lab, cluster = context_from_kubeconfig(kubeconfig, runs_dir=folder / "fault")
    config = replaced(lab.config)
    lab = begin_context(lab.run, config, Machine.here())
    kube = Kube.connect(kubeconfig, cluster.context)
    distribution = locate(config, machine=lab.machine, images=(), kubernetes=None)
    istioctl = istioctl_of(cluster, distribution)

    def verdict() -> str:
        pods = [pod for pod in kube.pods(config.namespace) if pod.is_ready]
        wait_acknowledged(kube, istioctl, pods)
        checks = GROUPS[shape.group](lab.run, config, cluster, distribution)
        return next(str(check.verdict) for check in checks if check.id == shape.red)

    with credentials_held(shape.variables), Changes(kube, lab.ledger, lab.run) as changes:
        if not shape.without:  # else the shape is still there
            there = shape.objects(**words(kube))
            changes.apply(*(each for each in there if NAMESPACE not in where(each)))
        changes.apply(
            *own_room.before_pods(kube, read_facts(kube, config.namespace), config, called(kube, config))
        )
        control = verdict()
        for ref in fault_of(shape, changes):
            if ref.kind == "Deployment":
                wait_deployments(kube, str(ref.namespace), [ref.name], timeout=60)
        if shape.gone:
            wait_gone(kube, **shape.gone)
        if shape.restart:
            restart(kube, config.namespace, shape)
        return shape.red if (control, verdict()) == ("pass", "fail") else ""


def fault_of(shape: Shape, changes: Changes) -> list[ObjectRef]:
    """Plant the shape's fault; of a workload that is there it names only what it changes."""
    refs = []
    for each in shape.objects("fault"):
        meta = each["metadata"]
        ref = ObjectRef(each["apiVersion"], each["kind"], meta.get("namespace"), meta["name"])
        if ref.kind in ("Deployment", "DaemonSet"):
            changes.patch(ref, {"spec": each["spec"]})
        else:
            changes.apply(each)
        refs.append(ref)
    return refs


def wait_gone(kube: Kube, namespace: str, selector: str) -> None:
    """Wait until no pod of these is there any more."""
    wait(
        f"no pod {selector}", lambda: kube.pods(namespace, selector), ready=lambda pods: not pods, timeout=90
    )


def restart(kube: Kube, namespace: str, shape: Shape) -> None:
    """Restart the shape's pods, and wait until they are Ready, or stuck where that is the fault."""
    old = {pod.uid for pod in kube.pods(namespace, shape.restart)}
    for pod in kube.pods(namespace, shape.restart):
        kube.delete("v1", "Pod", pod.name, namespace, foreground=False)
    if not shape.stuck:
        wait_deployments(kube, namespace, [shape.restart.partition("=")[2]], timeout=90)
        return

    def stuck() -> list[bool]:
        pods = kube.objects("v1", "Pod", namespace, selector=shape.restart)
        fresh = [each["status"] for each in pods if each["metadata"]["uid"] not in old]
        inits = [one for status in fresh for one in status.get("initContainerStatuses") or ()]
        return [each["restartCount"] > 0 for each in inits]

    wait(f"a pod {shape.restart} to fail in its init container", stuck, ready=any, timeout=90)


def where(document: Mapping[str, Any]) -> tuple[str, str]:
    """An object's name and namespace: those of the night's namespace are not for the fault."""
    meta = document["metadata"]
    return meta["name"], meta.get("namespace", "")


def replaced(config: LabConfig) -> LabConfig:
    """The settings with the lab's own build and the namespace of its app."""
    istio = replace_model(config.istio, distribution="embedded")
    app = replace_model(config.app, namespace="default")
    return replace_model(config, istio=istio, app=app, images="embedded")


def replace_model(model: Any, **fields: Any) -> Any:
    """A frozen settings object with other values."""
    return model.model_copy(update=fields)


def table(outcomes: Mapping[str, Outcome] | list[Outcome]) -> str:
    """The outcomes as a table, a line each, and what is not as listed under it."""
    found = list(outcomes.values()) if isinstance(outcomes, Mapping) else outcomes
    rows = [("shape", "exit", "passed", "failed", "skipped", "not as listed", "fault caught by", "s")]
    rows += [
        (each.shape, str(each.exit_code), *each.counts, str(len(each.wrong)), each.caught or "MISSED",
         f"{each.seconds:.0f}")
        for each in found
    ]  # fmt: skip
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows]
    return "\n".join([*lines, *(f"{each.shape}: {line}" for each in found for line in each.wrong)])
