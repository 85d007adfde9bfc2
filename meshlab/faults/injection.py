"""Pods that come without a sidecar though their namespace asks for one."""

from __future__ import annotations

import copy

from meshlab.app import bookinfo
from meshlab.core.errors import IstioError
from meshlab.faults.fault import Site
from meshlab.faults.restart import restart
from meshlab.istio.control_plane import SIDECAR
from meshlab.istio.injection import API_VERSION, INJECTION_LABEL, KIND, REVISION_LABEL, WEBHOOK_SUFFIX
from meshlab.kube.apply import ObjectRef

NOBODY = "sabotage-nobody"  # a Service that is not there
TRIES = 3  # the API server hears of a changed webhook or namespace a moment later


def injector_gone(site: Site) -> None:
    """The injection webhooks call a Service that is not there, and their failure is ignored; details starts again."""
    for each in site.kube.objects(API_VERSION, KIND):
        hooks = copy.deepcopy(each.get("webhooks") or [])
        ours = [hook for hook in hooks if str(hook.get("name", "")).endswith(WEBHOOK_SUFFIX)]
        for hook in ours:
            hook["failurePolicy"] = "Ignore"
            service = (hook.get("clientConfig") or {}).get("service")
            if service:
                service["name"] = NOBODY
        if ours:
            site.changes.patch(
                ObjectRef(API_VERSION, KIND, None, each["metadata"]["name"]), {"webhooks": hooks}
            )
    _start_without_sidecar(site)


def never_restarted(site: Site) -> None:
    """Details starts while its namespace asks for no sidecar; then the namespace asks for them again."""
    off = {"metadata": {"labels": {INJECTION_LABEL: None, REVISION_LABEL: None}}}
    site.changes.patch(ObjectRef("v1", "Namespace", None, site.namespace), off)
    _start_without_sidecar(site)
    site.changes.restore()


def _start_without_sidecar(site: Site) -> None:
    for _ in range(TRIES):
        pods = restart(site.kube, site.namespace, bookinfo.DETAILS.selector)
        if not any(SIDECAR in pod.containers for pod in pods):
            return
    raise IstioError(
        f"{bookinfo.DETAILS.name} has its sidecar in spite of the fault",
        remedy="see which webhook injects it: kubectl get mutatingwebhookconfigurations",
    )
