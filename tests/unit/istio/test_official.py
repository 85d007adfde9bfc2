"""Which official images pods name: those of the objects, and those that the injector fills in."""

from __future__ import annotations

import json
from typing import Any

import pytest

from meshlab.core.errors import IstioError
from meshlab.istio.official import named


def deployment(*images: str, init: str = "") -> dict[str, Any]:
    pod: dict[str, Any] = {
        "containers": [{"name": f"c{at}", "image": image} for at, image in enumerate(images)]
    }
    if init:
        pod["initContainers"] = [{"name": "init", "image": init}]
    return {"kind": "Deployment", "metadata": {"name": "x"}, "spec": {"template": {"spec": pod}}}


def injector(name: str = "istio-sidecar-injector", **values: Any) -> dict[str, Any]:
    images = {"proxy": {"image": "proxyv2"}, "proxy_init": {"image": "proxyv2"}}
    content = {"hub": "registry.test/release", "tag": "1.30.2", "variant": "", **images, **values}
    told = {"values": json.dumps({"global": content})}
    return {"kind": "ConfigMap", "metadata": {"name": name}, "data": told}


def test_each_image_counts_once_and_sidecars_count_too() -> None:
    gateway = deployment("auto")
    found = named(
        [
            deployment("registry.test/release/pilot:1.30.2"),
            gateway,
            deployment("curl:1", "curl:1"),
            injector(),
        ]
    )
    assert found == (
        "registry.test/release/pilot:1.30.2",
        "curl:1",
        "registry.test/release/proxyv2:1.30.2",
    )
    assert named([deployment("a/b:1", init="a/c:1")]) == ("a/c:1", "a/b:1")


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"variant": "distroless"}, ("registry.test/release/proxyv2:1.30.2-distroless",)),
        ({"variant": "debug", "tag": "1.30.2-debug"}, ("registry.test/release/proxyv2:1.30.2-debug",)),
        (
            {"variant": "distroless", "tag": "1.30.2-debug"},
            ("registry.test/release/proxyv2:1.30.2-distroless",),
        ),
        ({"variant": "default", "tag": "1.30.2-debug"}, ("registry.test/release/proxyv2:1.30.2",)),
        (
            {"proxy": {"image": "corp.test/proxy:7"}},
            ("corp.test/proxy:7", "registry.test/release/proxyv2:1.30.2"),
        ),
    ],
)
def test_the_injectors_settings_are_followed(values: dict[str, Any], expected: tuple[str, ...]) -> None:
    assert named([injector("istio-sidecar-injector-stable", **values)]) == expected


@pytest.mark.parametrize(
    "data", [{}, {"values": "{"}, {"values": "{}"}, {"values": '{"global": {"hub": "x"}}'}]
)
def test_an_injector_that_tells_nothing_is_an_error_with_a_remedy(data: dict[str, str]) -> None:
    broken = {"kind": "ConfigMap", "metadata": {"name": "istio-sidecar-injector"}, "data": data}
    with pytest.raises(IstioError) as caught:
        named([broken])
    assert "istioctl manifest generate" in caught.value.remedy
