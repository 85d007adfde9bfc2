from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from meshlab.clusters.local import dns
from meshlab.clusters.local.api import PATHS
from tests.unit.clusters.local.cluster_fixtures import layout_in


def test_names_end_with_the_domain_of_the_cluster(tmp_path: Path) -> None:
    found = dns.documents(layout_in(tmp_path, domain="corp.local"), "localhost/coredns:1")
    [config] = [each for each in found if each["kind"] == "ConfigMap"]
    assert "kubernetes corp.local in-addr.arpa" in config["data"]["Corefile"]
    assert "cluster.local" not in str(found)


@pytest.mark.parametrize("domain", ["Corp", "a..b", "-a", "a_b", "", "a" * 101])
def test_a_domain_that_dns_does_not_know_is_refused(tmp_path: Path, domain: str) -> None:
    with pytest.raises(ValidationError):
        layout_in(tmp_path, domain=domain)


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
