"""The cluster's own containerd (never the host's): its configuration, its start, the import of image archives."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from meshlab.clusters.local.files import tail
from meshlab.core.errors import ClusterError, MeshlabError
from meshlab.core.process import Runner
from meshlab.core.waiting import Clock, SystemClock, wait

log = logging.getLogger(__name__)
NAMESPACE = "k8s.io"  # containerd's namespace for what Kubernetes sees
CNI_PLUGINS = Path("/usr/lib/cni")  # where Debian's containernetworking-plugins puts them
IMPORT_TIMEOUT = 600.0  # seconds; a cold disk takes a tenth of it
INSTALL = "install the Debian package containerd (`make lab` does it)"
SOCKET_MAX = 107  # bytes in a Unix socket's address without its NUL (unix(7)); ".ttrpc" is appended
# Plugins that need other file systems, or that write outside root and state (opt: /opt/containerd).
UNUSED_PLUGINS = (
    "io.containerd.snapshotter.v1.aufs",
    "io.containerd.snapshotter.v1.btrfs",
    "io.containerd.snapshotter.v1.devmapper",
    "io.containerd.snapshotter.v1.zfs",
    "io.containerd.internal.v1.opt",
    "io.containerd.internal.v1.tracing",
    "io.containerd.tracing.processor.v1.otlp",
)


@dataclass(frozen=True)
class ContainerdConfig:
    """One containerd: root (images and snapshots, persistent), state (runtime files), socket (gRPC address).

    sandbox_image, cni_conf_dir and cni_bin_dir matter only with cri, the plugin that kubelet talks to.
    """

    root: Path
    state: Path
    socket: Path
    sandbox_image: str = ""
    cni_conf_dir: Path | None = None
    cni_bin_dir: Path = CNI_PLUGINS
    cri: bool = True


def render(config: ContainerdConfig) -> str:
    """Return the configuration file (TOML, version 2) for containerd 1.6.

    Sources: containerd's docs/man/containerd-config.toml.5 and docs/cri/config.md at v1.6.
    Raises ClusterError when the socket's path is longer than the kernel allows, or cri lacks its settings.
    """
    if len(os.fsencode(config.socket)) + len(".ttrpc") > SOCKET_MAX:
        raise ClusterError(
            f"the socket path {config.socket} is too long for a Unix socket",
            remedy="use a shorter state folder",
        )
    disabled = [*UNUSED_PLUGINS, *([] if config.cri else ["io.containerd.grpc.v1.cri"])]
    lines = [
        "version = 2",
        f"root = {_quote(config.root)}",
        f"state = {_quote(config.state)}",
        f"disabled_plugins = {json.dumps(disabled)}",
        "[grpc]",
        f"  address = {_quote(config.socket)}",
        "[debug]",
        '  level = "warn"',
    ]
    if config.cri:
        lines += _cri(config)
    return "\n".join(lines) + "\n"


def _cri(config: ContainerdConfig) -> list[str]:
    if not config.sandbox_image or config.cni_conf_dir is None:
        raise ClusterError("containerd's CRI needs sandbox_image and cni_conf_dir")
    cri = 'plugins."io.containerd.grpc.v1.cri"'
    return [
        f"[{cri}]",
        f"  sandbox_image = {_quote(config.sandbox_image)}",
        # Pod network namespaces are bind mounts; the default place, /var/run/netns, is shared with the host.
        "  netns_mounts_under_state_dir = true",
        # Without CAP_SYS_RESOURCE an OOM score can't be lowered below our own: clamp it instead of failing.
        "  restrict_oom_score_adj = true",
        "  tolerate_missing_hugetlb_controller = true",
        "  disable_hugetlb_controller = true",
        f"[{cri}.containerd]",
        '  snapshotter = "overlayfs"',
        '  default_runtime_name = "runc"',
        f"[{cri}.containerd.runtimes.runc]",
        '  runtime_type = "io.containerd.runc.v2"',
        f"[{cri}.containerd.runtimes.runc.options]",
        # runc's own default, /run/runc, is shared with the host.
        f"  Root = {_quote(config.state / 'runc')}",
        "  SystemdCgroup = false",
        f"[{cri}.cni]",
        f"  conf_dir = {_quote(config.cni_conf_dir)}",
        f"  bin_dir = {_quote(config.cni_bin_dir)}",
        "  max_conf_num = 1",
        f"[{cri}.registry]",
        # An empty folder: the host's registry settings and credentials play no part.
        f"  config_path = {_quote(config.root / 'no-registries')}",
    ]


def _quote(value: Path | str) -> str:
    return json.dumps(os.fspath(value))  # a JSON string is a TOML basic string


def prepare(config: ContainerdConfig, file: Path) -> Path:
    """Make the folders of a containerd and write its configuration. Running it again is fine.

    Args:
        config: The containerd.
        file: Where the configuration goes.

    Returns:
        `file`.
    """
    text = render(config)
    registries = config.root / "no-registries"
    for folder in (config.root, registries, config.state, config.socket.parent, file.parent):
        folder.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    return file


def command(file: Path, *, prefix: Sequence[str] = ()) -> tuple[str, ...]:
    """Return the command that runs containerd.

    Args:
        file: Its configuration.
        prefix: What runs it, e.g. `nsenter --net=…`.

    Returns:
        The whole command.
    """
    return (*prefix, "containerd", "--config", os.fspath(file))


def start(
    config: ContainerdConfig, file: Path, *, runner: Runner, log_file: Path, prefix: Sequence[str] = ()
) -> subprocess.Popen[bytes]:
    """Write the configuration and start containerd; `await_ready` awaits its answer.

    Args:
        config: The containerd.
        file: Where the configuration goes.
        runner: Starts it.
        log_file: Gets its output.
        prefix: What runs it, e.g. `unshare --mount`.

    Returns:
        The process.

    Raises:
        ProcessError: It can't be started.
    """
    prepare(config, file)
    return runner.spawn(command(file, prefix=prefix), log_file=log_file)


def await_ready(
    socket: Path,
    *,
    runner: Runner,
    timeout: float = 30,
    child: subprocess.Popen[bytes] | None = None,
    log_file: Path | None = None,
    clock: Clock | None = None,
    stop: threading.Event | None = None,
) -> None:
    """Wait until containerd answers on its socket.

    Args:
        socket: Its gRPC socket.
        runner: Starts `ctr`.
        timeout: Seconds, at most.
        child: The process, so that its early end fails at once.
        log_file: Its end is in the message of a failure.
        clock: Of the wait; the machine's where not given.
        stop: Ends the wait when it is set.

    Raises:
        ClusterError: It exited.
        WaitTimeout: It does not answer.
    """
    remedy = f"read {log_file}" if log_file else ""

    def log_end() -> str:
        return tail(log_file, 1500) if log_file else ""

    def probe() -> str:
        if child is not None and child.poll() is not None:
            return f"exited with {child.returncode}"
        if not socket.exists():
            return "no socket yet"
        done = runner.run(ctr(socket, "version"), timeout=10, check=False, stop=stop)
        return "answers" if done.returncode == 0 else (done.stderr.strip()[-300:] or "no answer")

    def error(state: str) -> MeshlabError | None:
        if state.startswith("exited"):
            return ClusterError(f"containerd {state}: {log_end()}", remedy=remedy)
        return None

    wait(
        f"containerd on {socket}",
        probe,
        ready=lambda state: state == "answers",
        error=error,
        timeout=timeout,
        delay=0.05,
        explain=log_end,
        clock=clock or SystemClock(stop),
        remedy=remedy,
    )


def ctr(socket: Path, *words: str) -> tuple[str, ...]:
    """Return the argument list of a `ctr` command for the containerd on a socket."""
    address = ("--address", os.fspath(socket), "--connect-timeout", "5s")
    return ("ctr", *address, "--namespace", NAMESPACE, *words)


def import_archive(
    socket: Path,
    archive: Path,
    *,
    runner: Runner,
    stop: threading.Event | None = None,
) -> None:
    """Import and unpack every image of an archive: an OCI layout or what `docker save` writes.

    Images get the names that the archive gives them: the annotation io.containerd.image.name, or RepoTags.

    Args:
        socket: containerd's gRPC socket.
        archive: The file.
        runner: Starts `ctr`.
        stop: Ends it when it is set.

    Raises:
        ProcessError: The import failed.
    """
    words = ("images", "import", "--snapshotter", "overlayfs", os.fspath(archive))
    remedy = f"look whether {archive} is a whole OCI or docker-save archive for this machine's architecture"
    runner.run(ctr(socket, *words), timeout=IMPORT_TIMEOUT, stop=stop, remedy=remedy)


def remove_images(socket: Path, references: Sequence[str], *, runner: Runner) -> None:
    """Remove images by their names; what only they use goes with them, at containerd's leisure.

    Args:
        socket: containerd's gRPC socket.
        references: The names.
        runner: Starts `ctr`.
    """
    runner.run(ctr(socket, "images", "remove", *references), timeout=60, check=False)


def image_names(socket: Path, *, runner: Runner) -> tuple[str, ...]:
    """Return names of the images that containerd holds, sorted. Raises ProcessError."""
    done = runner.run(ctr(socket, "images", "list", "--quiet"), timeout=30)
    return tuple(sorted(line for line in done.stdout.split() if line))


def version(*, runner: Runner) -> str:
    """Return the installed containerd's version, for instance 1.6.20~ds1. Raises ProcessError when there is none."""
    words = runner.run(("containerd", "--version"), timeout=10, remedy=INSTALL).stdout.split()
    if len(words) < 3:
        raise ClusterError(f"containerd --version said {' '.join(words)!r}", remedy=INSTALL)
    return words[2]
