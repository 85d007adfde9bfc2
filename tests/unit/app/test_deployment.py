"""What a cluster demands of everybody's objects is given to ours, and to nothing else."""

from __future__ import annotations

import pytest

from meshlab.app.deployment import fitted
from meshlab.config.settings import LabConfig

DEPLOYMENT = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "metadata": {"name": "web", "labels": {"team": "ours"}},
    "spec": {
        "selector": {"matchLabels": {"app": "web"}},
        "template": {
            "metadata": {"labels": {"app": "web"}},
            "spec": {"containers": [{"name": "c", "image": "registry.example.com/istio/examples:1"}]},
        },
    },
}
SERVICE = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"}, "spec": {"ports": []}}


def settings(**app: object) -> LabConfig:
    return LabConfig.model_validate({"cluster": "existing", "app": app})


def test_without_such_settings_nothing_differs() -> None:
    assert fitted(LabConfig(), [DEPLOYMENT, SERVICE]) == [DEPLOYMENT, SERVICE]


def test_labels_go_on_objects_and_pods_and_never_over_ours() -> None:
    deployment, service = fitted(settings(labels={"team": "mesh", "app": "x"}), [DEPLOYMENT, SERVICE])
    assert deployment["metadata"]["labels"] == {"team": "ours", "app": "x"}
    assert deployment["spec"]["template"]["metadata"]["labels"] == {"team": "mesh", "app": "web"}
    assert deployment["spec"]["selector"] == DEPLOYMENT["spec"]["selector"]  # type: ignore[index]
    assert service["metadata"]["labels"] == {"team": "mesh", "app": "x"}
    assert "labels" not in SERVICE["metadata"]


def test_pods_go_where_they_may_with_the_secrets_that_pull_their_images() -> None:
    where = {"node_selector": {"pool": "lab"}, "tolerations": [{"key": "lab", "operator": "Exists"}]}
    [found] = fitted(settings(scheduling=where, pull_secrets=["corp"]), [DEPLOYMENT])
    spec = found["spec"]["template"]["spec"]
    assert spec["nodeSelector"] == {"pool": "lab"}
    assert spec["tolerations"] == [{"key": "lab", "operator": "Exists"}]
    assert spec["imagePullSecrets"] == [{"name": "corp"}]


@pytest.mark.parametrize(
    ("image", "wanted"),
    [
        ("registry.example.com/istio/examples:1", "corp.example/hub/istio/examples:1"),
        ("curlimages/curl:8", "corp.example/hub/curlimages/curl:8"),
        ("python:3", "corp.example/hub/python:3"),
        ("registry.example.com:443/a/b@sha256:0", "corp.example/hub/a/b@sha256:0"),
        ("localhost/a", "corp.example/hub/a"),
    ],
)
def test_a_mirror_takes_the_place_of_the_registry(image: str, wanted: str) -> None:
    pod = {"kind": "Pod", "metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "image": image}]}}
    config = settings(image_prefix="corp.example/hub/")
    assert fitted(config, [pod])[0]["spec"]["containers"][0]["image"] == wanted
    assert fitted(config, [pod], pulled=False) == [pod]
    assert fitted(config.model_copy(update={"images": "embedded"}), [pod]) == [pod]
