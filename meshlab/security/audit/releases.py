"""audit.istio-version: which releases of Istio are supported, and which of their versions have known advisories.

The data is `releases.yaml`, with its date and sources.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from importlib.resources import files
from typing import Any

import yaml
from packaging.version import InvalidVersion, Version

from meshlab.core.text import pluralize
from meshlab.istio import registries
from meshlab.security.audit.inventory import Inventory
from meshlab.security.audit.mends import as_yaml
from meshlab.security.audit.model import Examined, Finding, Severity

RULE = "istio-version"
STALE_DAYS = 45
VARIANTS = ("distroless", "debug")  # other images of the same release
DEVELOPMENT = re.compile(r"(dev|alpha|beta|rc|snapshot)([.\-]|\d|$)|[0-9a-f]{7,40}$", re.IGNORECASE)


@dataclass(frozen=True)
class Release:
    """A minor release. end: last day of support; expected: that day is a forecast. latest: newest patch release."""

    version: str
    end: date
    expected: bool
    latest: str = ""


@dataclass(frozen=True)
class Advisory:
    """A security bulletin. affected: (first, last) of each range of versions, both included."""

    id: str
    score: float
    about: str
    affected: tuple[tuple[Version, Version], ...]


@dataclass(frozen=True)
class Known:
    """What is known of Istio's releases, and since when. sources: names of the pages."""

    as_of: date
    sources: tuple[str, ...]
    releases: tuple[Release, ...]
    advisories: tuple[Advisory, ...]


def known() -> Known:
    """The project's data."""
    content: Any = yaml.safe_load((files(__package__) / "releases.yaml").read_text(encoding="utf-8"))
    return Known(
        content["as_of"],
        tuple(content["sources"]),
        tuple(
            Release(row["version"], row["end"], row.get("expected", False), row.get("latest", ""))
            for row in content["releases"]
        ),
        tuple(
            Advisory(
                row["id"],
                row["score"],
                row["about"],
                tuple((Version(first), Version(last)) for first, last in row["affected"]),
            )
            for row in content["advisories"]
        ),
    )


def istio_version(inventory: Inventory, data: Known | None = None) -> Examined:
    """Each version of control plane and proxies that runs: supported, and without a known advisory."""
    data = data or known()
    findings = [finding for text in inventory.versions for finding in _judge(text, inventory.today, data)]
    findings += _from_retired(inventory)
    age = (inventory.today - data.as_of).days
    notes = [f"known as of {data.as_of}: {'; '.join(data.sources)}"]
    if age > STALE_DAYS:
        notes.insert(
            0, f"WARNING: the data on releases and advisories is {age} days old, renew releases.yaml"
        )
    return Examined(len(inventory.versions), "versions that run", tuple(findings), tuple(notes))


def _from_retired(inventory: Inventory) -> Iterable[Finding]:
    """Pods whose images come from a registry that is being switched off: they would not start again."""
    users: dict[str, set[str]] = {}
    for pod in inventory.running():
        spec = pod["spec"]
        for container in [*(spec.get("initContainers") or []), *(spec.get("containers") or [])]:
            if registries.is_retired(container.get("image", "")):
                name = f"{pod['metadata']['namespace']}/{pod['metadata']['name']}"
                users.setdefault(container["image"], set()).add(name)
    how = "install again with it: hub of the IstioOperator's spec, or global.hub of the Helm values"
    fix = as_yaml({"hub": registries.table().hub}, how=how)
    for image, pods in sorted(users.items()):
        why = f"{registries.warning([image])}; it runs in {pluralize(len(pods), 'pods')}, {min(pods)} is one"
        yield Finding(RULE, Severity.WARNING, f"image {image}", why, fix)


def _judge(text: str, today: date, data: Known) -> Iterable[Finding]:
    best = max(data.releases, key=lambda each: Version(each.version))
    newest = best.version
    version, vendor = parsed(text), vendor_of(text)
    how = "upgrade as Istio's documentation says: tag of the IstioOperator's spec, or global.tag of the Helm values"
    fix = as_yaml({"tag": best.latest or newest}, how=how)
    if vendor:
        fix = "# the vendor's release notes tell which of its builds has which fixes\n"

    def finding(severity: Severity, why: str) -> Finding:
        # What a vendor mends in its own builds, and for how long, is not known here.
        told = f"{why} (of Istio's own; ask the vendor of {text})" if vendor else why
        return Finding(RULE, Severity.INFO if vendor else severity, f"Istio {text}", told, fix)

    if version is None:
        yield finding(Severity.WARNING, f"{text!r} is no release, so nothing is known of its support")
        return
    if vendor:
        why = f"a vendor's build ({vendor}) of {version}: its support and its fixes are the vendor's, unknown here"
        yield Finding(RULE, Severity.INFO, f"Istio {text}", why, fix)
    elif version.is_prerelease or version.is_devrelease or version.local:
        yield finding(Severity.WARNING, "a development build gets no security fixes")
    minor = f"{version.major}.{version.minor}"
    release = next((each for each in data.releases if each.version == minor), None)
    if release is None:
        newer = version > Version(newest)
        yield finding(
            Severity.INFO if newer else Severity.ERROR,
            f"{minor} is newer than what is known here" if newer else f"{minor} is not supported any more",
        )
    elif today > release.end:
        how = "was expected to end" if release.expected else "ended"
        severity = Severity.WARNING if release.expected else Severity.ERROR
        yield finding(severity, f"support of {minor} {how} on {release.end}")
    for each in data.advisories:
        if any(first <= version <= last for first, last in each.affected):
            severity = Severity.ERROR if each.score >= 7 else Severity.WARNING
            yield finding(severity, f"{each.id} (CVSS {each.score}): {each.about}")


def parsed(text: str) -> Version | None:
    """A version as Istio prints it (1.30.4, 1.31.0-dev, 1.29.2-distroless, 1.24.6-asm.5); None for anything else."""
    base, _, suffix = text.partition("-")
    try:
        return Version(base if not suffix or suffix in VARIANTS or vendor_of(text) else f"{base}.dev0")
    except InvalidVersion:
        return None


def vendor_of(text: str) -> str:
    """The mark that a vendor puts behind a version of Istio (asm.5); empty for Istio's own builds."""
    base, _, suffix = text.partition("-")
    suffix = suffix.removesuffix("-distroless").removesuffix("-debug")
    release = re.fullmatch(r"\d+\.\d+\.\d+", base)
    return suffix if release and suffix not in ("", *VARIANTS) and not DEVELOPMENT.match(suffix) else ""
