"""Every official image that the pods of a run name, where its cluster can't pull them itself."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from meshlab import manifests
from meshlab.app import bookinfo, traffic_clients
from meshlab.app.deployment import fitted
from meshlab.config.settings import LabConfig
from meshlab.istio.distribution import Distribution
from meshlab.istio.official import named
from meshlab.observability.addons.grafana import GRAFANA
from meshlab.observability.addons.images import same
from meshlab.observability.addons.jaeger import JAEGER
from meshlab.observability.addons.kiali import KIALI
from meshlab.observability.addons.prometheus import PROMETHEUS


def every_image(
    config: LabConfig,
    distribution: Distribution,
    rendered: Iterable[Mapping[str, Any]],
    *,
    also: Iterable[str] = (),
) -> tuple[str, ...]:
    """Find the images of Istio, of the apps, of the addons and of the pods that ask.

    Args:
        config: The settings of the run; embedded apps and addons are not among them.
        distribution: Its samples name the images.
        rendered: Istio's objects, where it is a release.
        also: Images of the apps' side that no manifest names.

    Returns:
        References, each once: of an image that is named with and without its registry, the name with it.

    Raises:
        InputError: A sample can't be read.
        IstioError: The injector's values are not as Istio writes them.
    """
    found = list(named(rendered))
    if config.image_source == "official":
        # What else a stage starts has the image of one of these.
        ours = ["authz-client", *(["load-job"] if config.load.profile else [])]
        apps = [*bookinfo.manifests(distribution), *traffic_clients.documents(distribution, config)]
        found += named(fitted(config, [*apps, *map(manifests.read, ours)]))
        found += also
        for addon in (PROMETHEUS, GRAFANA, KIALI, JAEGER):
            found += named(addon.shipped(distribution))
    longer = [(one, other) for one in found for other in found if len(other) > len(one) and same(one, other)]
    return tuple(dict.fromkeys(each for each in found if each not in dict(longer)))
