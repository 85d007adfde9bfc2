"""Jaeger, from the addon manifest that Istio ships; with the image that this project compiles where images are embedded.

Its Services come first (`announce`): istiod leaves tracing out of a proxy's configuration, without a word,
while the provider's service is not in the mesh. Jaeger itself may follow when its image is there.
"""

from __future__ import annotations

from meshlab.config.settings import LabConfig
from meshlab.istio.distribution import Distribution
from meshlab.kube.apply import ObjectRef, apply
from meshlab.kube.client import Kube
from meshlab.observability.addons.addon import Addon
from meshlab.observability.addons.jaeger_client import JaegerClient
from meshlab.observability.addons.places import Signs
from meshlab.observability.addons.zipkin_client import ZipkinClient

# The Service `tracing` has Jaeger's page and its query API.
JAEGER = Addon(
    "jaeger",
    "tracing",
    80,
    JaegerClient,
    JaegerClient.services,
    compiled=True,
    section="tracing",
    signs=(
        Signs(
            labels=(("app.kubernetes.io/name", "jaeger"), ("app", "jaeger")),
            names=("(.*-)?jaeger(-query)?", "tracing"),
            ports=("http-query", "query-http", "jaeger-query", 16686),
            parts=("query", "service-query", "all-in-one"),
            api="jaeger",
        ),
        Signs(
            labels=(("app.kubernetes.io/name", "zipkin"), ("app", "zipkin")),
            names=("zipkin",),
            ports=("http-query", "http-zipkin", "http", 9411),
            parts=("zipkin", "server"),
            api="zipkin",
        ),
    ),
    apis={"zipkin": ZipkinClient},
    announced=True,
)


def announce(config: LabConfig, distribution: Distribution, kube: Kube) -> tuple[ObjectRef, ...]:
    """Apply the addon's Services alone, before any pod with a sidecar is created.

    Args:
        config: The settings.
        distribution: Its samples are read.
        kube: Client of the cluster.

    Returns:
        The Services: none on an external cluster that has Jaeger.

    Raises:
        KubeError: The run may not write there.
    """
    if JAEGER.is_external(config, kube):
        return ()
    JAEGER.need(config, distribution, kube)
    return apply(kube, [each for each in JAEGER.shipped(distribution) if each["kind"] == "Service"])
