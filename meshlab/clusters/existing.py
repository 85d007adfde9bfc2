"""A cluster that somebody else runs, named by a kubeconfig's context. Nothing of it is made or removed."""

from __future__ import annotations

import json
import os
import shutil
import threading
from collections.abc import Iterator, Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

import yaml

from meshlab.clusters.base import ClusterRef, Leftovers
from meshlab.config.settings import ExistingSettings, Machine
from meshlab.core.errors import Problem
from meshlab.core.files import write_atomically
from meshlab.core.progress import Progress, Update
from meshlab.core.redaction import register
from meshlab.kube.api_errors import api_errors
from meshlab.kube.client import Kube

SECRETS = ("token", "password", "client-key-data")  # of a kubeconfig's user
PATHS = ("certificate-authority", "client-certificate", "client-key", "tokenFile")  # of clusters and users
PROVIDER_SECRETS = ("access-token", "id-token", "refresh-token", "client-secret")


class ExistingCluster:
    """The provider `existing`: finds the cluster and says whether it answers."""

    def __init__(self, settings: ExistingSettings, machine: Machine) -> None:
        self._settings, self._machine = settings, machine
        self._kubeconfig = kubeconfig_of(settings, machine)

    def up(self, *, progress: Progress, stop: threading.Event | None = None) -> ClusterRef:
        """Ask the API server for its version.

        Args:
            progress: Told how far it came.
            stop: Not used: there is nothing to wait for.

        Returns:
            The cluster.

        Raises:
            KubeError: It does not answer.
        """
        context = self._settings.context or current_context(self._kubeconfig)
        kube = Kube.connect(self._kubeconfig, context)
        with api_errors(f"ask {kube.host} for its version"):
            version = kube.version.get_code().git_version
        progress(Update(f"context {context}", 1, 1, f"Kubernetes {version}"))
        name = named(self._settings, self._machine)
        return ClusterRef("existing", name, self._kubeconfig, context, adopted=True)

    def inventory(self) -> Leftovers:
        """Nothing: the machines are not ours to list."""
        return Leftovers()

    def collect_logs(self, directory: Path) -> Sequence[Path]:
        """Nothing beyond what the Kubernetes API gives, which the evidence holds anyway."""
        return ()

    def down(self, *, progress: Progress) -> None:
        """Leave it as it is."""
        progress(Update("existing cluster", 1, 1, "left running, it is not ours"))


def kubeconfig_of(settings: ExistingSettings, machine: Machine) -> Path:
    """Find the kubeconfig that is used: the setting, the files of KUBECONFIG as kubectl reads them, or ~/.kube/config.

    Args:
        settings: May name the file.
        machine: Its KUBECONFIG, its home folder, and where a file that is made of several is kept.

    Returns:
        The file. Of several files one is made, readable for us alone, as the programs that we start take one.
    """
    if settings.kubeconfig:
        return settings.kubeconfig.expanduser()
    named = [Path(name) for name in machine.kubeconfig.split(os.pathsep) if name]
    there = [path for path in named if path.exists()]  # a file that is missing is passed over
    if len(there) > 1:
        return merged(there, machine)
    return next(iter(there or named), machine.home / ".kube" / "config")


def merged(paths: Sequence[Path], machine: Machine) -> Path:
    """Make one kubeconfig of several: of entries with the same name, and of current contexts, the first one counts.

    Source: the Kubernetes documentation, "Merging kubeconfig files". Paths in a file are relative to its folder.

    Args:
        paths: The files, in the order of KUBECONFIG. One that is no YAML mapping is left to be told by `problems`.
        machine: Where the new file is kept: one for each such list of files, which the next call replaces.

    Returns:
        The new file, or the first of these files that can't be read.
    """
    content: dict[str, Any] = {"apiVersion": "v1", "kind": "Config"}
    for path in paths:
        part, found = _content_of(path, "kubeconfig")
        if found:
            return path
        if part.get("current-context"):
            content.setdefault("current-context", part["current-context"])
        for kind in ("clusters", "contexts", "users"):
            known = content.setdefault(kind, [])
            names = {each["name"] for each in known}
            entries = _by_name(part, kind).items()
            known += [_absolute(each, path) for name, each in entries if name not in names]
    listed = os.pathsep.join(str(path.resolve()) for path in paths)
    target = machine.state / "kubeconfigs" / f"{sha256(listed.encode()).hexdigest()[:16]}.yaml"
    target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    write_atomically(target, yaml.safe_dump(content), mode=0o600)
    return target


def _absolute(entry: Mapping[str, Any], path: Path) -> dict[str, Any]:
    """An entry whose paths hold from anywhere."""
    whole = json.loads(json.dumps(entry, default=str))
    for part in (whole.get("cluster"), whole.get("user")):
        for name in PATHS if isinstance(part, dict) else ():
            if part.get(name):
                part[name] = str(path.parent.resolve() / part[name])
    plugin = (whole.get("user") or {}).get("exec")
    if isinstance(plugin, dict) and os.sep in str(plugin.get("command", "")):
        plugin["command"] = str(path.parent.resolve() / plugin["command"])
    return dict(whole)


