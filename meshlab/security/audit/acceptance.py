"""Accepted risks: those of this project's own objects (`accepted.yaml`), and those of the configuration."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import date
from fnmatch import fnmatchcase
from importlib.resources import files
from typing import Any

import yaml

from meshlab.config.settings import LabConfig
from meshlab.istio.mesh import Mesh
from meshlab.security.audit.model import Acceptance, Finding


def acceptances(config: LabConfig, mesh: Mesh | None = None) -> tuple[Acceptance, ...]:
    """List what this run accepts: the lab's own known findings where they apply, then the configuration's.

    Args:
        config: The settings of the run.
        mesh: The facts of the mesh: what its control planes are called; Istio's own names where None.

    Returns:
        The acceptances.
    """
    configured = tuple(
        Acceptance(each.rule.removeprefix("audit."), each.resource, each.reason, each.expires)
        for each in config.audit.accepted
    )
    return (*lab_made(config, mesh), *configured) if config.audit.accept_lab else configured


def lab_made(config: LabConfig, mesh: Mesh | None = None) -> tuple[Acceptance, ...]:
    """The known findings of what the lab itself applies; an entry about istiod is one for each control plane."""
    content: Any = yaml.safe_load((files(__package__) / "accepted.yaml").read_text(encoding="utf-8"))
    embedded = config.distribution == "embedded"
    holds = {None: True, "lab": config.ours or embedded, "embedded": embedded}
    mesh = mesh or Mesh(config.namespace)
    planes = sorted(mesh.istiod_names) or [(mesh.system_namespace, mesh.istiod)]

    def named(resource: str) -> list[str]:
        every = [(mesh.system_namespace, "")]
        if "{istiod}" in resource:
            every = [*planes, *(sorted(mesh.tag_services) if resource.startswith("Service ") else [])]
        words = {"namespace": config.namespace, "root": mesh.root_namespace}
        return [resource.format(**words, system=home, istiod=name) for home, name in every]

    return tuple(
        Acceptance(row["rule"], resource, row["reason"])
        for row in content
        if holds[row.get("only")]
        for pattern in row["resources"]
        for resource in named(pattern)
    )


def judge(findings: Iterable[Finding], accepted: Sequence[Acceptance], today: date) -> tuple[Finding, ...]:
    """Give each finding the acceptance that covers it.

    One past its day counts no longer and is named.

    Args:
        findings: The findings.
        accepted: The risks that somebody accepted.
        today: The day by which an acceptance is judged.

    Returns:
        The findings.
    """
    return tuple(_judged(finding, accepted, today) for finding in findings)


def _judged(finding: Finding, accepted: Sequence[Acceptance], today: date) -> Finding:
    covers = [
        each
        for each in accepted
        if each.rule == finding.rule and fnmatchcase(finding.resource, each.resource)
    ]
    valid = next((each for each in covers if each.expires is None or today <= each.expires), None)
    if valid is not None:
        return replace(finding, accepted=valid, expired=None)
    return replace(finding, accepted=None, expired=covers[0] if covers else None)
