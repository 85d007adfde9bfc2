"""Permissions on a cluster of somebody else: all that are missing, at once, before anything is touched."""

from __future__ import annotations

import pytest

from meshlab import manifests
from meshlab.config.settings import LabConfig
from meshlab.core.errors import KubeError
from meshlab.istio.mesh import INGRESS, Gateway, Mesh
from meshlab.security.gateways import ingress
from meshlab.security.gateways.pki import make_keys
from meshlab.shared_cluster.permissions import Need, missing, needs, problems
from tests.fakes.kube import FakeKube

OWN = LabConfig(cluster="existing")
WHOLE = LabConfig(cluster="existing", allow_changes=True)


class AskedKube(FakeKube):
    """A FakeKube that answers access reviews: everything but `refused` (verb, resource, namespace) is allowed."""

    context = "theirs"

    def __init__(
        self, *refused: tuple[str, str, str | None], down: bool = False, status: int | None = None
    ) -> None:
        super().__init__()
        self.refused, self.down, self.status = refused, down or status is not None, status
        self.asked: list[tuple[str, str, str, str | None]] = []

    def may(
        self, verb: str, group: str, resource: str, namespace: str | None = None, name: str | None = None
    ) -> bool:
        if self.down:
            raise KubeError("no answer", status=self.status, remedy="log in again")
        self.asked.append((verb, group, resource, namespace))
        return (verb, resource, namespace) not in self.refused


def test_a_user_who_may_all_of_it_has_no_problem() -> None:
    kube = AskedKube()
    assert problems(kube, OWN) == []  # type: ignore[arg-type]
    assert len(kube.asked) == len(set(kube.asked)) > 60


def test_all_that_is_missing_is_named_at_once() -> None:
    kube = AskedKube(
        ("create", "deployments", "meshlab"), ("patch", "deployments", "meshlab"), ("list", "nodes", None)
    )
    found = problems(kube, OWN)  # type: ignore[arg-type]
    assert [each.what for each in found] == [
        "may not list nodes in the whole cluster",
        "may not create, patch deployments.apps in namespace meshlab",
    ]
    assert found[0].where == "context theirs" and "ClusterRole" in found[0].remedy
    assert found[1].remedy == (
        "grant it with a Role: apiGroups ['apps'], resources [deployments], verbs [create, patch]"
    )


def test_our_own_namespace_is_all_that_is_written_by_default() -> None:
    written = {
        each.namespace
        for each in needs(OWN, namespace_there=True, istio_there=True)
        if set(each.verbs) & {"create", "delete", "update"}
        and each.resource not in ("pods/portforward", "serviceaccounts/token")
    }
    assert written == {"meshlab"}
    whole = needs(WHOLE, namespace_there=True, istio_there=True)
    assert {"kube-system", "istio-system", "meshlab"} <= {each.namespace for each in whole}


def test_jobs_are_made_only_where_a_load_test_is_asked_for() -> None:
    def jobs(config: LabConfig) -> set[str]:
        wanted = needs(config, namespace_there=True, istio_there=True)
        return {verb for each in wanted if each.resource == "jobs" for verb in each.verbs}

    assert jobs(OWN) == {"list"}
    loaded = LabConfig.model_validate({"cluster": "existing", "load": {"profile": "50,8,30s"}})
    assert jobs(loaded) == {"list", "get", "create", "update", "patch", "delete"}


def test_without_istio_what_installs_it_is_asked_for() -> None:
    without = set(needs(WHOLE, namespace_there=True, istio_there=False))
    more = without - set(needs(WHOLE, namespace_there=True, istio_there=True))
    assert "customresourcedefinitions" in {each.resource for each in more}


def test_a_namespace_that_is_not_there_must_be_made() -> None:
    made = Need(("get", "create", "patch", "delete"), "", "namespaces")
    assert made in needs(OWN, namespace_there=False, istio_there=True)
    assert made not in needs(OWN, namespace_there=True, istio_there=True)


def test_missing_gives_the_refused_verbs_only() -> None:
    kube = AskedKube(("delete", "pods", "a"))
    need = Need(("get", "delete"), "", "pods", "a")
    assert missing(kube, [need]) == (Need(("delete",), "", "pods", "a"),)  # type: ignore[arg-type]


def test_a_cluster_that_does_not_answer_is_told_by_its_start() -> None:
    assert problems(AskedKube(down=True), OWN) == []  # type: ignore[arg-type]


def test_credentials_that_the_cluster_refuses_are_told_though_it_tells_its_version() -> None:
    [problem] = problems(AskedKube(status=401), OWN)  # type: ignore[arg-type]
    assert "refuses its credentials" in problem.what and problem.remedy


@pytest.mark.parametrize("config", [OWN, WHOLE])
def test_needs_are_asked_once(config: LabConfig) -> None:
    wanted = needs(config, namespace_there=True, istio_there=True)
    assert len(wanted) == len(set(wanted))


def test_a_token_is_asked_for_one_account_and_for_no_other() -> None:
    kube = AskedKube(("create", "serviceaccounts/token", "istio-system"))
    [found] = problems(kube, OWN)  # type: ignore[arg-type]
    assert found.what == "may not create serviceaccounts/token of default in namespace istio-system"
    assert found.remedy.endswith("resourceNames [default]")


@pytest.mark.parametrize("manifest", ["ingress", "egress-gateway"])
def test_every_object_of_the_edge_is_asked_for_where_it_is_made(manifest: str) -> None:
    words = {"NAMESPACE": "meshlab", "SYSTEM": "istio-ingress"}
    mesh = Mesh("meshlab", gateways=(Gateway("istio-ingressgateway", "istio-ingress", INGRESS),))
    wanted = needs(WHOLE, namespace_there=True, istio_there=True, mesh=mesh)
    may = {(each.group, each.resource, each.namespace) for each in wanted if "create" in each.verbs}
    made = manifests.read(manifest, **words)
    if manifest == "ingress":
        made = [*made, *ingress.key_secrets(make_keys(*ingress.HOSTS), "tag", "istio-ingress")]
    plural = {"ServiceEntry": "serviceentries", "AuthorizationPolicy": "authorizationpolicies"}
    assert {
        (
            each["apiVersion"].rpartition("/")[0],
            plural.get(each["kind"], f"{each['kind'].lower()}s"),
            each["metadata"]["namespace"],
        )
        for each in made
    } <= may


def test_the_edge_by_gateway_api_needs_more_only_where_it_is_proven() -> None:
    asked = {"security": {"gateway_api": True}}
    proven = LabConfig.model_validate({"cluster": "existing", "allow_changes": True, **asked})
    below = LabConfig.model_validate({"cluster": "existing", **asked})

    def groups(config: LabConfig) -> set[str]:
        return {each.group for each in needs(config, namespace_there=True, istio_there=True)}

    assert groups(proven) - groups(WHOLE) == {"gateway.networking.k8s.io", "apiextensions.k8s.io"}
    assert groups(below) == groups(OWN)
