"""No kubeconfig that stands in the cluster is ever used: a planted one does not run, and a finding says so."""

from __future__ import annotations

import base64
import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from meshlab.core.errors import IstioError, KubeError, SecretsWithheldError
from meshlab.core.process import Completed
from meshlab.istio.analysis import CODE, analyze_mesh, unsafe_remote_secrets
from meshlab.istio.findings import Finding
from meshlab.istio.istioctl import Istioctl
from tests.fakes.kube import FakeKube
from tests.fakes.programs import Call, FakePrograms

HERE, PLANTED = "istio-system", "Secret istio-system/planted"
FOUND = {"code": "IST0101", "level": "Error", "origin": "Gateway a", "message": "m", "cluster": "default"}


def cluster(*kubeconfigs: Any, label: str = "true") -> FakeKube:
    """A cluster with one remote Secret for each kubeconfig."""
    kube = FakeKube()
    kube.kinds["v1", "Secret"] = True
    for number, config in enumerate(kubeconfigs):
        text = config if isinstance(config, str) else yaml.safe_dump(config)
        meta = {
            "name": f"planted-{number}" if number else "planted",
            "namespace": HERE,
            "labels": {"istio/multiCluster": label},
        }
        data = {"far": base64.b64encode(text.encode()).decode()}
        kube.put({"apiVersion": "v1", "kind": "Secret", "metadata": meta, "data": data})
    return kube


def kubeconfig(user: Any, **of_cluster: str) -> dict[str, Any]:
    return {
        "current-context": "far",
        "contexts": [{"name": "far", "context": {"cluster": "far", "user": "far"}}],
        "clusters": [{"name": "far", "cluster": {"server": "https://far.test", **of_cluster}}],
        "users": [{"name": "far", "user": user}],
    }


class OlderIstioctl(FakePrograms):
    """As builds before September 2026 behave: the exec plugins of remote Secrets are run, here really.

    remote_flag: whether it knows --remote-contexts, which keeps it from the Secrets.
    """

    def __init__(self, kube: FakeKube, *, remote_flag: bool = True) -> None:
        super().__init__()
        self.kube = kube
        self.remote_flag = remote_flag

    def answer(self, call: Call) -> Completed:
        self.commands.append(call.words)
        assert call.words[1] == "analyze"
        contexts = [word for word in call.words if word.startswith("--remote-contexts")]
        if contexts and not self.remote_flag:
            return Completed(call.words, 1, "", "Error: unknown flag: --remote-contexts\n", 0.1)
        if contexts:
            assert contexts == ["--remote-contexts=here"]
            return Completed(call.words, 79, json.dumps([FOUND, {**FOUND, "cluster": "here"}]), "", 0.1)
        for secret in self.kube.objects("v1", "Secret", HERE, selector="istio/multiCluster=true"):
            for text in secret["data"].values():
                for user in yaml.safe_load(base64.b64decode(text))["users"]:
                    if plugin := user["user"].get("exec"):
                        subprocess.run([plugin["command"], *plugin["args"]], check=True)
        alone = {key: value for key, value in FOUND.items() if key != "cluster"}
        return Completed(call.words, 79, json.dumps([alone]), "", 0.1)


def tool(kube: FakeKube, *, remote_flag: bool = True) -> Istioctl:
    runner = OlderIstioctl(kube, remote_flag=remote_flag)
    return Istioctl(Path("/bin/istioctl"), Path("/kube/config"), "here", runner)


@pytest.mark.parametrize("remote_flag", [True, False])
def test_a_planted_plugin_does_not_run_and_a_finding_says_so(tmp_path: Path, remote_flag: bool) -> None:
    file = tmp_path / "FILE"
    kube = cluster(kubeconfig({"exec": {"command": "touch", "args": [str(file)]}}))
    istioctl = tool(kube, remote_flag=remote_flag)
    found = analyze_mesh(kube, istioctl, HERE)  # type: ignore[arg-type]
    assert not file.exists()
    planted = next(each for each in found if each.origin == PLANTED)
    assert planted.level == "Error" and planted.code == CODE and "runs a program (exec)" in planted.message
    assert str(file) not in repr(found), "nothing of its content is told"
    others = [each for each in found if each.origin != PLANTED]
    assert [each.code for each in others] == (["IST0101"] if remote_flag else [CODE])
    istioctl.analyze()  # the control: left alone, this istioctl runs it
    assert file.exists()


