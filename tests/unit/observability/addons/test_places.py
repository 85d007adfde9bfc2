"""Where things are asked: settings first, then Istio's addon, then whatever shows the signs of one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from meshlab.config.settings import LabConfig
from meshlab.core.access import hold_keys
from meshlab.core.errors import KubeError, NotHereError
from meshlab.istio.distribution import Distribution
from meshlab.observability.addons.addon import Addon
from meshlab.observability.addons.credentials import read_access
from meshlab.observability.addons.grafana import GRAFANA
from meshlab.observability.addons.jaeger import JAEGER
from meshlab.observability.addons.kiali import KIALI
from meshlab.observability.addons.prometheus import PROMETHEUS
from meshlab.observability.addons.whereabouts import called, scraping_namespace, whereabouts
from meshlab.observability.addons.zipkin_client import ZipkinClient
from tests.fakes.kube import FakeKube
from tests.fakes.tls_server import ClosedServer

Object = dict[str, Any]


def service(
    name: str, namespace: str, *ports: tuple[str, int], labels: dict[str, str] | None = None
) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": namespace, "labels": labels or {}},
        "spec": {
            "selector": {"pod-of": name},
            "ports": [{"name": each, "port": port} for each, port in ports],
        },
    }


def pod(name: str, namespace: str, *, args: tuple[str, ...] = (), ready: bool = True) -> Object:
    """A pod behind the Service of that name."""
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": f"{name}-0", "namespace": namespace, "labels": {"pod-of": name}},
        "spec": {"containers": [{"name": "it", "args": list(args)}]},
        "status": {"conditions": [{"type": "Ready", "status": str(ready)}]},
    }


def deployment(name: str) -> Object:
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": "istio-system"},
    }


def addon(name: str, port: int, *, before: str = "", args: tuple[str, ...] = ()) -> list[Object]:
    """Istio's addon as it stands: the Deployment, its Service and a pod. before: the Service, called otherwise."""
    before = before or name
    there = [deployment(name), service(before, "istio-system", ("http", port)), pod(before, "istio-system")]
    there[2]["spec"]["containers"][0]["args"] = list(args)
    return there


def config(**more: Any) -> LabConfig:
    return LabConfig.model_validate({"cluster": "existing", **more})


OPERATED = service("prometheus-operated", "monitoring", ("web", 9090), labels={"operated-prometheus": "true"})
STACK = [
    service(
        "kps-kube-prometheus-stack-prometheus",
        "observability",
        ("http-web", 9090),
        ("reloader-web", 8080),
        labels={"app": "kube-prometheus-stack-prometheus"},
    ),
    service(
        "kps-kube-prometheus-stack-alertmanager",
        "observability",
        ("http-web", 9093),
        labels={"app": "kube-prometheus-stack-alertmanager"},
    ),
    service(
        "kps-prometheus-node-exporter",
        "observability",
        ("http-metrics", 9100),
        labels={"app.kubernetes.io/name": "prometheus-node-exporter"},
    ),
    service(
        "prometheus-operated", "observability", ("http-web", 9090), labels={"operated-prometheus": "true"}
    ),
    service("kps-grafana", "observability", ("http-web", 80), labels={"app.kubernetes.io/name": "grafana"}),
]
CHART = [
    service(
        f"prom-{part}",
        "prom",
        ("http", 80),
        labels={"app.kubernetes.io/name": "prometheus", "app.kubernetes.io/component": part},
    )
    for part in ("alertmanager", "pushgateway", "server")
]


@pytest.mark.parametrize(
    ("services", "where"),
    [
        ([OPERATED], "monitoring/prometheus-operated:9090"),
        (STACK, "observability/kps-kube-prometheus-stack-prometheus:9090"),
        (CHART, "prom/prom-server:80"),
        ([service("prometheus-k8s", "monitoring", ("web", 9090))], "monitoring/prometheus-k8s:9090"),
        ([service("prometheus", "shop", ("metrics", 1234))], None),  # none of its ports is Prometheus's
        ([service("grafana", "shop", ("http", 3000), labels={"app": "grafana"})], None),
        ([], None),
    ],
)
def test_a_prometheus_that_is_not_istio_s_addon_is_found(services: list[Object], where: str | None) -> None:
    place = PROMETHEUS.place(FakeKube(services), config())
    assert (place.where if place else None) == where
    assert place is None or place.how


def test_the_addon_comes_first_and_on_a_cluster_of_ours_nothing_else_is_looked_for() -> None:
    kube = FakeKube([*addon("prometheus", 9090), OPERATED])
    found = PROMETHEUS.place(kube, config())
    assert found is not None and (found.where, found.how) == ("istio-system/prometheus:9090", "Istio's addon")
    ours = PROMETHEUS.place(FakeKube([OPERATED]), LabConfig())
    assert ours == found and not PROMETHEUS.runs(FakeKube([OPERATED]), LabConfig())
    assert PROMETHEUS.lacking(FakeKube(), LabConfig()) == ""  # that it is missing there is a fault


