import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import yaml

from meshlab.clusters.base import ClusterRef, Leftovers
from meshlab.clusters.existing import ExistingCluster, kubeconfig_of, problems
from meshlab.config.settings import ExistingSettings, Machine
from meshlab.core.errors import KubeError
from meshlab.core.progress import Update, silent
from meshlab.core.redaction import HIDDEN, redact


def kubeconfig(path: Path, server: str = "http://127.0.0.1:1", **changes) -> Path:
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "one", "cluster": {"server": server}}],
        "users": [{"name": "me", "user": {}}],
        "contexts": [
            {"name": "blue", "context": {"cluster": "one", "user": "me"}},
            {"name": "green", "context": {"cluster": "gone", "user": "me"}},
        ],
        "current-context": "blue",
    }
    path.write_text(yaml.safe_dump({**content, **changes}))
    return path


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine.here({"HOME": str(tmp_path)})


def named(settings: ExistingSettings, machine: Machine) -> tuple[str, str, str]:
    [problem] = problems(settings, machine)
    return problem.where, problem.what, problem.remedy


def test_a_context_that_is_there_is_fine(tmp_path: Path, machine: Machine) -> None:
    path = kubeconfig(tmp_path / "config")
    assert problems(ExistingSettings(kubeconfig=path), machine) == []
    assert problems(ExistingSettings(kubeconfig=path, context="blue"), machine) == []


def test_what_a_kubeconfig_holds_of_secrets_is_hidden_from_then_on(tmp_path: Path, machine: Machine) -> None:
    kept = {
        "refresh-token": "planted-refresh",
        "access-token": "planted-access",
        "client-id": "nothing-secret",
    }
    user = {"password": "planted-password", "auth-provider": {"name": "oidc", "config": kept}}
    path = kubeconfig(tmp_path / "config", users=[{"name": "me", "user": user}])
    assert problems(ExistingSettings(kubeconfig=path), machine) == []
    said = redact("planted-refresh planted-access planted-password nothing-secret")
    assert said == f"{HIDDEN} {HIDDEN} {HIDDEN} nothing-secret"


def test_an_unknown_context_lists_the_known_ones(tmp_path: Path, machine: Machine) -> None:
    path = kubeconfig(tmp_path / "config")
    assert named(ExistingSettings(kubeconfig=path, context="red"), machine) == (
        "--context",
        f"{path} has no context 'red'",
        "one of: blue, green",
    )


def test_without_a_current_context_the_known_ones_are_listed(tmp_path: Path, machine: Machine) -> None:
    path = kubeconfig(tmp_path / "config", **{"current-context": ""})
    where, what, remedy = named(ExistingSettings(kubeconfig=path), machine)
    assert (where, what, remedy) == (
        "--context",
        f"{path} has no current context",
        "name one of: blue, green",
    )
    path = kubeconfig(tmp_path / "config", contexts=[])
    assert named(ExistingSettings(kubeconfig=path), machine)[2] == "one of: none there"


def test_a_context_without_its_cluster_is_named(tmp_path: Path, machine: Machine) -> None:
    path = kubeconfig(tmp_path / "config")
    what = named(ExistingSettings(kubeconfig=path, context="green"), machine)[1]
    assert what == f"context 'green' of {path} names cluster 'gone', which is not in the file"


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"contexts: [1", "is no valid YAML"),
        (b"\xff\xfe", "is no valid YAML"),
        (b"just words", "is no kubeconfig: it has no list of contexts"),
        (b"contexts: blue\n", "is no kubeconfig: it has no list of contexts"),
        (b"", "is no kubeconfig: it has no list of contexts"),
    ],
)
def test_a_malformed_kubeconfig_is_named(tmp_path: Path, machine: Machine, content: bytes, what: str) -> None:
    path = tmp_path / "config"
    path.write_bytes(content)
    assert named(ExistingSettings(kubeconfig=path), machine)[:2] == ("--kubeconfig", f"{path} {what}")


