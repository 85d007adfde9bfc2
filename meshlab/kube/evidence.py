"""Writes down what the cluster knows about a failure, before a teardown removes it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import yaml

from meshlab.core.errors import KubeError
from meshlab.core.redaction import redact
from meshlab.kube.client import Kube
from meshlab.kube.pods import PodSummary

KINDS = (
    ("v1", "Pod"),
    ("v1", "Service"),
    ("v1", "ConfigMap"),
    ("apps/v1", "Deployment"),
    ("apps/v1", "ReplicaSet"),
    ("apps/v1", "StatefulSet"),
    ("apps/v1", "DaemonSet"),
)
LOG_LINES = 500
SENSITIVE = re.compile(r"passw|secret|token|credential|api[_-]?key|private[_-]?key", re.IGNORECASE)
HIDDEN = "<not shown>"


def dump_evidence(
    kube: Kube,
    namespaces: Iterable[str],
    directory: Path,
    *,
    redact: Callable[[str], str] = redact,
) -> tuple[Path, ...]:
    """Write objects (YAML), events and container logs of namespaces.

    Secrets are never read; environment values whose name sounds like one are hidden, and `redact` sees
    every text before it is written. Logs: the last 500 lines of each container, and of its previous run
    where it restarted. What can't be read is listed in problems.txt: evidence is gathered on failures, so
    it takes what it gets.

    Args:
        kube: Client of the cluster.
        namespaces: Their names.
        directory: Where the files go.
        redact: Takes secrets out of a text.

    Returns:
        The files.
    """
    written: list[Path] = []
    problems: list[str] = []

    def keep(name: str, read: Callable[..., str], *args: Any, **kwargs: Any) -> None:
        try:
            text = read(*args, **kwargs)
        except KubeError as problem:
            problems.append(f"{name}: {problem.message}")
            return
        if text:
            written.append(_write(directory / name, redact(text)))

    keep("nodes.yaml", _objects, kube, "v1", "Node", None)
    for namespace in namespaces:
        for api_version, kind in KINDS:
            keep(f"{namespace}/{kind.lower()}s.yaml", _objects, kube, api_version, kind, namespace)
        keep(f"{namespace}/pods.txt", _pod_table, kube, namespace)
        keep(f"{namespace}/events.txt", _events, kube, namespace)
        for pod in _pods(kube, namespace):
            for container in pod.images:
                base = f"{namespace}/logs/{file_name(f'{pod.name}.{container}')}"
                where = (namespace, pod.name, container)
                keep(f"{base}.log", kube.pod_log, *where, lines=LOG_LINES)
                if pod.restarts:
                    keep(f"{base}.previous.log", kube.pod_log, *where, previous=True, lines=LOG_LINES)
    if problems:
        written.append(_write(directory / "problems.txt", redact("\n".join(problems) + "\n")))
    return tuple(written)


def file_name(text: str) -> str:
    """Make a file's name of what a cluster calls something: it is no path, whatever the cluster says."""
    return re.sub(r"[^A-Za-z0-9._-]", "_", text).lstrip(".")[:200] or "_"


def _pods(kube: Kube, namespace: str) -> list[PodSummary]:
    try:
        return kube.pods(namespace)
    except KubeError:
        return []  # said already by the attempt to write them


def _write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def _objects(kube: Kube, api_version: str, kind: str, namespace: str | None) -> str:
    return yaml.safe_dump_all(
        [_cleaned(o) for o in kube.objects(api_version, kind, namespace)], sort_keys=False
    )


def _cleaned(value: Any) -> Any:
    """A copy without the bookkeeping of server-side apply, and without values that sound secret."""
    if isinstance(value, list):
        return [_cleaned(each) for each in value]
    if not isinstance(value, dict):
        return value
    copy = {
        key: _cleaned(each)
        for key, each in value.items()
        if key not in ("managedFields", "kubectl.kubernetes.io/last-applied-configuration")
    }
    if "value" in copy and SENSITIVE.search(str(copy.get("name", ""))):
        copy["value"] = HIDDEN
    return copy


def _pod_table(kube: Kube, namespace: str) -> str:
    pods = kube.pods(namespace)
    lines = [f"{p.name:60} {p.ready:6} {p.status:20} {p.restarts:4} {p.ip:16} {p.node}" for p in pods]
    return "\n".join(lines) + "\n" if lines else ""


def _events(kube: Kube, namespace: str) -> str:
    def when(event: dict[str, Any]) -> str:
        return str(
            event.get("lastTimestamp") or event.get("eventTime") or event["metadata"].get("creationTimestamp")
        )

    lines = []
    for event in sorted(kube.objects("v1", "Event", namespace), key=when):
        about = event.get("involvedObject", {})
        lines.append(
            f"{when(event)} {event.get('type', ''):8} {event.get('reason', ''):24} "
            f"{about.get('kind', '')}/{about.get('name', '')}: {event.get('message', '')}"
        )
    return "\n".join(lines) + "\n" if lines else ""
