"""Bad input for a cluster on GKE, through `python -m flows.full_lab` itself: exit 2, all of it named, nothing written.

`-s` prints the table.
"""

# ruff: noqa: F401, F811 - fixtures are imported, and their names are parameters

import json
import os
import runpy
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from google.oauth2 import credentials as user_credentials

from meshlab.clusters.gke import access
from tests.fakes.gke.books import Fault, Status
from tests.fakes.gke.emulator import Emulator
from tests.unit.clusters.gke.conftest import emulator, server

WRITES = {"CreateCluster", "DeleteCluster", "SetLabels"}
KEY = (
    rsa.generate_private_key(65537, 2048)
    .private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    .decode()
)
USER = {"type": "authorized_user", "client_id": "a", "client_secret": "b", "refresh_token": "c"}
SERVICE = {"type": "service_account", "client_email": "a@p.iam.gserviceaccount.com", "private_key": KEY}
EXTERNAL = {
    "type": "external_account",
    "audience": "//iam.googleapis.com/pool",
    "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
    "token_url": "https://sts.example.org/v1/token",
    "credential_source": {"file": "/nonexistent/token"},
}
IMPERSONATED = {"type": "impersonated_service_account", "source_credentials": USER}
REVOKED = Fault("token", Status.UNAUTHENTICATED, "Token has been expired or revoked.", times=99)


@pytest.fixture(autouse=True)
def process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A home of its own; environment is put back."""
    before = dict(os.environ)
    for name in list(os.environ):
        if name.startswith(("MESHLAB_", "XDG_", "KUBECONFIG", "GOOGLE_")):
            del os.environ[name]
    os.environ["HOME"] = str(tmp_path / "home")
    monkeypatch.chdir(tmp_path)
    yield
    os.environ.clear()
    os.environ.update(before)


Run = Callable[..., tuple[int, str]]


@pytest.fixture
def run(
    emulator: Emulator,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> Run:
    """The command with these words: its exit code, and what it says."""

    def command(*words: str) -> tuple[int, str]:
        places = {"gke.api_endpoint": emulator.api, "gke.compute_endpoint": emulator.compute}
        sets = [word for key, value in places.items() for word in ("--set", f"{key}={value}")]
        runs = str(tmp_path / "runs")
        whole = ["--cluster", "gke", *sets, "--set", "gke.retry_seconds=2", "--runs-dir", runs, *words]
        monkeypatch.setattr(sys, "argv", ["flows.full_lab", *whole])
        with pytest.raises(SystemExit) as ended:
            runpy.run_module("flows.full_lab", run_name="__main__")
        said = capsys.readouterr()
        assert said.out == "" and not (tmp_path / "runs").exists()
        assert isinstance(ended.value.code, int)
        return ended.value.code, said.err

    return command


def problems(said: str) -> list[str]:
    return [line.strip().removeprefix("- ") for line in said.splitlines() if line.startswith("  - ")]


def without(content: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in content.items() if name not in names}


# Kind → what the file holds (bytes as they are, None: see `credentials_file`), and what must be said.
CREDENTIALS: dict[str, tuple[Any, str]] = {
    "missing file": (None, "was not found"),
    "folder": (None, "directory"),
    "unreadable file": (None, "can't be read: Input/output error"),
    "empty file": (b"", "is no JSON"),
    "not JSON": (b"{", "is no JSON"),
    "binary": (b"\xff\xfe\x00", "is no text"),
    "JSON, no object": ([1], "holds no JSON object"),
    "unknown type": ({"type": "nobody"}, "does not have a valid type"),
    "external_account without audience": (without(EXTERNAL, "audience"), "lacks audience"),
    "external_account, its token file missing": (EXTERNAL, "/nonexistent/token"),
    "service account key without private key": (without(SERVICE, "private_key"), "lacks private_key"),
    "service account key, broken private key": (
        {**SERVICE, "private_key": "-----BEGIN", "token_uri": "https://x"},
        "PEM",
    ),
    "impersonation without target": (IMPERSONATED, "lacks service_account_impersonation_url"),
    "impersonation without source": (
        {"type": "impersonated_service_account", "service_account_impersonation_url": "https://x/y:z"},
        "lacks source_credentials",
    ),
    "user without refresh token": (without(USER, "refresh_token"), "lacks refresh_token"),
    "user credentials, expired or revoked": (USER, "expired or revoked"),
    "key of a service account that is gone": (SERVICE, "expired or revoked"),
    "server of tokens that nobody reaches": (
        {**SERVICE, "token_uri": "http://127.0.0.1:1/token"},
        "does not answer",
    ),
}


@pytest.fixture
def credentials_file(
    emulator: Emulator, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Callable[..., None]:
    """Credentials are those of a file, not the emulator's; its server of tokens is the one that they name."""

    def use(kind: str, content: Any) -> None:
        uri = f"http://{emulator.compute}/token"
        monkeypatch.setattr(access, "token_uri", lambda settings: None)
        monkeypatch.setattr(user_credentials, "_GOOGLE_OAUTH2_TOKEN_ENDPOINT", uri)
        path = {"folder": tmp_path, "unreadable file": Path("/proc/self/mem")}.get(
            kind, tmp_path / "key.json"
        )
        if isinstance(content, dict) and content.get("type") == "service_account":
            content = {"token_uri": uri, **content}
        if content is not None:
            path.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
        monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(path))

    return use


