"""The base root file system that every image shares: a small Debian with Python, curl and iptables.

Made with mmdebstrap's `extract` variant from the machine's own apt sources: packages are unpacked, not
configured (no maintainer script, no chroot), and the few things that configuring would make are made here.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
import tempfile
import threading
from pathlib import Path

from meshlab.clusters.local.files import locked
from meshlab.clusters.local.oci import Layer, write_tree
from meshlab.core.errors import BuildError
from meshlab.core.process import Runner
from meshlab.core.progress import Progress, Update, silent

log = logging.getLogger(__name__)
SUITE = "bookworm"
# What runs inside the images: Python and its standard library (the workloads), curl and a shell (sleep,
# exec), iptables (istio-init), and a few tools to look inside. Dependencies come by themselves.
PACKAGES = (
    "base-files",
    "ca-certificates",
    "coreutils",
    "curl",
    "dash",
    "grep",
    "iproute2",
    "iptables",
    "libpython3-stdlib",
    "netbase",
    "procps",
    "python3-minimal",
    "sed",
)
RECIPE = 1  # raise it when anything below changes what the root file system holds
APT_CONFIG = Path("/etc/apt")
HOOKS = Path("/usr/share/mmdebstrap/hooks/merged-usr")  # bin, lib and sbin are links into usr
# The kernel ends the command when the thread that started it ends, so not even a kill -9 leaves it behind.
ENDS_WITH_US = ("setpriv", "--pdeathsig", "TERM")
TIMEOUT = 600.0  # seconds for download and unpacking
STRIPPED = (
    "etc/apt", "etc/fstab", "etc/hostname", "etc/resolv.conf", "etc/cron.daily",
    "usr/lib/python3.11/config-3.11-*", "usr/lib/python3.11/ensurepip", "usr/lib/python3.11/lib2to3",
    "usr/lib/python3.11/pydoc_data", "usr/lib/x86_64-linux-gnu/gconv", "usr/lib/x86_64-linux-gnu/perl*",
    "usr/share/bash-completion", "usr/share/bug", "usr/share/doc", "usr/share/info", "usr/share/lintian",
    "usr/share/locale", "usr/share/man", "usr/share/perl5", "usr/share/zsh", "var/cache/*", "var/lib/apt",
    "var/lib/dpkg", "var/log/*", "tmp/*", "dev/*",
)  # fmt: skip
# Users that the images name: `nobody` runs Prometheus, 1337 is the number that Istio's redirection exempts.
PASSWD = """\
root:x:0:0:root:/root:/bin/sh
curl_user:x:100:101::/home/curl_user:/bin/sh
bookinfo:x:1000:1000::/home/bookinfo:/bin/sh
istio-proxy:x:1337:1337::/home/istio-proxy:/bin/sh
jaeger:x:10001:10001::/home/jaeger:/bin/sh
nobody:x:65534:65534::/nonexistent:/bin/sh
"""
GROUP = """\
root:x:0:
curl_group:x:101:
bookinfo:x:1000:
istio-proxy:x:1337:
jaeger:x:10001:
nogroup:x:65534:
"""


def key(packages: tuple[str, ...] = PACKAGES, suite: str = SUITE) -> str:
    """Return 16 hexadecimal digits that change when packages, suite, recipe or the stripping change.

    Args:
        packages: Debian packages.
        suite: The Debian release.

    Returns:
        The key under which the base layer is cached.
    """
    seed = json.dumps([sorted(packages), suite, RECIPE, STRIPPED, PASSWD, GROUP, os.uname().machine])
    return hashlib.sha256(seed.encode()).hexdigest()[:16]


def ensure(
    *,
    cache_dir: Path,
    runner: Runner,
    progress: Progress = silent,
    stop: threading.Event | None = None,
    apt_config: Path = APT_CONFIG,
) -> Layer:
    """Return the base layer, making it first when `<cache_dir>/rootfs/<key>/` does not hold it.

    An interrupted build leaves nothing that is taken for whole; of two, one builds and the other waits.

    Args:
        cache_dir: The cache folder.
        runner: Starts mmdebstrap.
        progress: Gets what is being done.
        stop: Ends it when it is set.
        apt_config: Where the machine's apt sources are.

    Returns:
        The layer that all images share.

    Raises:
        BuildError: The machine has no apt sources.
        ProcessError: mmdebstrap failed.
    """
    name = key()
    home = cache_dir / "rootfs" / name
    with locked(cache_dir / "rootfs" / f"{name}.lock"):
        if not (home / "layer.json").exists():
            _clear(home)
            progress(Update("base image", 0, 3, "Debian packages"))
            _make(home, runner=runner, progress=progress, stop=stop, apt_config=apt_config)
        found = json.loads((home / "layer.json").read_text())
        progress(Update("base image", 3, 3, f"{found['size'] / 1e6:.0f} MB"))
        return Layer(found["digest"], found["size"], archive=home / "layer.tar")


def apt_sources(apt_config: Path = APT_CONFIG) -> tuple[Path, ...]:
    """Return the machine's own apt source files, sorted. Raises BuildError when there is none."""
    parts = apt_config / "sources.list.d"
    found = [*sorted(parts.glob("*.list")), *sorted(parts.glob("*.sources"))]
    main = apt_config / "sources.list"
    if main.exists() and main.read_text().strip():
        found.insert(0, main)
    if not found:
        raise BuildError(
            f"no apt sources under {apt_config}", remedy="give the machine a working apt configuration"
        )
    return tuple(found)


