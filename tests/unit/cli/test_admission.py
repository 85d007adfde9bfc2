"""What admission has against the run's objects is known beforehand, in a namespace that is not there yet, too."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from meshlab.cli import admission
from meshlab.config.settings import LabConfig
from meshlab.core.errors import KubeError, Problem
from meshlab.istio.mesh import Mesh
from tests.fakes.kube import FakeKube

NIGHT = LabConfig(cluster="existing")
LABELLED = LabConfig.model_validate({"cluster": "existing", "app": {"labels": {"team": "mesh"}}})
RESTRICTED = {"pod-security.kubernetes.io/enforce": "restricted"}
DENIED = "is forbidden: ValidatingAdmissionPolicy 'owners' denied request: label team is required"
Object = dict[str, Any]
Rule = Callable[[Object], bool]


class Admitting(FakeKube):
    """A cluster whose admission refuses what `rule` holds for, HERE being the namespace; nothing may be stored."""

    def __init__(
        self, *objects: Object, rule: Rule = lambda _: False, says: str = DENIED, status: int = 403
    ) -> None:
        super().__init__()
        self.kinds |= {("v1", "ResourceQuota"): True, ("v1", "LimitRange"): True}
        for each in objects:
            self.put(each)
        self.rule, self.says, self.status = rule, says, status
        self.may_not: set[str] = set()
        self.unreadable: set[str] = set()
        self.asked: list[tuple[str, str | None]] = []

    def objects(
        self, api_version: str, kind: str, namespace: str | None = None, *, selector: str | None = None
    ) -> list[Object]:
        if kind in self.unreadable:
            raise KubeError(f"may not list {kind}", status=403)
        return super().objects(api_version, kind, namespace, selector=selector)

    def may(self, verb: str, group: str, resource: str, namespace: str | None = None) -> bool:
        assert verb == "create" and group == ("apps" if resource == "deployments" else "")
        return resource not in self.may_not

    def create(  # type: ignore[override]
        self, document: Object, *, namespace: str | None = None, dry_run: bool = False
    ) -> Object:
        assert dry_run, "nothing may be written"
        assert document["metadata"].get("namespace") == namespace
        self.asked.append((document["kind"], namespace))
        if self.rule(document):
            raise KubeError(self.says.replace("HERE", namespace or ""), status=self.status)
        return document


def space(name: str, *, going: bool = False, **labels: str) -> Object:
    meta: Object = {"name": name, "labels": labels}
    if going:
        meta["deletionTimestamp"] = "2026-01-02T03:04:05Z"
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": meta}


TWO = (space("default"), space("shop"))  # fewer decide nothing


def bound(kind: str, namespace: str) -> Object:
    return {"apiVersion": "v1", "kind": kind, "metadata": {"name": "team", "namespace": namespace}}


def asked(kube: Admitting, config: LabConfig = NIGHT) -> list[Problem]:
    found = admission.refusals(kube, config, Mesh("meshlab"))  # type: ignore[arg-type]
    assert kube.calls == [], "nothing is written"
    return found


def demands(*kinds: str) -> Rule:
    """The label `team` on these kinds, as a policy for the whole cluster demands it."""
    return lambda found: found["kind"] in kinds and "team" not in (found["metadata"].get("labels") or {})


@pytest.mark.parametrize("there", [True, False], ids=["namespace there", "namespace to come"])
@pytest.mark.parametrize("kinds", [("Pod",), ("Deployment",), ("Pod", "Deployment")])
def test_a_label_that_the_cluster_demands_is_told_with_the_setting(
    kinds: tuple[str, ...], there: bool
) -> None:
    spaces = [*TWO, *([space("meshlab")] if there else [])]
    found = asked(Admitting(*spaces, rule=demands(*kinds)))
    assert len(found) == len(kinds), "all at once"
    assert all(each.where == "namespace meshlab" and DENIED in each.what for each in found)
    assert all("app.labels" in each.remedy for each in found)
    assert asked(Admitting(*spaces, rule=demands(*kinds)), LABELLED) == []


def test_a_namespace_that_is_there_is_asked_itself_and_no_other() -> None:
    kube = Admitting(space("meshlab"), space("default"))
    assert asked(kube) == []
    assert kube.asked == [("Pod", "meshlab"), ("Deployment", "meshlab")]


def test_a_namespace_that_may_not_be_made_is_named_beside_what_its_pods_lack() -> None:
    found = asked(Admitting(*TWO, rule=demands("Namespace", "Pod")))
    assert [each.where for each in found] == ["namespace meshlab"] * 2
    assert all("app.labels" in each.remedy for each in found)
    assert asked(Admitting(*TWO, rule=demands("Namespace", "Pod")), LABELLED) == []


def test_a_namespace_that_is_going_is_asked_in_others_and_its_name_is_no_refusal() -> None:
    says = 'object is being deleted: namespaces "meshlab" already exists'
    going = space("meshlab", going=True)
    kube = Admitting(
        space("default"), going, rule=lambda found: found["kind"] == "Namespace", says=says, status=409
    )
    assert asked(kube) == []
    assert ("Pod", "default") in kube.asked and ("Pod", "meshlab") not in kube.asked


def test_what_is_another_namespaces_own_is_left_out() -> None:
    spaces = [
        space("kube-system"),
        space("istio-system"),
        space("old", going=True),
        space("default", **RESTRICTED),
        space("full"),
        space("small"),
        space("shop"),
    ]
    kube = Admitting(*spaces, bound("ResourceQuota", "full"), bound("LimitRange", "small"))
    assert asked(kube) == []
    assert {place for _, place in kube.asked} == {None, "shop"}


def test_one_namespace_with_a_rule_of_its_own_is_outvoted() -> None:
    def only_here(found: Object) -> bool:
        return found["metadata"].get("namespace") == "default"

    spaces = [space(name) for name in ("default", "shop", "bank", "zoo")]
    kube = Admitting(*spaces, rule=only_here)
    assert asked(kube) == []
    assert len({place for _, place in kube.asked if place}) == admission.STAND_INS
    assert asked(Admitting(spaces[0], rule=only_here)) == [], "alone it decides nothing"
    told = asked(Admitting(*spaces, rule=demands("Pod", "Deployment")))
    assert len(told) == 2 and all("make meshlab beforehand" in each.remedy for each in told)


def test_a_policy_that_keeps_everybody_out_of_the_other_namespace_says_nothing_of_ours() -> None:
    says = (
        "can't create Pod HERE/x: 400 resource Pod/HERE/x was blocked: using 'HERE' namespace is not allowed"
    )
    assert asked(Admitting(*TWO, rule=demands("Pod"), says=says, status=400)) == []
    says = "can't create Pod HERE/x: 400 resource Pod/HERE/x was blocked: a team is missing"
    assert len(asked(Admitting(*TWO, rule=demands("Pod"), says=says, status=400))) == 1


@pytest.mark.parametrize(
    "why",
    [
        "pod node label selector conflicts with its namespace node label selector",
        "pod tolerations (possibly merged with namespace default tolerations) conflict with its namespace whitelist",
    ],
    ids=["PodNodeSelector", "PodTolerationRestriction"],
)
def test_what_kubernetes_plugins_ask_of_another_namespace_s_pods_says_nothing_of_ours(why: str) -> None:
    says = f'pods "x" is forbidden: {why}'
    assert asked(Admitting(*TWO, rule=lambda found: found["kind"] == "Pod", says=says)) == []
    [ours] = asked(Admitting(space("meshlab"), rule=lambda found: found["kind"] == "Pod", says=says))
    assert why in ours.what


@pytest.mark.parametrize("there", [True, False], ids=["namespace there", "namespace to come"])
def test_a_rule_against_pods_without_an_owner_refuses_none_of_the_runs(there: bool) -> None:
    def naked(found: Object) -> bool:
        owners = found["metadata"].get("ownerReferences") or ()
        return found["kind"] == "Pod" and not any(each.get("controller") for each in owners)

    spaces = [*TWO, *([space("meshlab")] if there else [])]
    kube = Admitting(*spaces, rule=naked)
    assert asked(kube) == [] and "Pod" in {kind for kind, _ in kube.asked}


def test_quotas_that_may_not_be_read_are_not_taken_for_ours() -> None:
    quota = 'pods "x" is forbidden: exceeded quota: team, requested: pods=1'
    kube = Admitting(*TWO, rule=lambda found: found["kind"] == "Pod", says=quota)
    kube.unreadable = {"ResourceQuota", "LimitRange"}
    assert asked(kube) == []
    [ours] = asked(Admitting(space("meshlab"), rule=lambda found: found["kind"] == "Pod", says=quota))
    assert "app.namespace" in ours.remedy


@pytest.mark.parametrize(
    ("says", "status"),
    [
        (
            'pods is forbidden: User "night" cannot create resource "pods" in API group "" in the namespace "default"',
            403,
        ),
        ('admission webhook "old" does not support dry run', 400),
        ("timeout", 504),
    ],
    ids=["RBAC", "no dry run", "no answer"],
)
@pytest.mark.parametrize("there", [True, False])
def test_what_is_no_answer_of_admission_is_no_refusal(says: str, status: int, there: bool) -> None:
    spaces = [*TWO, *([space("meshlab")] if there else [])]
    assert asked(Admitting(*spaces, rule=lambda _: True, says=says, status=status)) == []
    assert asked(Admitting(*spaces, rule=lambda _: True)), "the control"


def test_what_this_account_may_not_make_is_not_asked_about() -> None:
    kube = Admitting(*TWO, rule=lambda _: True)
    kube.may_not = {"pods", "namespaces"}
    [told] = asked(kube)
    assert "Deployment" in told.what and kube.asked == [("Deployment", "default"), ("Deployment", "shop")]
    kube = Admitting(space("default"), rule=lambda _: True)
    kube.unreadable = {"Namespace"}
    assert [each.where for each in asked(kube)] == ["namespace meshlab"], (
        "the namespace itself can be asked for"
    )


def test_the_objects_are_as_the_runs_own() -> None:
    seen: list[Object] = []
    kube = Admitting(space("meshlab", **RESTRICTED), rule=lambda found: bool(seen.append(found)))
    assert asked(kube, LABELLED) == []
    pod, deployment = seen
    template = deployment["spec"]["template"]
    assert deployment["metadata"]["labels"] == {"team": "mesh"}
    assert template["metadata"]["labels"].items() >= {"team": "mesh", "app": "sleep"}.items()
    assert deployment["spec"]["selector"]["matchLabels"].items() <= template["metadata"]["labels"].items()
    for spec in (pod["spec"], template["spec"]):
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
