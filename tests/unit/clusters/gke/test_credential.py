import json
import os
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
import yaml
from google.cloud.container_v1.types import Cluster

from meshlab.clusters.gke.access import (
    context_of,
    is_emulated,
    is_loopback,
    rest_endpoint,
    token_uri,
    write_kubeconfig,
)
from meshlab.clusters.gke.cluster import GkeCluster
from meshlab.clusters.gke.credential import credentials_of, exec_credential, main, refreshed
from meshlab.config.settings import GkeSettings
from meshlab.core.errors import CloudError
from tests.fakes.gke.books import Fault, Status
from tests.fakes.gke.emulator import Emulator


def test_a_token_comes_with_its_expiry(emulator: Emulator, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--token-uri", f"http://{emulator.compute}/token"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert (answer["apiVersion"], answer["kind"]) == (
        "client.authentication.k8s.io/v1beta1",
        "ExecCredential",
    )
    assert answer["status"]["token"] == "a-token-of-the-emulator"
    expires = datetime.fromisoformat(answer["status"]["expirationTimestamp"].replace("Z", "+00:00"))
    assert 3000 < (expires - datetime.now(UTC)).total_seconds() <= 3600


def test_a_token_without_an_expiry_says_none() -> None:
    credentials = credentials_of("http://127.0.0.1:1/token")
    credentials.token = "x"
    assert exec_credential(credentials)["status"] == {"token": "x"}


def test_who_gets_none_is_told_why(emulator: Emulator, capsys: pytest.CaptureFixture[str]) -> None:
    emulator.books.faults.append(Fault("token", Status.UNAUTHENTICATED, "invalid_grant", times=9))
    assert main(["--token-uri", f"http://{emulator.compute}/token"]) == 1
    captured = capsys.readouterr()
    assert captured.out == "" and "no usable credentials" in captured.err


def test_nobody_to_ask(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", "/nonexistent")
    with pytest.raises(CloudError, match="/nonexistent was not found"):
        refreshed(credentials_of(None))


@pytest.mark.parametrize("kind", ["folder", "no JSON", "external account without audience"])
def test_a_credentials_file_that_is_none_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    path = tmp_path / "key.json"
    if kind == "folder":
        path.mkdir()
    else:
        path.write_text("{" if kind == "no JSON" else json.dumps({"type": "external_account"}))
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(path))
    with pytest.raises(CloudError) as caught:
        refreshed(credentials_of(None))
    assert caught.value.kind == "credentials" and "GOOGLE_APPLICATION_CREDENTIALS" in caught.value.remedy


def test_a_server_of_tokens_that_nobody_reaches_is_no_missing_login() -> None:
    with pytest.raises(CloudError) as caught:
        refreshed(credentials_of("http://127.0.0.1:1/token"))
    assert caught.value.kind == "unavailable" and "does not answer" in caught.value.message
    assert "log in" not in caught.value.remedy


def test_the_kubeconfigs_plugin_runs_from_anywhere(
    provider: Callable[..., GkeCluster], tmp_path: Path
) -> None:
    content = yaml.safe_load(provider().up().kubeconfig.read_text())
    plugin = content["users"][0]["user"]["exec"]
    assert plugin["command"] == sys.executable and plugin["interactiveMode"] == "Never"
    environ = {**os.environ, **{each["name"]: each["value"] for each in plugin["env"]}}
    done = subprocess.run(
        [plugin["command"], *plugin["args"]],
        cwd=tmp_path,
        env=environ,
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(done.stdout)["status"]["token"] == "a-token-of-the-emulator"


def of(access: str) -> GkeSettings:
    return GkeSettings.model_validate({"project": "p", "access": access})


def made(**more: object) -> Cluster:
    return Cluster(name="x", endpoint="203.0.113.1", master_auth={"cluster_ca_certificate": "Q0E="}, **more)


def server_of(cluster: Cluster, settings: GkeSettings, path: Path) -> dict[str, str]:
    return yaml.safe_load(write_kubeconfig(cluster, settings, path).read_text())["clusters"][0]["cluster"]


def test_each_endpoint(tmp_path: Path) -> None:
    path = tmp_path / "a" / "kubeconfig"
    assert server_of(made(), of("public"), path) == {
        "server": "https://203.0.113.1", "certificate-authority-data": "Q0E="
    }  # fmt: skip
    private = made(private_cluster_config={"private_endpoint": "10.0.0.2"})
    assert server_of(private, of("private"), path)["server"] == "https://10.0.0.2"
    dns = {"endpoint": "gke-x.example.org", "allow_external_traffic": True}
    named = made(control_plane_endpoints_config={"dns_endpoint_config": dns})
    assert server_of(named, of("dns"), path) == {"server": "https://gke-x.example.org"}
    closed = {"dns_endpoint_config": {**dns, "allow_external_traffic": False}}
    for cluster, settings in (
        (made(), of("private")),
        (made(control_plane_endpoints_config=closed), of("dns")),
    ):
        with pytest.raises(CloudError, match="has no"):
            write_kubeconfig(cluster, settings, path)
    assert context_of(of("dns")) == "gke_p_us-central1-b_my-istio-cluster"


def test_what_counts_as_emulated() -> None:
    assert is_loopback("127.0.0.1:1") and is_loopback("http://localhost:1") and is_loopback("[::1]:1")
    assert not is_loopback("gke.example.org:443") and not is_loopback("10.0.0.1:443")
    assert not is_emulated(GkeSettings()) and token_uri(GkeSettings()) is None
    one = GkeSettings(api_endpoint="127.0.0.1:9090")
    assert (rest_endpoint(one), token_uri(one)) == ("127.0.0.1:9091", "http://127.0.0.1:9091/token")
    assert (
        rest_endpoint(GkeSettings(api_endpoint="127.0.0.1:1", compute_endpoint="127.0.0.1:9"))
        == "127.0.0.1:9"
    )
