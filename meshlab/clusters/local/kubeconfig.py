"""kubeconfig files: the address of an API server and who its reader is, keys included (so mode 0600)."""

from __future__ import annotations

import base64
from pathlib import Path

import yaml

from meshlab.clusters.local.layout import Layout
from meshlab.core.files import write_atomically


def write(layout: Layout, path: Path, user: str) -> Path:
    """Write a kubeconfig; its context is named after the cluster.

    Args:
        layout: The cluster. Its keys must be there.
        path: Where it goes, with mode 0600.
        user: The owner of pki/USER.key.

    Returns:
        `path`.
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
