"""The report's first page tells the facts of the mesh."""

from __future__ import annotations

from meshlab.istio.control_plane import ControlPlane
from meshlab.istio.mesh import Mesh
from meshlab.report.html import report_html
from meshlab.report.mesh import mesh_rows
from meshlab.report.sections import Drawn
from tests.examples.results import FULL

PLANE = ControlPlane("istiod-stable", "istio-system", "stable", True, ("default",), "1.28.3")
MESH = Mesh(
    "shop",
    (PLANE,),
    PLANE,
    trust_domain="corp.example",
    trust_domain_aliases=("old.example",),
    outbound="REGISTRY_ONLY",
    outbound_from="meshConfig",
    unknown={"tags": "forbidden"},
)


def test_each_fact_is_a_row_and_what_was_not_read_comes_last() -> None:
    rows = {row["fact"]: row["value"] for row in mesh_rows(MESH.as_json())}
    assert rows["control planes"] == (
        "istio-system/istiod-stable (revision stable, tags default, version 1.28.3, serves us)"
    )
    assert rows["trust domain"] == "corp.example, old.example (alias)"
    assert rows["calls to unknown hosts"] == "REGISTRY_ONLY in shop (meshConfig)"
    assert list(rows.items())[-1] == ("tags: not read", "forbidden")
    assert mesh_rows(None) == []


def test_they_stand_on_the_first_page() -> None:
    page = report_html({**FULL, "mesh": MESH.as_json()}, Drawn())
    first = page[: page.index("</section>")]
    assert "Facts of the mesh" in first and "corp.example" in first
    assert "Facts of the mesh" not in report_html(FULL, Drawn())