def test_what_is_found_in_this_cluster_is_told_once() -> None:
    kube = cluster()
    assert analyze_mesh(kube, tool(kube), HERE) == (Finding("IST0101", "Error", "Gateway a", "m"),)  # type: ignore[arg-type]


@pytest.mark.parametrize("clusters", [("default", "here"), ("here", "here"), ("", "here"), ("here",)])
def test_however_a_build_names_this_cluster_its_findings_are_told_once(clusters: tuple[str, ...]) -> None:
    class Naming(OlderIstioctl):
        def answer(self, call: Call) -> Completed:
            told = [{**FOUND, "cluster": each} for each in clusters]
            return Completed(call.words, 79, json.dumps(told), "", 0.1)

    kube = cluster()
    named = Istioctl(Path("/bin/istioctl"), Path("/kube/config"), "here", Naming(kube))
    assert [each.code for each in analyze_mesh(kube, named, HERE)] == ["IST0101"]  # type: ignore[arg-type]


def test_an_istioctl_without_the_flag_still_analyzes_where_nothing_is_planted() -> None:
    kube = cluster(kubeconfig({"token": "t"}))
    found = analyze_mesh(kube, tool(kube, remote_flag=False), HERE)  # type: ignore[arg-type]
    assert [each.code for each in found] == ["IST0101"]


@pytest.mark.parametrize(
    ("config", "fault"),
    [
        (kubeconfig({"token": "t"}), None),
        (kubeconfig({"client-certificate-data": "eA==", "client-key-data": "eA=="}), None),
        (kubeconfig({"auth-provider": {"name": "oidc"}}), None),
        (kubeconfig({"auth-provider": {"name": "gcp", "config": {"cmd-path": "/bin/sh"}}}), "auth-provider"),
        (kubeconfig({"exec": {"command": "sh"}}), "exec"),
        (kubeconfig({"exec": {"command": "sh", "name": "oidc"}}), "exec"),
        (kubeconfig({"exec": {}}), "exec"),
        (kubeconfig({"tokenFile": "/etc/shadow"}), "tokenFile"),
        (kubeconfig({"client-key": "/etc/key"}), "client-key"),
        (kubeconfig({"token": "t"}, **{"certificate-authority": "/etc/ca"}), "certificate-authority"),
        ("{", "can't be read"),
        ("just words", "can't be read"),
    ],
)
def test_what_is_unsafe_in_a_kubeconfig(config: Any, fault: str | None) -> None:
    found = list(unsafe_remote_secrets(cluster(config), HERE))  # type: ignore[arg-type]
    assert [each.origin for each in found] == ([PLANTED] if fault else [])
    assert fault is None or fault in found[0].message


def test_secrets_that_istioctl_does_not_look_at_are_no_matter() -> None:
    unsafe = kubeconfig({"exec": {"command": "sh"}})
    assert list(unsafe_remote_secrets(cluster(unsafe, label="false"), HERE)) == []  # type: ignore[arg-type]
    assert list(unsafe_remote_secrets(cluster(unsafe), "elsewhere")) == []  # type: ignore[arg-type]
    assert len(list(unsafe_remote_secrets(cluster(unsafe, unsafe), HERE))) == 2  # type: ignore[arg-type]


def test_an_account_that_may_not_read_secrets() -> None:
    kube = cluster()

    def refuse(*_: Any, **__: Any) -> Any:
        raise KubeError("secrets is forbidden", status=403)

    kube.objects = refuse  # type: ignore[method-assign]
    with pytest.raises(SecretsWithheldError):
        analyze_mesh(kube, tool(kube), HERE)  # type: ignore[arg-type]


def test_without_a_context_it_can_not_be_told_which_cluster_is_meant() -> None:
    kube = cluster()
    nameless = Istioctl(Path("/bin/istioctl"), Path("/kube/config"), None, OlderIstioctl(kube))
    with pytest.raises(IstioError, match="context"):
        nameless.analyze(own_cluster_only=True)
