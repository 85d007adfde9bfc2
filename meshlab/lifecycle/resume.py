"""Going on where a run was cut off: each step's result is kept, and trusted only where it still holds.

A finished step's result lies in the run's directory with the identity of the cluster (uid of kube-system), a hash of
what the step was given, and the pods that were there (uids and restarts). It is used instead of running the step
again when all of that is so still, and when the step's own verification holds on the live cluster. Prefect's cache
plays no part: it can't look at a cluster.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from meshlab.clusters.base import ClusterRef
from meshlab.config.settings import LabConfig
from meshlab.core import registry
from meshlab.core.errors import MeshlabError, Problem
from meshlab.core.files import write_atomically
from meshlab.kube.client import Kube
from meshlab.run.journal import RunRef, read_journal, record

FOLDER, CONFIG = "steps", "config.json"  # below the run's evidence
LEAVING = "leaving"  # event: from here on the run removes what it made; `whole`: after all of its steps
PAIRS = "\u0000pairs"  # the one key of a mapping that stands for one whose keys are no text
# Settings that say what becomes of a run, not what its steps do.
NO_INPUT = {"runs_dir", "keep", "keep_on_failure", "history"}
Verify = Callable[[Kube, LabConfig, Any], str]  # why a kept result does not hold, "" where it does


@dataclass(frozen=True)
class Kept:
    """A finished step's result. cluster: uid of kube-system. pods: uid → restarts of those it looked at."""

    step: str
    cluster: str
    inputs: str
    pods: Mapping[str, int]
    result: Any


@dataclass
class Resumption:
    """A run that goes on.

    Attributes:
        run: The run.
        begun: Names of the steps that it had begun when it was cut off.
        finished: Those of them that were done.
        doubted: Steps whose results are not trusted: the one that --from names, and those after it.
        leaving: All was done, and it was removing what it had made.
        told: Step → why its result is not used, "" where it is; in order.
    """

    run: RunRef
    begun: frozenset[str] = frozenset()
    finished: frozenset[str] = frozenset()
    doubted: frozenset[str] = frozenset()
    leaving: bool = False
    told: list[tuple[str, str]] = field(default_factory=list)

    def open_ends(self, steps: Sequence[str]) -> list[str]:
        """Those of these steps that were begun and not finished when the run was cut."""
        return [step for step in steps if step in self.begun and step not in self.finished]


def active(run: RunRef) -> Resumption | None:
    """The resumption of this run in this process, if it is one."""
    return registry.find(Resumption, run.run_id)


def problems(runs_dir: Path, run_id: str, step: str | None) -> list[Problem]:
    """Find what is wrong with --resume and --from, as far as files tell.

    Args:
        runs_dir: The folder of all runs.
        run_id: The run that is to go on.
        step: The step of --from.

    Returns:
        The problems.
    """
    run = find(runs_dir, run_id)
    if run is None:
        there = sorted(path.parent.parent.name for path in runs_dir.glob("*/evidence/journal.jsonl"))
        known = f"there are: {', '.join(there[-3:])}" if there else "there is none"
        remedy = f"{known}; --runs-dir names another folder"
        return [Problem(f"--resume {run_id}", f"is no run below {runs_dir}", remedy)]
    known_steps = steps_of(run)
    if step is not None and step not in known_steps:
        return [Problem(f"--from {step}", f"is no step of run {run_id}", f"one of: {', '.join(known_steps)}")]
    return []


def find(runs_dir: Path, run_id: str) -> RunRef | None:
    """Find a run by its id.

    Args:
        runs_dir: The folder of all runs.
        run_id: The run's id.

    Returns:
        The run; None where its directory holds no journal of it.
    """
    directory = (runs_dir / run_id).absolute()
    run = RunRef(run_id, directory, "", "")
    if "/" in run_id or not run.journal.is_file():
        return None
    first = next((event for event in read_journal(run) if event["event"] == "run"), None)
    return RunRef(run_id, directory, first["flow"], first["started"]) if first else None


def steps_of(run: RunRef) -> list[str]:
    """Names of the steps that the run began, in order."""
    return list(_states(run))


def _states(run: RunRef) -> dict[str, str]:
    """The last state of each step, in the order of their beginnings."""
    return {event["name"]: event["state"] for event in read_journal(run) if event["event"] == "step"}


def begin(run: RunRef, step: str | None = None) -> Resumption:
    """Take the run up again in this process.

    Args:
        run: The run.
        step: Trust nothing from there on.

    Returns:
        What the run had done; `active` gives it from now on.
    """
    last = _states(run)
    order = list(last)
    doubted = frozenset(order[order.index(step) :]) if step is not None else frozenset[str]()
    finished = frozenset(name for name, state in last.items() if state == "done")
    resumption = Resumption(run, frozenset(order), finished, doubted, leaving(run) is True)
    record(run, {"event": "resumed", "from": step, "finished": sorted(finished)})
    registry.put(resumption, run.run_id)
    return resumption


def leave(run: RunRef, *, stopped: bool) -> bool:
    """Write down that from now on the run removes what it made.

    Args:
        run: The run.
        stopped: A signal ended it before.

    Returns:
        Whether all of its steps were tried before.
    """
    failed = False
    for event in read_journal(run):
        failed = event["event"] == "failure" or (failed and event["event"] != "resumed")
    whole = not stopped and not failed
    record(run, {"event": LEAVING, "whole": whole})
    return whole


def leaving(run: RunRef) -> bool | None:
    """Whether the run had tried all of its steps when it began to remove what it made; None where it had not begun."""
    marks = [event["whole"] for event in read_journal(run) if event["event"] == LEAVING]
    return marks[-1] if marks else None


