"""Faults of Services, Deployments and pods."""

from __future__ import annotations

from meshlab.app import bookinfo
from meshlab.faults.fault import QUERIES, Fault
from meshlab.faults.injection import injector_gone, never_restarted
from meshlab.faults.planters import plant_patches, plant_replaced

WORKLOADS = (
    Fault(
        "tcp-port-for-http",
        "The port of details is named tcp-, so its HTTP is bytes to the mesh",
        must=("jaeger.productpage-traces",),
        may=("graph.edges", "graph.agreement", *QUERIES),
        groups=("app", "load"),
        plant=plant_patches("tcp-port-for-http"),
    ),
    Fault(
        "headless-service",
        "The Service of details is headless: its callers' proxies know no workload behind it",
        must=("graph.edges",),
        # Its requests arrive as before. The caller's own count names no workload, and its proxy forgets the address soon.
        may=("envoy.dashboard", "graph.agreement", "jaeger.productpage-traces", *QUERIES),
        groups=("app", "load"),
        plant=plant_replaced("headless-service"),
    ),
    Fault(
        "selector-of-nobody",
        "The Service of ratings selects no pod",
        must=("graph.edges", "jaeger.productpage-traces"),
        may=("graph.agreement", *QUERIES),
        groups=("app", "load"),
        plant=plant_patches("selector-of-nobody"),
    ),
    Fault(
        "scaled-to-0",
        "Ratings has no pod",
        must=("app.bookinfo", "graph.edges", "jaeger.productpage-traces"),
        may=("graph.agreement", *QUERIES),
        groups=("app", "load"),
        plant=plant_patches("scaled-to-0"),
    ),
    Fault(
        "jaeger-gets-no-spans",
        "The Services that take spans select no pod: Jaeger answers with an empty list",
        must=("jaeger.productpage-traces", "graph.agreement"),
        groups=("load",),
        plant=plant_patches("jaeger-gets-no-spans"),
        scope="mesh",
    ),
    Fault(
        "injector-gone",
        "The injection webhook has no endpoint, its failure is ignored, and details starts again",
        must=("istio.injection",),
        may=("istio.analyze",),
        plant=injector_gone,
        heal=(bookinfo.DETAILS.selector,),
        scope="mesh",
        culprit="MutatingWebhookConfiguration istio-*",
    ),
    Fault(
        "never-restarted",
        "The pod of details is older than its namespace's wish for sidecars",
        must=("istio.injection",),
        plant=never_restarted,
        heal=(bookinfo.DETAILS.selector,),
        scope="mesh",
        culprit="Pod NAMESPACE/details-v1-*",
    ),
)
