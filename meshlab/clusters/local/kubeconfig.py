"""kubeconfig files: the address of an API server and who its reader is, keys included (so mode 0600)."""

from __future__ import annotations

import base64
from pathlib import Path

import yaml

from meshlab.clusters.local.layout import Layout
from meshlab.core.files import write_atomically


def write(layout: Layout, path: Path, user: str) -> Path:
    """Write a kubeconfig for the owner of pki/USER.key; the context is named after the cluster.

    Returns `path`.
    """

    def data(file: Path) -> str:
        return base64.b64encode(file.read_bytes()).decode()

    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [
            {
                "name": layout.name,
                "cluster": {"server": layout.endpoint, "certificate-authority-data": data(layout.ca)},
            }
        ],
        "users": [
            {
                "name": user,
                "user": {
                    "client-certificate-data": data(layout.pki / f"{user}.crt"),
                    "client-key-data": data(layout.pki / f"{user}.key"),
                },
            }
        ],
        "contexts": [{"name": layout.name, "context": {"cluster": layout.name, "user": user}}],
        "current-context": layout.name,
    }
    write_atomically(path, yaml.safe_dump(content), mode=0o600)
    return path
