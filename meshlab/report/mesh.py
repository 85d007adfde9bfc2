"""The facts of the mesh, as the report's first page tells them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from meshlab.report.tables import Row


def mesh_rows(mesh: Mapping[str, Any] | None) -> list[Row]:
    """List the facts of a mesh as two columns.

    Args:
        mesh: As in `result.json`; None where they were not read.

    Returns:
        One row a fact; what could not be read comes last, with the reason.
    """
    if mesh is None:
        return []
    outbound, mtls = mesh["outbound"], mesh["mtls"]
    domains = [mesh["trust_domain"], *(f"{alias} (alias)" for alias in mesh["trust_domain_aliases"])]
    facts = {
        "control planes": "; ".join(map(_plane, mesh["control_planes"])) or "none",
        "installed by": mesh["installed_by"],
        "mesh configuration": _listed(mesh["config_maps"]),
        "trust domain": _listed(domains),
        "cluster domain": mesh["cluster_domain"],
        "root namespace": mesh["root_namespace"],
        "mutual TLS": f"{mtls['mesh']} in the mesh, {mtls['namespace']} in {mesh['namespace']}",
        "calls to unknown hosts": f"{outbound['mode']} in {mesh['namespace']} ({outbound['set_by']})",
        "metrics": _listed(mesh["metrics"]),
        "tracing": _listed(mesh["tracing"]),
        "access logs": _listed(mesh["access_logs"]),
        "sidecars": f"{mesh['sidecars']}, traffic captured by: {mesh['capture']}",
        "ambient": f"{'ztunnel is installed' if mesh['ambient'] else 'no ztunnel'}; "
        f"{mesh['namespace']} is in mode {mesh['namespace_mode']}",
    }
    asked = {f"{what} is asked": _asked(row) for what, row in mesh.get("observability", {}).items()}
    unread = {f"{fact}: not read": why for fact, why in mesh["unknown"].items()}
    return [{"fact": fact, "value": value} for fact, value in (facts | asked | unread).items()]


def _plane(plane: Mapping[str, Any]) -> str:
    tags = f", tags {', '.join(plane['tags'])}" if plane["tags"] else ""
    version = f", version {plane['version']}" if plane["version"] else ""
    ours = ", serves us" if plane["serves_us"] else ""
    return f"{plane['namespace']}/{plane['name']} (revision {plane['revision']}{tags}{version}{ours})"


def _asked(row: Mapping[str, Any]) -> str:
    others = f"; there are also {', '.join(row['others'])}" if row.get("others") else ""
    return f"at {row['where']} ({row['how']}){others}" if "where" in row else f"nowhere: {row['why_not']}"


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names) or "none"
