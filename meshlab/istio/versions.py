"""Versions of the three parts of a mesh: this machine's istioctl, the control plane, and the proxies."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from meshlab.istio.istioctl import Istioctl, MeshVersions


@dataclass(frozen=True)
class Versions:
    """client: of istioctl. control_plane: of istiod, joined by commas where revisions differ, empty where
    none answers.

    data_plane: version → number of proxies. skew: one line per pair of parts that differ, empty where all
    agree.
    """

    client: str
    control_plane: str
    data_plane: Mapping[str, int] = field(default_factory=dict)
    skew: tuple[str, ...] = ()

    @property
    def proxies(self) -> int:
        """How many proxies reported a version."""
        return sum(self.data_plane.values())


def read_versions(istioctl: Istioctl) -> Versions:
    """Ask for all three, as `istioctl version` does. Raises IstioError."""
    return compare(istioctl.version())


def compare(found: MeshVersions) -> Versions:
    """Count the proxies by version and name what differs."""
    planes = sorted({version for _, version in found.control_plane})
    proxies = dict(sorted(Counter(version for _, version in found.data_plane).items()))
    skew = [
        f"istioctl is {found.client}, the control plane {each}" for each in planes if each != found.client
    ]
    skew += [
        f"{count} of the proxies run {version}, the control plane {', '.join(planes)}"
        for version, count in proxies.items()
        if planes and version not in planes
    ]
    if len(planes) > 1:
        skew.append(f"{len(planes)} versions of the control plane run: {', '.join(planes)}")
    return Versions(found.client, ", ".join(planes), proxies, tuple(skew))
