"""istioctl's answers become values; its refusals become IstioErrors."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from meshlab.core.errors import IstioError, SecretsWithheldError
from meshlab.istio.findings import Finding
from meshlab.istio.istioctl import Istioctl, MeshVersions
from tests.fakes.istioctl import FakeIstioctl, Said

CDS = "type.googleapis.com/envoy.config.cluster.v3.Cluster"
LDS = "type.googleapis.com/envoy.config.listener.v3.Listener"
VERSION = {
    "clientVersion": {"version": "1.31.0", "revision": "abc"},
    "meshVersion": [{"Component": "pilot", "Revision": "default", "Info": {"version": "1.31.0"}}],
    "dataPlaneVersion": [{"ID": "sleep-1.default", "IstioVersion": "1.30.2", "Type": "sidecar"}],
}


def istioctl(**answers: Said) -> tuple[Istioctl, FakeIstioctl]:
    fake = FakeIstioctl({name.replace("_", "-"): said for name, said in answers.items()})
    return Istioctl(Path("/bin/istioctl"), Path("/kube/config"), "ctx", fake), fake


def client(name: str, *configs: dict[str, object]) -> dict[str, object]:
    meta = {"NAMESPACE": "default", "ISTIO_VERSION": "1.31.0"}
    return {"node": {"id": f"{name}.default", "metadata": meta}, "genericXdsConfigs": list(configs)}


def test_version_asks_all_three_planes():
    tool, fake = istioctl(version=Said(json.dumps(VERSION)))
    assert tool.version() == MeshVersions(
        "1.31.0", "abc", (("default", "1.31.0"),), (("sleep-1.default", "1.30.2"),)
    )
    assert fake.commands == [
        (
            "/bin/istioctl",
            "version",
            "--output=json",
            "--remote=true",
            "--kubeconfig=/kube/config",
            "--context=ctx",
        )
    ]


def test_version_of_the_program_alone_needs_no_cluster():
    tool, fake = istioctl(version=Said(json.dumps({"clientVersion": {"version": "1.31.0"}})))
    assert tool.version(remote=False).control_plane == ()
    assert not any(word.startswith("--kubeconfig") for word in fake.commands[0])


def test_the_ship_that_istioctl_draws_is_no_reason():
    said = "   |\\\n  /|| \\\n\\_____/\n- Processing resources for Istiod.\n✘ Istiod: not ready after 1m0s\n"
    tool, _ = istioctl(install=Said(stderr=said, returncode=1))
    with pytest.raises(IstioError) as refused:
        tool.install({"kind": "IstioOperator"}, timeout=60)
    assert refused.value.message == "istioctl install failed: ✘ Istiod: not ready after 1m0s"


def test_an_answer_that_is_no_json():
    tool, _ = istioctl(version=Said("client version: 1.5.0"))
    with pytest.raises(IstioError, match=r"client version: 1\.5\.0"):
        tool.version()


def test_proxy_status_joins_the_answers_of_several_istiods():
    first = {"resources": [client("b", {"typeUrl": CDS, "configStatus": "SYNCED"})]}
    second = {
        "resources": [
            client(
                "a",
                {"typeUrl": CDS, "configStatus": "NOT_SENT"},
                {"typeUrl": LDS, "configStatus": "ERROR", "errorState": {"details": "unknown filter"}},
                {"typeUrl": "type.googleapis.com/x.Y"},
            )
        ]
    }
    tool, _ = istioctl(proxy_status=Said(json.dumps(first, indent=4) + "\n" + json.dumps(second) + "\n"))
    a, b = tool.proxy_status()
    assert (a.name, a.pod, a.namespace) == ("a.default", "a", "default")
    assert a.types == {"CDS": "NOT SENT", "LDS": "ERROR", "x.Y": "UNKNOWN"}
    assert a.errors == {"LDS": "unknown filter"}
    assert (b.types, b.errors) == ({"CDS": "SYNCED"}, {})


def test_proxy_status_without_a_proxy():
    tool, _ = istioctl(proxy_status=Said("{}\n"))
    assert tool.proxy_status() == ()


def test_install_hands_over_the_document_and_passes_progress_on():
    tool, fake = istioctl(install=Said(stderr="✔ Istiod installed\n"))
    heard: list[str] = []
    tool.install({"kind": "IstioOperator"}, timeout=90, on_line=heard.append)
    assert fake.commands[0][1:5] == (
        "install",
        "--skip-confirmation",
        "--readiness-timeout=90s",
        "--filename=-",
    )
    assert fake.inputs == ["kind: IstioOperator\n"] and heard == ["✔ Istiod installed"]


def test_a_refusal_names_what_istioctl_said_and_how_to_repeat_it():
    tool, _ = istioctl(uninstall=Said(stderr="connection refused", returncode=1))
    with pytest.raises(IstioError, match="connection refused") as caught:
        tool.uninstall_purge(timeout=5)
    assert "/bin/istioctl uninstall --purge" in caught.value.remedy


def test_findings_of_analyze_are_an_answer_though_it_ends_with_79():
    finding = {
        "code": "IST0101",
        "level": "Error",
        "origin": "Gateway a",
        "message": "m",
        "documentationUrl": "u",
    }
    tool, _ = istioctl(analyze=Said(json.dumps([finding]), returncode=79))
    assert tool.analyze() == (Finding("IST0101", "Error", "Gateway a", "m", "u"),)


def test_analyze_that_can_not_run():
    tool, _ = istioctl(analyze=Said(stderr="no cluster", returncode=1))
    with pytest.raises(IstioError, match="no cluster"):
        tool.analyze("default")


def test_checksum(tmp_path: Path):
    program = tmp_path / "istioctl"
    program.write_bytes(b"program")
    assert Istioctl(program).checksum() == hashlib.sha256(b"program").hexdigest()
    with pytest.raises(IstioError, match="can't be read"):
        Istioctl(tmp_path / "none").checksum()


def test_analyze_by_somebody_who_may_not_read_secrets_is_told_apart():
    said = 'Error: secrets is forbidden: User "run" cannot list resource "secrets" in API group ""'
    tool, _ = istioctl(analyze=Said(stderr=said, returncode=1))
    with pytest.raises(SecretsWithheldError, match="may not"):
        tool.analyze()


def test_a_revision_is_removed_alone_and_a_tag_is_moved():
    tool, fake = istioctl(uninstall=Said("gone"), tag=Said())
    assert tool.uninstall_revision("default", timeout=5) == "gone"
    tool.set_tag("prod", "1-31-0")
    words = [command[1:-2] for command in fake.commands]
    assert words == [
        ("uninstall", "--revision=default", "--skip-confirmation"),
        ("tag", "set", "prod", "--revision=1-31-0", "--overwrite", "--skip-confirmation"),
    ]


def test_findings_of_precheck_are_an_answer_and_a_crash_is_not():
    found = [{"code": "IST0141", "level": "Error", "origin": "", "message": "may not"}]
    tool, _ = istioctl(x=Said(json.dumps(found), "Error: issues found", 1))
    assert [(each.code, each.level) for each in tool.precheck()] == [("IST0141", "Error")]
    assert istioctl(x=Said("[]"))[0].precheck() == ()
    with pytest.raises(IstioError):
        istioctl(x=Said("", "no route to host", 1))[0].precheck()


def test_each_control_plane_that_has_to_be_named_is_asked_and_their_answers_are_one():
    other = {
        "clientVersion": VERSION["clientVersion"],
        "meshVersion": [{"Component": "pilot", "Revision": "canary", "Info": {"version": "1.31.0"}}],
    }
    one, two = ({"resources": [client(name)]} for name in ("sleep-1", "web-1"))
    fake = FakeIstioctl(
        {
            "version": [Said(json.dumps(VERSION)), Said(json.dumps(other))],
            "proxy-status": [Said(json.dumps(one)), Said(json.dumps(two))],
        }
    )
    planes = [("stable", "istio-system"), ("canary", "mesh-control")]
    tool = Istioctl(Path("/bin/istioctl"), runner=fake, planes=lambda: planes)
    found = tool.version()
    assert found.control_plane == (("default", "1.31.0"), ("canary", "1.31.0"))
    assert found.data_plane == (("sleep-1.default", "1.30.2"),)
    assert [each.pod for each in tool.proxy_status()] == ["sleep-1", "web-1"]
    for words, (revision, home) in zip(fake.commands, [*planes, *planes], strict=True):
        assert {f"--revision={revision}", f"--istioNamespace={home}"} <= set(words)
    assert tool.version(remote=False).client == "1.31.0" and len(fake.commands) == 5


def test_where_none_has_to_be_named_it_is_asked_as_ever():
    fake = FakeIstioctl({"version": Said(json.dumps(VERSION))})
    Istioctl(Path("/bin/istioctl"), runner=fake, planes=lambda: ()).version()
    assert not any(word.startswith("--revision") for word in fake.commands[0])