def keep_config(run: RunRef, config: LabConfig) -> None:
    """Keep what the run was asked for, so that it can go on by its id alone.

    Args:
        run: The run.
        config: What it was asked for.
    """
    write_atomically(
        run.evidence / CONFIG, config.model_dump_json(indent=1, exclude_defaults=True) + "\n", durable=True
    )


def kept_config(run: RunRef) -> dict[str, Any]:
    """What the run was asked for, without the defaults; empty where it was not kept."""
    path = run.evidence / CONFIG
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


def keep(
    run: RunRef, step: str, value: Any, kind: Any, *, cluster: str, inputs: str, pods: Mapping[str, int]
) -> None:
    """Write a finished step's result down.

    Args:
        run: The run.
        step: The step's name.
        value: Its result.
        kind: Its type, by which it is read again.
        cluster: The identity of the cluster that it looked at.
        inputs: A hash of what it was given.
        pods: The pods that it looked at: uid → restarts.
    """
    folder = run.evidence / FOLDER
    folder.mkdir(exist_ok=True)
    result = _pack(TypeAdapter(kind).dump_python(value))
    content = {"step": step, "cluster": cluster, "inputs": inputs, "pods": pods, "result": result}
    write_atomically(folder / f"{step}.json", json.dumps(content) + "\n", durable=True)


def kept(run: RunRef, step: str) -> Kept | None:
    """Read what is kept of a step.

    Args:
        run: The run.
        step: The step's name.

    Returns:
        It; None where nothing that can be read is kept.
    """
    path = run.evidence / FOLDER / f"{step}.json"
    try:
        return Kept(**json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None


def why_not(
    found: Kept | None,
    resumption: Resumption,
    step: str,
    *,
    cluster: str,
    inputs: str,
    pods: Mapping[str, int],
) -> str:
    """Say why a kept result is not to be trusted, before the step's own verification is asked.

    Args:
        found: What is kept.
        resumption: What the run had done.
        step: The step's name.
        cluster: The identity of the cluster, now.
        inputs: A hash of what the step is given, now.
        pods: The pods, now: uid → restarts.

    Returns:
        The reason; "" where it may be trusted.
    """
    if step not in resumption.finished:
        return "it had not finished"
    if step in resumption.doubted:
        return "--from names it, or a step before it"
    if found is None:
        return "its result was not kept"
    if found.cluster != cluster:
        return "it was made on another cluster"
    if found.inputs != inputs:
        return "it was given something else"
    if not found.pods.items() <= pods.items():
        return "pods were replaced or restarted since"
    return ""


def read_result(found: Kept, kind: Any) -> Any:
    """Read a kept result as a value of its type.

    Args:
        found: What is kept.
        kind: The type.

    Returns:
        The value.

    Raises:
        MeshlabError: It is no such value.
    """
    try:
        return TypeAdapter(kind).validate_python(_unpack(found.result))
    except ValidationError as problem:
        raise MeshlabError(
            f"the kept result of {found.step} can't be read: {problem.error_count()} faults"
        ) from problem


def inputs_hash(config: LabConfig, others: Mapping[str, Any]) -> str:
    """Hash what a step is given: the settings that matter, and the values of earlier steps.

    Args:
        config: The settings of the run.
        others: The values of earlier steps.

    Returns:
        The hash.
    """
    settings = config.model_dump(mode="json", exclude=NO_INPUT)
    rest = {name: _plain(value) for name, value in others.items()}
    text = json.dumps([settings, rest], sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()


def identity(kube: Kube) -> str:
    """What makes a cluster itself, and no other one of its name: the uid of kube-system. Raises KubeError."""
    namespace = kube.get("v1", "Namespace", "kube-system")
    return str(namespace["metadata"]["uid"]) if namespace else ""


def pods_of(kube: Kube, namespace: str) -> dict[str, int]:
    """List the app's pods and Istio's own, wherever they run.

    Args:
        kube: Client of the cluster.
        namespace: Of the application.

    Returns:
        uid → restarts.

    Raises:
        KubeError: They can't be listed.
    """
    pods = [*kube.pods(namespace), *kube.pods(None, "istio")]
    return {pod.uid: pod.restarts for pod in pods}


def _pack(value: Any) -> Any:
    """A value as JSON can hold it: mappings whose keys are no text become lists of pairs."""
    if isinstance(value, Mapping):
        if all(isinstance(key, str) for key in value):
            return {key: _pack(each) for key, each in value.items()}
        return {PAIRS: [[_pack(key), _pack(each)] for key, each in value.items()]}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_pack(each) for each in value]
    if isinstance(value, datetime):
        return value.isoformat()
    return value if value is None or isinstance(value, (bool, int, float, str)) else str(value)


def _unpack(value: Any) -> Any:
    if isinstance(value, list):
        return [_unpack(each) for each in value]
    if not isinstance(value, dict):
        return value
    if set(value) == {PAIRS}:
        return {_hashable(_unpack(key)): _unpack(each) for key, each in value[PAIRS]}
    return {key: _unpack(each) for key, each in value.items()}


def _hashable(value: Any) -> Any:
    return tuple(_hashable(each) for each in value) if isinstance(value, list) else value


def _plain(value: Any) -> Any:
    """A value in a form that is the same in every process; of a cluster, only which one it is."""
    if isinstance(value, ClusterRef):
        return [value.provider, value.name, value.endpoint]
    return _pack(TypeAdapter(type(value)).dump_python(value))