def _clear(home: Path) -> None:
    """Remove what an interrupted build left: this process holds the lock, so no other works there."""
    for left in home.parent.glob(f"{home.name}*"):
        if left.is_dir():
            shutil.rmtree(left)


def _make(
    home: Path, *, runner: Runner, progress: Progress, stop: threading.Event | None, apt_config: Path
) -> None:
    work = Path(tempfile.mkdtemp(prefix=f"{home.name}-", dir=home.parent))
    try:
        root = work / "root"
        bootstrap(root, runner=runner, stop=stop, apt_config=apt_config)
        progress(Update("base image", 1, 3, "configuring"))
        finish(root)
        progress(Update("base image", 2, 3, "packing"))
        write_tree(root, work / "layer.tar")
        layer = Layer.of_archive(work / "layer.tar")
        shutil.rmtree(root)
        (work / "layer.json").write_text(json.dumps({"digest": layer.digest, "size": layer.size}))
        work.rename(home)
    except BaseException:
        shutil.rmtree(work, ignore_errors=True)
        raise


def bootstrap(root: Path, *, runner: Runner, stop: threading.Event | None, apt_config: Path) -> None:
    """Unpack the packages into `root` with mmdebstrap, through the machine's own apt settings and sources."""
    settings = runner.run(("apt-config", "dump"), timeout=30).stdout.splitlines()
    network = [line for line in settings if line.startswith(("Acquire::http", "Acquire::Retries"))]
    command: list[str | Path] = [
        *ENDS_WITH_US,
        "mmdebstrap",
        "--mode=root",
        "--variant=extract",
        f"--hook-dir={HOOKS}",
        f"--include={','.join(PACKAGES)}",
        *(f"--aptopt={line}" for line in network),
        SUITE,
        root,
        *apt_sources(apt_config),
    ]
    remedy = "look whether `apt-get update` works on this machine, and whether mmdebstrap is installed"
    runner.run(command, timeout=TIMEOUT, stop=stop, remedy=remedy)


def finish(root: Path) -> None:
    """Make what configuring the packages would have made, and remove what no container needs."""
    for pattern in STRIPPED:
        for found in root.glob(pattern):
            if found.is_dir() and not found.is_symlink():
                shutil.rmtree(found)
            else:
                found.unlink()
    _link_iptables(root / "usr" / "sbin")
    _link(root / "usr/bin/awk", "mawk")
    for name, target in (("run", "/run"), ("lock", "/run/lock")):
        shutil.rmtree(root / "var" / name, ignore_errors=True)
        _link(root / "var" / name, target)
    certificates = sorted((root / "usr/share/ca-certificates").rglob("*.crt"))
    bundle = root / "etc/ssl/certs/ca-certificates.crt"
    bundle.parent.mkdir(parents=True, exist_ok=True)
    bundle.write_text("".join(f"{file.read_text().rstrip()}\n" for file in certificates))
    _link(root / "usr/lib/ssl/cert.pem", "/etc/ssl/certs/ca-certificates.crt")  # OpenSSL's default place
    (root / "etc/passwd").write_text(PASSWD)
    (root / "etc/group").write_text(GROUP)
    (root / "tmp").chmod(0o1777)


def _link_iptables(sbin: Path) -> None:
    """What update-alternatives would do, but with legacy behind the plain names.

    Istio's redirection takes iptables-nft by itself where the kernel has nft, and the plain name where it has
    not (tools/istio-iptables/pkg/dependencies of the Istio repository): so one image fits both.
    """
    for family in ("iptables", "ip6tables"):
        for tool in ("", "-save", "-restore"):
            _link(sbin / f"{family}{tool}", f"{family}-legacy{tool}")


def _link(path: Path, target: str) -> None:
    path.unlink(missing_ok=True)
    path.symlink_to(target)
