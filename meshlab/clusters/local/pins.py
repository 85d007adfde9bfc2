"""What the embedded distribution is compiled from: versions, Go targets, stamps, keys of the build outputs.

The pins themselves live in `gomod/<module>/go.mod` and `go.sum`; nothing here repeats a version.
"""

from __future__ import annotations

import hashlib
import platform
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

GOMOD = Path(__file__).parent / "gomod"
ISTIO = "istio.io/istio"
EARLIER = "istio-earlier"  # the stage of an older Istio, from which an upgrade begins; compiled when one is asked for
IMAGE_HUB = "localhost/istio"
BUILD_FLAGS = ("-trimpath", "-buildvcs=false")


@dataclass(frozen=True)
class Target:
    """One binary: the name it gets, and its Go package (an import path, or ./folder of the module)."""

    name: str
    package: str

    @property
    def go_name(self) -> str:
        """The file name that `go build` gives it: the path's last element that is no major version."""
        words = [w for w in self.package.split("/") if not re.fullmatch(r"v[2-9]\d*", w)]
        return words[-1]


@dataclass(frozen=True)
class Stage:
    """Binaries that are compiled together, by one `go build` in one module.

    tags: Go build tags. root: the folder that has the module's folder in it.
    """

    name: str
    module: str
    targets: tuple[Target, ...]
    tags: tuple[str, ...] = ()
    root: Path = GOMOD

    @property
    def directory(self) -> Path:
        """Where the module's go.mod is."""
        return self.root / self.module


STAGES: Mapping[str, Stage] = {
    stage.name: stage
    for stage in (
        Stage(
            "cluster",
            "mesh",
            (
                Target("etcd", "go.etcd.io/etcd/server/v3"),
                Target("kube-apiserver", "k8s.io/kubernetes/cmd/kube-apiserver"),
                Target("kube-controller-manager", "k8s.io/kubernetes/cmd/kube-controller-manager"),
                Target("kube-scheduler", "k8s.io/kubernetes/cmd/kube-scheduler"),
                Target("kubelet", "k8s.io/kubernetes/cmd/kubelet"),
                Target("kube-proxy", "k8s.io/kubernetes/cmd/kube-proxy"),
                Target("coredns", "./coredns"),
                Target("istioctl", "istio.io/istio/istioctl/cmd/istioctl"),
                Target("pilot-agent", "istio.io/istio/pilot/cmd/pilot-agent"),
                Target("pilot-discovery", "istio.io/istio/pilot/cmd/pilot-discovery"),
            ),
        ),
        Stage(
            "prometheus",
            "prometheus",
            (Target("prometheus", "github.com/prometheus/prometheus/cmd/prometheus"),),
            tags=("remove_all_sd", "enable_kubernetes_sd"),
        ),
        Stage("jaeger", "jaeger", (Target("jaeger", "github.com/jaegertracing/jaeger/cmd/jaeger"),)),
        Stage("fortio", "fortio", (Target("fortio", "fortio.org/fortio"),)),
        Stage(
            EARLIER,
            "istio-earlier",
            (
                Target("istioctl", "istio.io/istio/istioctl/cmd/istioctl"),
                Target("pilot-agent", "istio.io/istio/pilot/cmd/pilot-agent"),
                Target("pilot-discovery", "istio.io/istio/pilot/cmd/pilot-discovery"),
            ),
        ),
        Stage("network-policy", "network-policy", (Target("kube-network-policies", "./enforcer"),)),
        Stage(
            "cni",
            "cni",
            (
                Target("install-cni", "istio.io/istio/cni/cmd/install-cni"),
                Target("istio-cni", "istio.io/istio/cni/cmd/istio-cni"),
            ),
        ),
    )
}


@dataclass(frozen=True)
class Versions:
    """What the binaries call themselves; kubernetes with its leading v, the others without one."""

    kubernetes: str
    istio: str
    prometheus: str
    jaeger: str


@cache
def requirements(module: str) -> Mapping[str, str]:
    """Module path → version, as the go.mod of `module` requires it (its replacements ask for the same)."""
    text = (GOMOD / module / "go.mod").read_text()
    return dict(
        re.findall(r"^\s*(?:require\s+)?([\w.-]+\.[\w-]+/\S+|[\w.-]+\.[\w-]+)\s+(v\d\S*)", text, re.MULTILINE)
    )


