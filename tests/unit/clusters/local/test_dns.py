from __future__ import annotations

from pathlib import Path

from meshlab.clusters.local import dns
from meshlab.clusters.local.api import PATHS
from tests.unit.clusters.local.cluster_fixtures import layout_in


def test_the_manifest_gets_image_and_address(tmp_path: Path) -> None:
    found = {
        document["kind"]: document for document in dns.documents(layout_in(tmp_path), "localhost/coredns:1")
    }
    container = found["Deployment"]["spec"]["template"]["spec"]["containers"][0]
    assert container["image"] == "localhost/coredns:1" and container["imagePullPolicy"] == "IfNotPresent"
    assert found["Service"]["spec"]["clusterIP"] == "10.250.128.10"
    assert (
        found["Service"]["spec"]["selector"] == found["Deployment"]["spec"]["template"]["metadata"]["labels"]
    )
    assert "kubernetes cluster.local" in found["ConfigMap"]["data"]["Corefile"]
    assert set(found) <= set(PATHS), "the small client knows every kind of the manifest"