OPERATOR_JAEGER = [  # by Jaeger's operator: the Deployment is called as Istio's addon is
    deployment("jaeger"),
    service("jaeger-query", "istio-system", ("http-query", 16686), labels={"app": "jaeger"}),
]
CHART_GRAFANA = [  # by Grafana's Helm chart
    deployment("grafana"),
    service("grafana", "istio-system", ("service", 80), labels={"app.kubernetes.io/name": "grafana"}),
]


@pytest.mark.parametrize(
    ("asked", "there", "where"),
    [
        (JAEGER, OPERATOR_JAEGER, "istio-system/jaeger-query:16686"),
        (GRAFANA, CHART_GRAFANA, "istio-system/grafana:80"),
        (PROMETHEUS, [deployment("prometheus"), OPERATED], "monitoring/prometheus-operated:9090"),
        (KIALI, [deployment("kiali")], None),
        (KIALI, addon("kiali", 20001), "istio-system/kiali:20001"),
        (JAEGER, addon("jaeger", 80, before="tracing"), "istio-system/tracing:80"),
    ],
)
def test_a_deployment_of_the_addon_s_name_is_the_addon_only_with_its_service(
    asked: Addon[Any], there: list[Object], where: str | None
) -> None:
    place = asked.place(FakeKube(there), config())
    assert (place.where if place else None) == where
    assert place is None or (place.how == "Istio's addon") is (len(there) == 3)


def test_what_its_flags_say_holds_for_the_addon_too() -> None:
    kube = FakeKube(addon("prometheus", 9090, args=("--web.route-prefix=/metrics",)))
    place = PROMETHEUS.place(kube, config())
    assert place is not None and place.where == "istio-system/prometheus:9090/metrics"


def test_a_deployment_of_somebody_else_is_never_replaced(tmp_path: Path) -> None:
    allowed = config(allow_changes=True)
    release = Distribution("release", Path("istioctl"), "1", tmp_path)
    kube = FakeKube([deployment("grafana")])
    assert "istio-system/grafana is somebody else's" in GRAFANA.why_not(allowed, release, kube)
    with pytest.raises(KubeError, match="somebody else"):
        GRAFANA.deploy(allowed, release, kube)
    assert kube.calls == [] and GRAFANA.why_not(allowed, release, FakeKube()) == ""


def test_a_setting_comes_first_and_is_named() -> None:
    kube = FakeKube([*addon("prometheus", 9090), OPERATED])
    for given, where in (
        ({"url": "https://metrics.test/prom/"}, "https://metrics.test/prom"),
        ({"service": "shop/metrics:8080/prom"}, "shop/metrics:8080/prom"),
    ):
        place = PROMETHEUS.place(kube, config(prometheus=given))
        assert place is not None and place.where == where and place.how == f"prometheus.{next(iter(given))}"


def test_one_with_a_ready_pod_comes_before_one_without_and_others_are_named() -> None:
    other = service("prometheus-operated", "team-a", ("web", 9090), labels={"operated-prometheus": "true"})
    kube = FakeKube(
        [
            other,
            OPERATED,
            pod("prometheus-operated", "team-a", ready=False),
            pod("prometheus-operated", "monitoring"),
        ]
    )
    place = PROMETHEUS.place(kube, config())
    assert place is not None and place.namespace == "monitoring"
    assert place.row()["others"] == ["team-a/prometheus-operated"]


@pytest.mark.parametrize(
    ("args", "path"),
    [
        (("--web.route-prefix=/prom",), "/prom"),
        (("--web.external-url=https://x.test/metrics/",), "/metrics"),
        (("--web.external-url=https://x.test/metrics/", "--web.route-prefix=/"), ""),
        ((), ""),
    ],
)
def test_the_path_in_front_of_its_api_is_read_from_its_flags(args: tuple[str, ...], path: str) -> None:
    kube = FakeKube([OPERATED, pod("prometheus-operated", "monitoring", args=args)])
    place = PROMETHEUS.place(kube, config())
    assert place is not None and place.path == path


@pytest.mark.parametrize("port", ["https-web", "http-web"])
def test_a_prometheus_scrapes_from_its_namespace_whatever_its_scheme(port: str) -> None:
    kube = FakeKube([service("prometheus-operated", "monitoring", (port, 9090))])
    assert scraping_namespace(kube, config()) == "monitoring"  # type: ignore[arg-type]
    assert (called(kube, config()) is None) is (port == "https-web")  # type: ignore[arg-type]
    by_url = config(prometheus={"url": "https://metrics.test/prom/"})
    assert scraping_namespace(kube, by_url) == ""  # type: ignore[arg-type]
    assert scraping_namespace(FakeKube(), config()) == ""  # type: ignore[arg-type]


def test_a_port_that_says_so_speaks_tls() -> None:
    kube = FakeKube([service("prometheus-operated", "monitoring", ("https-web", 9090))])
    place = PROMETHEUS.place(kube, config())
    assert place is not None and place.scheme == "https"


