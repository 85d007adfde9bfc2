import pytest

from meshlab.checks.cluster import is_unstamped, nodes_ready, version
from meshlab.run.results import Verdict


def node(name: str, ready: str | None = "True", reason: str = "KubeletReady") -> dict:
    conditions = [{"type": "MemoryPressure", "status": "False"}]
    if ready is not None:
        conditions.append({"type": "Ready", "status": ready, "reason": reason, "message": "said so"})
    return {
        "metadata": {"name": name},
        "status": {
            "conditions": conditions,
            "addresses": [{"type": "InternalIP", "address": "10.0.0.1"}],
            "nodeInfo": {"kubeletVersion": "v1.36.1", "containerRuntimeVersion": "containerd://1.6.20"},
        },
    }


def test_an_old_kubectl_is_named_and_not_judged() -> None:
    result = version(server="v1.36.1", python_client="36.0.0", istioctl="1.31.0", kubectl="v1.32.1")
    assert result.verdict is Verdict.PASS
    assert "kubectl v1.32.1 is 4 minor" in result.summary


def test_the_wanted_nodes_are_ready() -> None:
    result = nodes_ready([node("a"), node("b"), node("c")], wanted=3)
    assert result.verdict is Verdict.PASS
    assert result.summary == "3 of 3 nodes Ready (v1.36.1)"
    assert result.evidence["nodes"][0] == {
        "name": "a",
        "ready": True,
        "reason": "KubeletReady said so",
        "version": "v1.36.1",
        "ip": "10.0.0.1",
        "runtime": "containerd://1.6.20",
    }


@pytest.mark.parametrize(
    ("nodes", "wanted", "says"),
    [
        (
            [node("a"), node("b", "False", "KubeletNotReady")],
            2,
            "node b is not Ready: KubeletNotReady said so",
        ),
        ([node("a"), node("b", None)], 2, "node b is not Ready: no Ready condition yet"),
        ([node("a"), node("b")], 3, "2 nodes, 3 wanted"),
        ([node("a"), node("b")], 1, "2 nodes, 1 wanted"),
        ([], 0, "0 nodes, 1 wanted"),
    ],
)
def test_what_is_wrong_with_the_nodes_is_named(nodes: list, wanted: int, says: str) -> None:
    result = nodes_ready(nodes, wanted)
    assert result.verdict is Verdict.FAIL
    assert says in result.summary


def test_any_number_of_nodes_will_do_where_it_is_not_ours_to_say() -> None:
    result = nodes_ready([node("a")], wanted=0)
    assert result.verdict is Verdict.PASS and "1 of 1" in result.summary


def test_versions_are_told_and_skew_is_named() -> None:
    result = version(
        server="v1.36.1", python_client="37.0.1", istioctl="1.31.0", kubelets=["v1.36.1", "v1.36.1"]
    )
    assert result.verdict is Verdict.PASS
    assert "37.0.1 is 1 minor" in result.summary and "kubectl" in result.summary
    assert [row["component"] for row in result.evidence["versions"]] == [
        "server",
        "python client",
        "istioctl",
        "kubelet",
    ]


def test_no_skew_is_said_too() -> None:
    result = version(server="v1.36.1", python_client="36.0.0", istioctl="1.31.0", kubectl="v1.36.0")
    assert result.summary.endswith("no skew")


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"server": "v0.0.0-master+$Format:%H$"}, "the version of server"),
        ({"istioctl": "unknown"}, "the version of istioctl is 'unknown'"),
        ({"wanted": "1.35.0"}, "1.35.0 was wanted"),
        ({"python_client": ""}, "the version of python client"),
    ],
)
def test_a_version_that_says_nothing_or_is_not_wanted_fails(given: dict, says: str) -> None:
    result = version(**{"server": "v1.36.1", "python_client": "37.0.1", "istioctl": "1.31.0", **given})
    assert result.verdict is Verdict.FAIL
    assert says in (result.reason or "")


def test_a_version_of_a_cloud_is_stamped() -> None:
    assert not is_unstamped("v1.32.1-gke.1357001")
    assert not is_unstamped("1.31-alpha.0d3d")
    assert is_unstamped("v0.0.0-master+$Format:%H$")
