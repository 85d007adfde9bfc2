"""Reads a kubeconfig: which server, and how to log in."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

from kubernetes import client, config

from meshlab.core.redaction import register
from meshlab.kube.api_errors import api_errors


def configuration_of(kubeconfig: Path | None, context: str | None) -> client.Configuration:
    """Read a context of a kubeconfig; what it logs in with is hidden from then on.

    Args:
        kubeconfig: The file; None takes the default one.
        context: The context's name; None takes the current one.

    Returns:
        The configuration of a client.

    Raises:
        KubeError: The file or the context can't be used.
    """
    configuration = client.Configuration()
    where = f"use kubeconfig {kubeconfig or 'of this user'}" + (f", context {context}" if context else "")
    with api_errors(where):
        cast(Any, config).load_kube_config(
            config_file=str(kubeconfig) if kubeconfig else None,
            context=context,
            client_configuration=configuration,
            persist_config=False,
        )
    # Whatever it can log in with must not be seen anywhere; private keys are known by their form.
    keys = [key.removeprefix("Bearer ") for key in configuration.api_key.values()]
    register(*keys, configuration.password)
    return configuration