def named(settings: ExistingSettings, machine: Machine) -> str:
    """Return what the cluster is called: by its context.

    Args:
        settings: Which cluster is meant.
        machine: This machine: its folders and what it has.

    Returns:
        The name.
    """
    return settings.context or current_context(kubeconfig_of(settings, machine)) or "current-context"


def connect(settings: ExistingSettings, machine: Machine) -> Kube:
    """Connect to the cluster that the settings mean.

    Args:
        settings: Which cluster is meant.
        machine: This machine: its folders and what it has.

    Returns:
        A client of it, which has not asked it yet.

    Raises:
        KubeError: The kubeconfig is of no use.
    """
    path = kubeconfig_of(settings, machine)
    return Kube.connect(path, settings.context or current_context(path))


def current_context(kubeconfig: Path) -> str | None:
    """The kubeconfig's current context, None when it names none."""
    content, _ = read_kubeconfig(kubeconfig, "kubeconfig")
    name = content.get("current-context")
    return str(name) if name else None


def problems(settings: ExistingSettings, machine: Machine) -> list[Problem]:
    """Find what is wrong with kubeconfig and context; the cluster itself is not asked.

    Args:
        settings: Which cluster is meant.
        machine: This machine: its folders and what it has.

    Returns:
        The problems.
    """
    path = kubeconfig_of(settings, machine)
    where = "--kubeconfig" if settings.kubeconfig else "kubeconfig"
    content, found = read_kubeconfig(path, where)
    if found:
        return found
    contexts = _by_name(content, "contexts")
    names = ", ".join(contexts) or "none there"
    wanted = settings.context or content.get("current-context")
    if not wanted:
        return [Problem("--context", f"{path} has no current context", f"name one of: {names}")]
    if wanted not in contexts:
        return [Problem("--context", f"{path} has no context {wanted!r}", f"one of: {names}")]
    context = contexts[str(wanted)].get("context")
    cluster = context.get("cluster") if isinstance(context, dict) else None
    if cluster not in _by_name(content, "clusters"):
        what = f"context {wanted!r} of {path} names cluster {cluster!r}, which is not in the file"
        return [Problem("--context", what, f"mend the kubeconfig, or name another context: {names}")]
    user = context.get("user") if isinstance(context, dict) else None
    return list(_plugin_problem(content, str(user), path, machine))


def _plugin_problem(content: dict[str, object], user: str, path: Path, machine: Machine) -> Iterator[Problem]:
    """A program that gives the user's credentials, and is not on this machine."""
    entry = _by_name(content, "users").get(user, {}).get("user")
    plugin = entry.get("exec") if isinstance(entry, dict) else None
    command = str(plugin.get("command", "")) if isinstance(plugin, dict) else ""
    found = command and shutil.which(
        str(path.parent / command) if os.sep in command else command, path=machine.path
    )
    if command and not found:
        hint = " ".join(str(plugin.get("installHint") or "").split()) if isinstance(plugin, dict) else ""
        what = f"user {user!r} of {path} gets its credentials from the program {command}, which is not on this machine"
        yield Problem("kubeconfig", what, hint or f"install {command}, or name another context")


def read_kubeconfig(path: Path, where: str) -> tuple[dict[str, object], list[Problem]]:
    """A kubeconfig's content, or the problem with it."""
    content, found = _content_of(path, where)
    if not found and not isinstance(content.get("contexts"), list):
        what = f"{path} is no kubeconfig: it has no list of contexts"
        return {}, [Problem(where, what, "name another with --kubeconfig")]
    return content, found


def _content_of(path: Path, where: str) -> tuple[dict[str, object], list[Problem]]:
    """What a file holds, which may be a part of a kubeconfig only; its secrets are known to the redaction from then on."""
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except OSError as wrong:
        what, remedy = f"can't be read: {wrong.strerror}", "name a readable kubeconfig with --kubeconfig"
        return {}, [Problem(where, f"{path} {what}", remedy)]
    except (UnicodeDecodeError, yaml.YAMLError):
        return {}, [Problem(where, f"{path} is no valid YAML", "mend the kubeconfig, or name another")]
    if not isinstance(content, dict):
        what = f"{path} is no kubeconfig: it has no list of contexts"
        return {}, [Problem(where, what, "name another with --kubeconfig")]
    for entry in _by_name(content, "users").values():
        user = entry.get("user")
        fields = user if isinstance(user, dict) else {}
        register(*(str(fields[name]) for name in SECRETS if fields.get(name)))
        provider = fields.get("auth-provider")  # of older clients
        kept = provider.get("config") if isinstance(provider, dict) else None
        given = kept if isinstance(kept, dict) else {}
        register(*(str(given[name]) for name in PROVIDER_SECRETS if given.get(name)))
    return content, []


def _by_name(content: dict[str, object], key: str) -> dict[str, dict[str, object]]:
    """The named entries of one of a kubeconfig's lists."""
    entries = content.get(key)
    named = entries if isinstance(entries, list) else []
    return {str(entry["name"]): entry for entry in named if isinstance(entry, dict) and "name" in entry}