def versions() -> Versions:
    """Return the versions that the pins mean.

    Prometheus publishes 3.X.Y as the Go module v0.3XX.Y.
    """
    mesh = requirements("mesh")
    istio, _ = istio_of("mesh")
    prometheus = re.match(
        r"v0\.(\d)(\d\d)\.(\d+)", requirements("prometheus")["github.com/prometheus/prometheus"]
    )
    assert prometheus, "gomod holds a version in a form that this function was not written for"
    return Versions(
        kubernetes=mesh["k8s.io/kubernetes"],
        istio=istio,
        prometheus=f"{prometheus[1]}.{int(prometheus[2])}.{prometheus[3]}",
        jaeger=requirements("jaeger")["github.com/jaegertracing/jaeger"].removeprefix("v"),
    )


def istio_of(module: str) -> tuple[str, str]:
    """Return the version of the Istio that a module requires, and its commit.

    The pin is a commit between releases, so its number comes from the istio.io/api beside it: v1.31.0-rc… and v1.31.2
    both mean 1.31.0-dev.
    """
    pinned = requirements(module)
    api = re.match(r"v(\d+\.\d+)\.", pinned["istio.io/api"])
    assert api, "gomod holds a version in a form that this function was not written for"
    return f"{api[1]}.0-dev", pinned[ISTIO].rsplit("-", 1)[-1]


def ldflags(stage: Stage) -> str:
    """Linker flags: no symbol tables, and the stamps without which versions read "unknown" or v0.0.0-master.

    Only constants derived from the pins, never the time, so that Go's cache and the build key hold. One set
    serves all targets of a stage: the linker ignores the stamp of a package that a binary does not contain.
    """
    pinned = versions()
    stamps: dict[str, str] = {}
    if stage.module in ("mesh", "cni"):
        major, minor = pinned.kubernetes.removeprefix("v").split(".")[:2]
        kubernetes = {
            "gitVersion": pinned.kubernetes,
            "gitMajor": major,
            "gitMinor": minor,
            "gitCommit": "unknown",
            "gitTreeState": "archive",
            "buildDate": "1970-01-01T00:00:00Z",
        }
        for package in ("k8s.io/component-base/version", "k8s.io/client-go/pkg/version"):
            stamps |= {f"{package}.{key}": value for key, value in kubernetes.items()}
    if stage.module in ("mesh", "cni", EARLIER):
        version, commit = istio_of(stage.module)
        istio = {
            "buildVersion": version,
            "buildTag": version,
            "buildHub": IMAGE_HUB,
            "buildGitRevision": commit,
            "buildStatus": "Clean",
        }
        stamps |= {f"istio.io/istio/pkg/version.{key}": value for key, value in istio.items()}
    elif stage.module == "prometheus":
        stamps["github.com/prometheus/common/version.Version"] = pinned.prometheus
        stamps["github.com/prometheus/common/version.Revision"] = f"v{pinned.prometheus}"
    elif stage.module == "jaeger":
        stamps["github.com/jaegertracing/jaeger/internal/version.latestVersion"] = f"v{pinned.jaeger}"
    return " ".join(["-s", "-w", *(f"-X {name}={value}" for name, value in stamps.items())])


def pins_key(stage: Stage) -> str:
    """Return 16 hex digits that change with what decides the binaries: pins, Go sources here, flags, machine type."""
    digest = hashlib.sha256()
    for path in sorted(
        p for p in stage.directory.rglob("*") if p.name in ("go.mod", "go.sum") or p.suffix == ".go"
    ):
        digest.update(f"{path.relative_to(stage.directory)}\n".encode())
        digest.update(path.read_bytes())
    words = [platform.machine(), *BUILD_FLAGS, *stage.tags, ldflags(stage)]
    words += [f"{target.name}={target.package}" for target in stage.targets]
    digest.update("\n".join(words).encode())
    return digest.hexdigest()[:16]


def go_needed() -> tuple[int, ...]:
    """Return the lowest Go version, as numbers, that all modules together ask for."""
    asked = [re.search(r"^go (\d+(?:\.\d+)+)", p.read_text(), re.MULTILINE) for p in GOMOD.glob("*/go.mod")]
    return max(tuple(int(n) for n in found[1].split(".")) for found in asked if found)
