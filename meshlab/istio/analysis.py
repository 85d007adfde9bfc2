"""`istioctl analyze` of this cluster alone, and the kubeconfigs in the cluster that it would otherwise use.

Unless it is told of other contexts, istioctl makes a client from every Secret labelled `istio/multiCluster=true` beside
the control plane. Builds from before September 2026 (istio/istio#61525) run what such a kubeconfig names as its exec
plugin, with the rights of who called istioctl. So these Secrets are looked at here, and istioctl is kept away from them.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator, Mapping
from typing import Any

import yaml

from meshlab.core.errors import KubeError, SecretsWithheldError, UnknownFlagError
from meshlab.istio.findings import Finding
from meshlab.istio.istioctl import Istioctl
from meshlab.kube.client import Kube

SELECTOR = "istio/multiCluster=true"
CODE = "REMOTE-SECRET"  # beside istioctl's own IST…
FORBIDDEN = (401, 403)
WHY = "https://github.com/istio/istio/pull/61525"
# What istiod refuses in a kubeconfig from a Secret (pkg/kube/util.go): it runs programs, or reads files of who uses it.
RUNS = ("exec", "auth-provider")
HARMLESS_PROVIDERS = ("oidc",)  # in these neither happens
FILES = {"users": ("client-certificate", "client-key", "tokenFile"), "clusters": ("certificate-authority",)}


def analyze_mesh(kube: Kube, istioctl: Istioctl, namespace: str) -> tuple[Finding, ...]:
    """Analyze the mesh without using any kubeconfig that stands in the cluster.

    Args:
        kube: Client of the cluster.
        istioctl: Analyzes it.
        namespace: Of the control plane; its remote Secrets are there.

    Returns:
        What istioctl finds in all namespaces, and each remote Secret that would run a program or read a file.

    Raises:
        SecretsWithheldError: This account may not read Secrets, without which istioctl does not begin.
        IstioError: istioctl fails.
        KubeError: The API server does not answer.
    """
    planted = tuple(unsafe_remote_secrets(kube, namespace))
    try:
        return (*istioctl.analyze(own_cluster_only=True, istio_namespace=namespace), *planted)
    except UnknownFlagError as problem:
        if not planted:
            return istioctl.analyze(istio_namespace=namespace)
        told = f"istioctl analyze was not run, because it would use these Secrets: {problem.message}"
        return (*planted, Finding(CODE, "Error", f"Namespace {namespace}", told))


def unsafe_remote_secrets(kube: Kube, namespace: str) -> Iterator[Finding]:
    """Find remote Secrets whose kubeconfig runs programs or reads files. Nothing of their content is told.

    Args:
        kube: Client of the cluster.
        namespace: Of the control plane.

    Yields:
        A finding of severity Error for each.

    Raises:
        SecretsWithheldError: This account may not read Secrets.
        KubeError: The API server does not answer.
    """
    try:
        secrets = kube.objects("v1", "Secret", namespace, selector=SELECTOR)
    except KubeError as problem:
        if problem.status not in FORBIDDEN:
            raise
        message = "istioctl analyze reads Secrets, which this account may not"
        raise SecretsWithheldError(message, remedy=SecretsWithheldError.usual_remedy) from problem
    for secret in secrets:
        faults = sorted({fault for text in (secret.get("data") or {}).values() for fault in _faults(text)})
        if faults:
            name = f"Secret {namespace}/{secret['metadata']['name']}"
            message = (
                f"its kubeconfig {' and '.join(faults)}, for whoever uses it: it was not used. "
                "istiod refuses such a Secret too; find out who made it"
            )
            yield Finding(CODE, "Error", name, message, WHY)


def _faults(encoded: Any) -> Iterator[str]:
    """What is wrong with a kubeconfig, in base64."""
    try:
        config = yaml.safe_load(base64.b64decode(str(encoded), validate=True))
    except (binascii.Error, ValueError, yaml.YAMLError):
        config = None
    if not isinstance(config, Mapping):
        yield "can't be read"
        return
    for kind, paths in FILES.items():
        for entry in _mappings(config.get(kind)):
            settings = entry.get(kind.removesuffix("s"))
            if isinstance(settings, Mapping):
                yield from (f"reads a file ({path})" for path in paths if settings.get(path))
                yield from (f"runs a program ({key})" for key in RUNS if _runs(settings.get(key)))


def _runs(plugin: Any) -> bool:
    harmless = (
        isinstance(plugin, Mapping) and plugin.get("name") in HARMLESS_PROVIDERS and "command" not in plugin
    )
    return plugin is not None and not harmless


def _mappings(value: Any) -> Iterator[Mapping[str, Any]]:
    yield from (each for each in (value if isinstance(value, list) else []) if isinstance(each, Mapping))
