from __future__ import annotations

from meshlab.kube.fingerprint import KINDS, difference, take
from tests.fakes.kube import FakeKube, make_pod


def config_map(name: str = "a", value: str = "1", **meta: object) -> dict:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name, "namespace": "default", **meta},
        "data": {"k": value},
    }


def changed(before: dict, after: dict) -> tuple[str, ...]:
    """The difference that two states of one object make."""
    return difference(take(FakeKube([before])), take(FakeKube([after])))


def test_what_changed_appeared_and_went_is_named() -> None:
    before, after = (
        FakeKube([config_map(), config_map("b")]),
        FakeKube([config_map(value="2"), config_map("c")]),
    )
    assert difference(take(before), take(after)) == (
        "ConfigMap default/c was not there before",
        "ConfigMap default/b is gone",
        "ConfigMap default/a is not as it was",
    )
    assert difference(take(before), take(before)) == ()


def test_what_the_server_sets_and_roll_outs_leave_does_not_count() -> None:
    server = {"resourceVersion": "9", "uid": "u", "generation": 4, "managedFields": [1]}
    rolled = {"annotations": {"deployment.kubernetes.io/revision": "3"}}
    assert changed(config_map(), {**config_map(**server, **rolled), "status": {"x": 1}}) == ()
    assert changed(config_map(), config_map(labels={"a": "b"})) == ("ConfigMap default/a is not as it was",)


def pod(name: str, hash_: str, **annotations: str) -> dict:
    made = make_pod(name, labels={"app": "details", "pod-template-hash": hash_})
    made["metadata"] |= {"generateName": f"details-v1-{hash_}-", "annotations": annotations}
    return made


def test_a_pod_that_was_replaced_by_its_like_is_the_same() -> None:
    assert changed(pod("details-v1-1-x", "1"), pod("details-v1-2-y", "2")) == ()
    assert changed(pod("details-v1-1-x", "1"), pod("details-v1-1-x", "1", scrape="false")) == (
        "Pods of default/details-v1 is not as it was",
    )


def test_kinds_that_the_cluster_does_not_have_are_passed_over() -> None:
    kube = FakeKube()
    assert not set(KINDS) <= set(kube.kinds)
    assert take(kube) == {}
