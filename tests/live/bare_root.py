"""A bare Debian of another release in a folder, with a clone of this repository: what a new machine would be.

Commands run in a mount namespace of their own with that folder as their root, on this machine's kernel and network.
What they may download comes from where this machine's own clients are set up to get it: apt's mirror, pip's and Go's
settings, certificates. No address of any of them stands here.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from meshlab.config.settings import Machine

PACKAGES = ("python3", "make", "git", "ca-certificates")  # all that the README asks of a machine
MINUTES = 60.0
# How clients are told where to download and whom to trust, by variable and by file.
VARIABLES = (
    "PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_TRUSTED_HOST", "PIP_CERT", "PIP_PROXY", "PIP_DEFAULT_TIMEOUT",
    "GOPROXY", "GOSUMDB", "GONOSUMDB", "GONOPROXY", "GOPRIVATE", "GOINSECURE", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY",
    "SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "GIT_SSL_CAINFO",
)  # fmt: skip
FILES = (
    "etc/hosts",
    "etc/resolv.conf",
    "etc/pip.conf",
    "etc/ssl/certs/ca-certificates.crt",
    "usr/local/share/ca-certificates",
)
HOME_FILES = (".config/pip", ".pip", ".netrc", ".config/go/env")
# Kernel file systems as a machine has them; /run is new, so that no name of a network namespace is shared.
MOUNTS = """
set -eu
mount --bind "$ROOT" "$ROOT"
mount -t proc proc "$ROOT/proc"
mount --rbind /sys "$ROOT/sys"
mount --rbind /dev "$ROOT/dev"
mount -t tmpfs -o mode=755 tmpfs "$ROOT/run"
mount --bind "$COMPILED" "$ROOT/root/.cache/meshlab/bin"
mount --bind "$ROOT/root/.local/state" "$ROOT/root/.local/state"
cd "$ROOT"
pivot_root . mnt
cd /
umount --lazy /mnt
cd "$FOLDER"
exec env -i "$@"
"""


@dataclass(frozen=True)
class BareRoot:
    """A Debian below `path`, with the repository in /srv/mesh-lab. compiled: shared folder of compiled binaries.

    Its state folder is a mount of its own: no hard link leads from the cache folder into it.
    """

    path: Path
    compiled: Path
    environ: Mapping[str, str]
    folder: str = "/srv/mesh-lab"

    @classmethod
    def make(cls, path: Path, release: str, source: Path, machine: Machine) -> BareRoot:
        """Install `release` into `path`, and copy to it the files that git would of `source`.

        path: must not exist. machine: whose compiled binaries and clients' settings it uses.
        """
        run("mmdebstrap", "--mode=root", "--variant=minbase", f"--include={','.join(PACKAGES)}",
            *(f"--aptopt={line}" for line in apt_settings()), release, path, apt_source(release))  # fmt: skip
        for name in FILES:
            bring(Path("/") / name, path / name)
        for name in HOME_FILES:
            bring(machine.home / name, path / "root" / name)
        compiled = machine.cache / "bin"
        for folder in (compiled, path / "root/.cache/meshlab/bin", path / "root/.local/state"):
            folder.mkdir(parents=True, exist_ok=True)
        root = cls(path, compiled, {key: value for key, value in os.environ.items() if told(key)})
        listing = run("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", folder=source)
        for name in filter(None, listing.split("\0")):
            if (source / name).is_file() and not (source / name).is_symlink():
                bring(source / name, path / root.folder.lstrip("/") / name)
        for words in (("init", "--quiet"), ("add", "--all")):  # a test asks git which files are the project's
            run("git", *words, folder=path / root.folder.lstrip("/"))
        return root

    def run(self, *words: str, minutes: float = MINUTES) -> subprocess.CompletedProcess[str]:
        """Run a command in the repository's folder; stdout and stderr come as one."""
        kept = {"HOME": "/root", "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}
        inside = [f"{key}={value}" for key, value in {**kept, "LANG": "C.UTF-8", **self.environ}.items()]
        outside = {"ROOT": str(self.path), "COMPILED": str(self.compiled), "FOLDER": self.folder}
        return subprocess.run(
            ["unshare", "--mount", "--propagation", "private", "sh", "-c", MOUNTS, "sh", *inside, *words],
            env={**os.environ, **outside}, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL, timeout=minutes * 60, check=False,
        )  # fmt: skip


def told(variable: str) -> bool:
    """Whether an environment variable tells a client where to download from, or whom to trust."""
    return variable.upper() in VARIABLES


def apt_settings() -> list[str]:
    """This machine's proxies and retries of apt, as lines of its configuration."""
    lines = run("apt-config", "dump").splitlines()
    return [line for line in lines if line.startswith(("Acquire::http", "Acquire::Retries"))]


def apt_source(release: str) -> str:
    """A line of sources.list for another release, on the mirror that this machine has its own release from."""
    ours = release_of(Path("/"))["VERSION_CODENAME"]
    targets = run("apt-get", "indextargets", "--format", "$(RELEASE) $(REPO_URI)", "Created-By: Packages")
    mirrors = [line.split()[1] for line in targets.splitlines() if line.split()[0] == ours]
    assert mirrors, f"apt has no lists of {ours}: run `apt-get update`"
    return f"deb {mirrors[0]} {release} main"


def release_of(root: Path) -> dict[str, str]:
    """What /etc/os-release below `root` says."""
    lines = (root / "etc/os-release").read_text().splitlines()
    return {key: value.strip('"') for key, _, value in (line.partition("=") for line in lines)}


def bring(source: Path, target: Path) -> None:
    """Copy a file or folder, where there is one, over what is there."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_dir():
        shutil.copytree(source, target, dirs_exist_ok=True)
    elif source.exists():
        shutil.copy2(source, target)


def run(*words: str | Path, folder: Path | None = None) -> str:
    """Run a command of this machine to its end, and return its output."""
    done = subprocess.run(words, cwd=folder, capture_output=True, text=True, timeout=1200, check=False)
    assert done.returncode == 0, f"{words[0]} failed: {done.stderr[-3000:]}"
    return done.stdout