class Guarded(FakeKube):
    """Lets us list Services in one namespace only."""

    def objects(
        self, api_version: str, kind: str, namespace: str | None = None, *, selector: str | None = None
    ) -> list[dict[str, Any]]:
        if kind in ("Service", "Namespace") and namespace != "istio-system":
            raise KubeError("forbidden", status=403)
        return super().objects(api_version, kind, namespace, selector=selector)


def test_only_namespaces_that_we_may_read_are_looked_into() -> None:
    mine = service("prometheus-operated", "istio-system", ("web", 9090))
    place = PROMETHEUS.place(Guarded([OPERATED, mine]), config())
    assert place is not None and place.namespace == "istio-system"
    assert PROMETHEUS.place(Guarded([OPERATED]), config()) is None


def test_tracing_by_jaeger_s_api_by_zipkin_s_or_none() -> None:
    jaeger = service(
        "jaeger-query", "obs", ("http-query", 16686), labels={"app.kubernetes.io/name": "jaeger"}
    )
    collector = service(
        "jaeger-collector", "obs", ("http-zipkin", 9411), labels={"app.kubernetes.io/name": "jaeger"}
    )
    zipkin = service("zipkin", "obs", ("http", 9411), labels={"app": "zipkin"})
    found = JAEGER.place(FakeKube([collector, zipkin, jaeger]), config())
    assert found is not None and (found.where, found.api) == ("obs/jaeger-query:16686", "jaeger")
    found = JAEGER.place(FakeKube([collector, zipkin]), config())
    assert found is not None and (found.where, found.api) == ("obs/zipkin:9411", "zipkin")
    assert JAEGER.place(FakeKube([collector]), config()) is None
    assert "tracing.url" in JAEGER.set_remedy() and "no Jaeger" in JAEGER.lacking(FakeKube(), config())


def test_grafana_and_kiali_wherever_they_are() -> None:
    kube = FakeKube([*STACK, service("kiali", "mesh", ("http", 20001), labels={"app": "kiali"})])
    places = [each.place(kube, config()) for each in (GRAFANA, KIALI)]
    assert [place.where if place else None for place in places] == [
        "observability/kps-grafana:80",
        "mesh/kiali:20001",
    ]


def test_a_url_is_asked_with_its_credentials_and_no_port_forward() -> None:
    hold_keys({"prometheus": read_access("X", "{bearer: verysecret-token}")})
    try:
        with ClosedServer(wants="Bearer verysecret-token", prefix="/prom") as server:
            asked = config(prometheus={"url": server.url})
            with PROMETHEUS.open(FakeKube(), asked) as client:  # type: ignore[arg-type]
                client.ready()
    finally:
        hold_keys({})
    assert server.asked and server.asked[0].startswith("/prom/api/v1/query")


def test_where_there_is_none_it_says_what_to_set() -> None:
    with pytest.raises(NotHereError, match="no Prometheus") as caught, PROMETHEUS.open(FakeKube(), config()):  # type: ignore[arg-type]
        pass
    assert "prometheus.url" in caught.value.remedy and not caught.value.retryable


def test_one_of_zipkin_s_api_gets_its_client() -> None:
    with ClosedServer() as server:
        asked = config(tracing={"service": "obs/zipkin:9411"})
        place = JAEGER.place(FakeKube([service("zipkin", "obs", ("http", 9411))]), asked)
        assert place is not None and place.api == "zipkin"
        assert isinstance(JAEGER._connect(place)(server.url), ZipkinClient)
    said = config(tracing={"url": "https://traces.test/x", "api": "zipkin"})
    place = JAEGER.place(FakeKube(), said)
    assert place is not None and place.api == "zipkin"
    there = FakeKube(addon("jaeger", 80, before="tracing"))
    assert JAEGER.place(there, config(tracing={"api": "none"})) is None


def test_credentials_are_not_sent_to_one_of_several_that_anybody_could_have_put_there() -> None:
    planted = service(
        "prometheus", "team-a", ("web", 9090), labels={"app": "kube-prometheus-stack-prometheus"}
    )
    hold_keys({"prometheus": read_access("X", "{bearer: verysecret-token}")})
    try:
        with (
            pytest.raises(KubeError, match="team-a") as caught,
            PROMETHEUS.open(
                FakeKube([planted, OPERATED]),
                config(),  # type: ignore[arg-type]
            ),
        ):
            pass
    finally:
        hold_keys({})
    assert "prometheus.service" in caught.value.remedy and "verysecret" not in str(caught.value)


def test_the_facts_say_where_each_is_asked_and_why_one_is_not() -> None:
    kube = FakeKube([OPERATED, service("kiali", "mesh", ("http", 20001), labels={"app": "kiali"})])
    found = whereabouts(kube, config(tracing={"api": "none"}))  # type: ignore[arg-type]
    assert found["prometheus"] == {
        "where": "monitoring/prometheus-operated:9090",
        "how": "label operated-prometheus=true",
    }
    assert found["kiali"]["where"] == "mesh/kiali:20001"
    assert found["tracing"] == {"why_not": "tracing.api is none"}
    assert list(found["grafana"]) == ["why_not"]
