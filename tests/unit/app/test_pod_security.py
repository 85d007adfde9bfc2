"""Where the namespace takes restricted pods only, the run's own are as the Pod Security Standard demands."""

from __future__ import annotations

from typing import Any

import pytest

from meshlab.app.deployment import fitted
from meshlab.app.pod_security import LABEL, USER, enforces_restricted
from meshlab.config.settings import LabConfig
from tests.fakes.mesh import FakeMesh, make_object


def pod(**more: Any) -> dict[str, Any]:
    spec = {"containers": [{"name": "app", "image": "x"}], **more}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a"}, "spec": spec}


@pytest.mark.parametrize(
    ("labels", "wanted"),
    [({LABEL: "restricted"}, True), ({LABEL: "baseline"}, False), ({}, False)],
)
def test_the_namespaces_own_label_decides(labels: dict[str, str], wanted: bool) -> None:
    kube = FakeMesh([make_object("v1", "Namespace", "shop", **labels)])
    assert enforces_restricted(kube, "shop") is wanted
    assert enforces_restricted(kube, "not-there") is False


def test_pods_and_templates_get_all_that_the_standard_demands() -> None:
    deployment = {
        "kind": "Deployment",
        "metadata": {"name": "a"},
        "spec": {"template": {"spec": pod()["spec"]}},
    }
    one, other = fitted(LabConfig(), [pod(), deployment], restricted=True)
    for spec in (one["spec"], other["spec"]["template"]["spec"]):
        assert spec["securityContext"] == {
            "runAsUser": USER,
            "runAsNonRoot": True,
            "seccompProfile": {"type": "RuntimeDefault"},
        }
        assert spec["containers"][0]["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
        }
    assert fitted(LabConfig(), [pod()]) == [pod()], "the control: elsewhere nothing differs"


def test_a_user_that_is_named_stays_and_what_the_standard_forbids_goes() -> None:
    theirs = {
        "runAsUser": 65534,
        "privileged": False,
        "runAsNonRoot": False,
        "capabilities": {"add": ["NET_RAW"]},
    }
    init = {"name": "first", "image": "x", "securityContext": theirs}
    [fits] = fitted(
        LabConfig(), [pod(initContainers=[init], securityContext={"runAsUser": 5})], restricted=True
    )
    assert fits["spec"]["securityContext"]["runAsUser"] == 5
    assert fits["spec"]["initContainers"][0]["securityContext"] == {
        "runAsUser": 65534,
        "privileged": False,
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
    }