@pytest.mark.parametrize("kind", CREDENTIALS)
def test_credentials_that_are_none(
    kind: str, run: Run, emulator: Emulator, credentials_file: Callable[..., None]
) -> None:
    content, must_say = CREDENTIALS[kind]
    credentials_file(kind, content)
    if must_say == "expired or revoked":
        emulator.books.faults.append(REVOKED)
    code, said = run("--project", "p")
    emulator.books.faults.clear()
    REVOKED.times = 99
    print(f"{kind:42} | {code} | {'; '.join(problems(said))}")
    assert code == 2 and len(problems(said)) == 1 and must_say in said
    assert "Traceback" not in said and "BEGIN PRIVATE" not in said and "remedy: " in said
    assert emulator.books.calls == [], "nobody is asked without credentials"


def test_the_control_credentials_that_are_good_are_not_refused(
    run: Run, emulator: Emulator, credentials_file: Callable[..., None]
) -> None:
    credentials_file("good", SERVICE)
    code, said = run("--project", "p", "--set", "gke.network=none")
    assert (code, [each.partition(":")[0] for each in problems(said)]) == (2, ["--set gke.network=none"])
    assert "GetCluster" in emulator.books.calls


LONG = "a" * 25
# Kind → the words, and where each problem is, all of them at once.
SETTINGS: dict[str, tuple[str, list[str]]] = {
    "zone that is not there": ("--project p --zone us-central1-z", ["--zone"]),
    "zone that is none": ("--project p --zone moon", ["--zone"]),
    "region that is not there": ("--project p --zone mars-north1", ["--zone"]),
    "version that is not offered": ("--project p --set gke.version=9.9", ["--set gke.version=9.9"]),
    "version that is none": ("--project p --set gke.version=abc", ["--set gke.version"]),
    "channel that is not there": ("--project p --set gke.version=stable", ["--set gke.version=stable"]),
    "machine type": (
        "--project p --set gke.machine_type=z9-none",
        ["--set gke.machine_type=z9-none", "--set gke.machine_type=z9-none"],
    ),
    "network": ("--project p --set gke.network=none", ["--set gke.network=none"]),
    "name that is none": ("--project p --set gke.name=UPPER", ["--set gke.name"]),
    "name too long": (f"--project p --set gke.name={LONG}", [f"--set gke.name={LONG}"]),
    "project that is none": ("--project P!", ["--project"]),
    "no project": ("", ["--project"]),
    "access": ("--project p --set gke.access=tunnel", ["--set gke.access"]),
    "all, well written": (
        f"--project p --zone us-central1-z --set gke.version=9.9 --set gke.machine_type=z9-none "
        f"--set gke.network=none --set gke.name={LONG} --set gke.hourly_price=0.1",
        [
            f"--set gke.name={LONG}",
            "--zone",
            "--set gke.machine_type=z9-none",
            "--set gke.network=none",
            "--set gke.version=9.9",
        ],
    ),
    "all, badly written": (
        "--project P! --zone moon --set gke.version=abc --set gke.machine_type=Z9! --set gke.name=UPPER "
        "--set gke.access=tunnel",
        [
            "--project",
            "--zone",
            "--set gke.name",
            "--set gke.machine_type",
            "--set gke.version",
            "--set gke.access",
        ],
    ),
    "badly and well written": (
        f"--project p --set gke.version=abc --zone us-central1-z --set gke.network=none --set gke.name={LONG}",
        ["--set gke.version", f"--set gke.name={LONG}", "--zone", "--set gke.network=none"],
    ),
    "a zone that is none, and a long name": (
        f"--project p --zone moon --set gke.name={LONG} --set gke.network=none",
        ["--zone", f"--set gke.name={LONG}", "--set gke.network=none"],
    ),
}


@pytest.mark.parametrize("kind", SETTINGS)
def test_settings_that_are_wrong(kind: str, run: Run, emulator: Emulator) -> None:
    words, places = SETTINGS[kind]
    code, said = run(*words.split())
    print(f"{kind:42} | {code} | {'; '.join(problems(said))}")
    assert (code, [each.partition(": ")[0] for each in problems(said)]) == (2, places)
    assert "Traceback" not in said
    assert not WRITES & set(emulator.books.calls) and emulator.books.left() == {}


def test_a_project_of_somebody_else_is_told(run: Run, emulator: Emulator) -> None:
    for method in ("GetCluster", "GetServerConfig"):
        emulator.books.faults.append(
            Fault(method, Status.PERMISSION_DENIED, "Unknown project id: other", times=99)
        )
    code, said = run("--project", "other")
    emulator.books.faults.clear()
    assert code == 2 and "it must be the id of a project that you may use" in said
    assert not WRITES & set(emulator.books.calls)