def test_an_unreadable_kubeconfig_is_named(tmp_path: Path, machine: Machine) -> None:
    where, what, remedy = named(ExistingSettings(), machine)
    assert (where, what) == (
        "kubeconfig",
        f"{tmp_path}/.kube/config can't be read: No such file or directory",
    )
    assert "--kubeconfig" in remedy
    assert "Is a directory" in named(ExistingSettings(kubeconfig=tmp_path), machine)[1]


def test_the_kubeconfig_is_found_as_kubectl_finds_it(tmp_path: Path) -> None:
    machine = Machine.here({"HOME": str(tmp_path), "KUBECONFIG": ":/etc/first:/etc/second"})
    assert kubeconfig_of(ExistingSettings(), machine) == Path("/etc/first")
    assert kubeconfig_of(ExistingSettings(kubeconfig=Path("/mine")), machine) == Path("/mine")


@pytest.fixture
def server() -> Iterator[str]:
    """An API server that knows its version and nothing else."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            known = self.path == "/version/"
            names = ("gitCommit", "gitTreeState", "buildDate", "goVersion", "compiler", "platform")
            version = {**dict.fromkeys(names, "x"), "major": "1", "minor": "36", "gitVersion": "v1.36.9"}
            body = json.dumps(version)
            self.send_response(200 if known else 404)
            self.send_header("Content-Type", "application/json")
            self.end_headers()
            self.wfile.write(body.encode() if known else b"{}")

        def log_message(self, *args: object) -> None:
            pass

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://127.0.0.1:{http.server_port}"
    http.shutdown()
    http.server_close()
    thread.join()


def test_a_cluster_that_answers_is_adopted_and_its_version_told(
    tmp_path: Path, machine: Machine, server: str
) -> None:
    path = kubeconfig(tmp_path / "config", server)
    told: list[Update] = []
    cluster = ExistingCluster(ExistingSettings(kubeconfig=path), machine)
    assert cluster.up(progress=told.append) == ClusterRef("existing", "blue", path, "blue", adopted=True)
    assert told == [Update("context blue", 1, 1, "Kubernetes v1.36.9")]


def test_a_cluster_that_does_not_answer_is_an_error_with_a_remedy(tmp_path: Path, machine: Machine) -> None:
    cluster = ExistingCluster(ExistingSettings(kubeconfig=kubeconfig(tmp_path / "config")), machine)
    with pytest.raises(KubeError, match=r"can't ask http://127.0.0.1:1 for its version") as caught:
        cluster.up(progress=silent)
    assert caught.value.remedy


def test_nothing_of_it_is_removed_or_listed(tmp_path: Path, machine: Machine) -> None:
    told: list[Update] = []
    cluster = ExistingCluster(ExistingSettings(), machine)
    assert cluster.inventory() == Leftovers()
    assert cluster.collect_logs(tmp_path) == ()
    cluster.down(progress=told.append)
    assert told[0].detail == "left running, it is not ours"


def several(tmp_path: Path, *names: str) -> Machine:
    paths = ":".join(str(tmp_path / name) for name in names)
    return Machine.here({"HOME": str(tmp_path / "home"), "KUBECONFIG": paths, "PATH": str(tmp_path / "bin")})


def test_several_kubeconfigs_are_read_as_kubectl_reads_them(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    two = [{"name": "two", "context": {"cluster": "other", "user": "you"}}]
    user = {"client-certificate": "you.crt", "client-key": "/keys/you.key", "exec": {"command": "./plugin"}}
    kubeconfig(tmp_path / "a" / "one.yaml", "https://one.test")
    kubeconfig(
        tmp_path / "b" / "two.yaml",
        contexts=two,
        clusters=[
            {"name": "other", "cluster": {"server": "https://two.test", "certificate-authority": "ca.crt"}},
            {"name": "one", "cluster": {"server": "https://hidden.test"}},
        ],
        users=[{"name": "you", "user": user}],
        **{"current-context": "two"},
    )
    (tmp_path / "b" / "plugin").write_text("#!/bin/sh\n")
    (tmp_path / "b" / "plugin").chmod(0o755)
    machine = several(tmp_path, "missing.yaml", "a/one.yaml", "b/two.yaml")
    assert problems(ExistingSettings(context="two"), machine) == []
    path = kubeconfig_of(ExistingSettings(), machine)
    content = yaml.safe_load(path.read_text())
    assert content["current-context"] == "blue", "the first file that names one counts"
    clusters = {each["name"]: each["cluster"] for each in content["clusters"]}
    assert clusters["one"] == {"server": "https://one.test"}, "the first entry of a name counts"
    assert clusters["other"]["certificate-authority"] == str(tmp_path / "b" / "ca.crt")
    [made] = [each["user"] for each in content["users"] if each["name"] == "you"]
    assert (made["client-certificate"], made["client-key"]) == (
        str(tmp_path / "b" / "you.crt"),
        "/keys/you.key",
    )
    assert made["exec"]["command"] == str(tmp_path / "b" / "plugin")
    assert path.stat().st_mode & 0o777 == 0o600 and path.parent.stat().st_mode & 0o777 == 0o700


def test_a_file_may_hold_a_part_only_and_one_merged_file_is_kept(tmp_path: Path) -> None:
    parts = {
        "clusters.yaml": {"clusters": [{"name": "one", "cluster": {"server": "https://one.test"}}]},
        "empty.yaml": None,
        "rest.yaml": {
            "users": [{"name": "me", "user": {"token": "planted-token"}}],
            "contexts": [{"name": "blue", "context": {"cluster": "one", "user": "me"}}],
            "current-context": "blue",
        },
    }
    for name, content in parts.items():
        (tmp_path / name).write_text(yaml.safe_dump(content) if content else "")
    machine = several(tmp_path, *parts)
    assert problems(ExistingSettings(), machine) == []
    path = kubeconfig_of(ExistingSettings(), machine)
    assert redact("planted-token") == HIDDEN
    (tmp_path / "rest.yaml").write_text((tmp_path / "rest.yaml").read_text().replace("planted", "newer"))
    assert kubeconfig_of(ExistingSettings(), machine) == path, "no copy of an old token is left"
    assert "newer-token" in path.read_text() and list(path.parent.iterdir()) == [path]


def test_one_file_that_is_there_is_used_as_it_is_and_a_broken_one_is_told(tmp_path: Path) -> None:
    one = kubeconfig(tmp_path / "one.yaml")
    assert kubeconfig_of(ExistingSettings(), several(tmp_path, "missing.yaml", "one.yaml")) == one
    (tmp_path / "broken.yaml").write_text("a: [")
    [problem] = problems(ExistingSettings(), several(tmp_path, "one.yaml", "broken.yaml"))
    assert "broken.yaml" in problem.what
    [problem] = problems(ExistingSettings(), several(tmp_path, "missing.yaml"))
    assert "missing.yaml" in problem.what


def test_a_program_for_credentials_that_is_not_there_is_told_with_its_hint(tmp_path: Path) -> None:
    hint = "Install gke-gcloud-auth-plugin, see\nits page"
    user = {"exec": {"command": "gke-gcloud-auth-plugin", "installHint": hint}}
    kubeconfig(tmp_path / "config", users=[{"name": "me", "user": user}])
    machine = several(tmp_path, "config")
    [problem] = problems(ExistingSettings(), machine)
    assert "gke-gcloud-auth-plugin" in problem.what
    assert problem.remedy == "Install gke-gcloud-auth-plugin, see its page"
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "gke-gcloud-auth-plugin").write_text("#!/bin/sh\n")
    (tmp_path / "bin" / "gke-gcloud-auth-plugin").chmod(0o755)
    assert problems(ExistingSettings(), machine) == []
