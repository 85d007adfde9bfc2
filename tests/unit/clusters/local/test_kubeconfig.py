from __future__ import annotations

import base64
from pathlib import Path

import yaml

from meshlab.clusters.local import certificates, kubeconfig
from tests.unit.clusters.local.cluster_fixtures import layout_in


def test_it_names_the_server_and_carries_the_users_key_for_the_owner_only(tmp_path: Path) -> None:
    layout = layout_in(tmp_path)
    certificates.write_all(layout)
    path = kubeconfig.write(layout, layout.kubeconfig, "admin")
    assert path.stat().st_mode & 0o777 == 0o600
    content = yaml.safe_load(path.read_text())
    assert content["clusters"][0]["cluster"]["server"] == "https://10.250.0.1:6443"
    assert content["current-context"] == "unit" == content["contexts"][0]["name"]
    user = content["users"][0]["user"]
    assert base64.b64decode(user["client-key-data"]) == (layout.pki / "admin.key").read_bytes()
    assert base64.b64decode(user["client-certificate-data"]) == (layout.pki / "admin.crt").read_bytes()
    cluster = content["clusters"][0]["cluster"]
    assert base64.b64decode(cluster["certificate-authority-data"]) == layout.ca.read_bytes()
