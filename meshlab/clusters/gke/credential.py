"""`python -m meshlab.clusters.gke.credential`: a token for the cluster, as kubectl's exec plugins give it.

Named in the kubeconfigs that we write: istioctl, kubectl and the Python client all ask here, and ask again when the
token has expired. No token is ever on disk, and no plugin must be installed.
Contract: the Kubernetes documentation, "client-go credential plugins".
"""

from __future__ import annotations

import argparse
import json
import sys
from datetime import UTC, datetime

from google.auth.credentials import Credentials

from meshlab.clusters.gke.access import credentials_of, refreshed
from meshlab.errors import CloudError

API_VERSION = "client.authentication.k8s.io/v1beta1"


def exec_credential(credentials: Credentials) -> dict[str, object]:
    """The plugin's answer for credentials with a valid token."""
    status: dict[str, str] = {"token": str(credentials.token)}
    expiry: datetime | None = credentials.expiry  # UTC, without saying so
    if expiry is not None:
        status["expirationTimestamp"] = (
            expiry.replace(tzinfo=UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
        )
    return {"apiVersion": API_VERSION, "kind": "ExecCredential", "status": status}


def main(arguments: list[str] | None = None) -> int:
    """Print the credential; 0, or 1 with the reason on standard error."""
    parser = argparse.ArgumentParser(prog="python -m meshlab.clusters.gke.credential", description=__doc__)
    parser.add_argument("--token-uri", help="of an emulated API; without it, application-default credentials")
    options = parser.parse_args(arguments)
    try:
        print(json.dumps(exec_credential(refreshed(credentials_of(options.token_uri)))))
    except CloudError as problem:
        print(problem, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
