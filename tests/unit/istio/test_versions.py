"""Skew between the three planes is named."""

from __future__ import annotations

from meshlab.istio.istioctl import MeshVersions
from meshlab.istio.versions import compare


def test_agreement():
    found = compare(MeshVersions("1.31.0", "r", (("default", "1.31.0"),), (("a", "1.31.0"), ("b", "1.31.0"))))
    assert (found.control_plane, dict(found.data_plane), found.proxies, found.skew) == (
        "1.31.0",
        {"1.31.0": 2},
        2,
        (),
    )


def test_the_documents_own_skew():
    found = compare(MeshVersions("1.24.2", "r", (("default", "1.21.0"),), (("a", "1.21.0"), ("b", "1.20.0"))))
    assert found.skew == (
        "istioctl is 1.24.2, the control plane 1.21.0",
        "1 of the proxies run 1.20.0, the control plane 1.21.0",
    )


def test_two_control_planes():
    found = compare(MeshVersions("2", "r", (("a", "1"), ("b", "2")), (("p", "1"),)))
    assert found.control_plane == "1, 2" and found.skew[-1] == "2 versions of the control plane run: 1, 2"


def test_no_control_plane_is_no_skew():
    found = compare(MeshVersions("1.31.0", "r"))
    assert (found.control_plane, found.proxies, found.skew) == ("", 0, ())
