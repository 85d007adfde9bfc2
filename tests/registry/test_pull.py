"""Debian's skopeo and docker-registry on loopback: stand-ins under the official names, whole, spoiled and locked away."""

from __future__ import annotations

import base64
import json
import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from meshlab.clusters.local import archives
from meshlab.clusters.local.oci import Entry, ImageSpec, Layer, RunConfig
from meshlab.clusters.local.pull import Pulled, Puller
from meshlab.config.settings import Machine
from meshlab.core.process import SystemRunner
from meshlab.core.waiting import wait
from tests.examples.archives import oci_layout

NAMES = ("registry.test/grafana/grafana:12.0.1", "registry.test/kiali/kiali:v2.27")
USER, PASSWORD = "reader", "right-pass-4711"
HASHED = "$2b$04$Uti/oo8RhwWsa5dPqL86A.PRm.25DAyrDWD7hc7FAo6kF2UTulhsi"  # of the password, by bcrypt
INSTALL = "sh deployments/setup-debian.sh tests/debian-packages.txt"


class Registry:
    """A registry on a free port of loopback, with its data in a folder."""

    def __init__(self, folder: Path, *, locked: bool = False) -> None:
        self.folder = folder
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.place = f"127.0.0.1:{free.getsockname()[1]}"
        settings: dict[str, Any] = {
            "version": 0.1,
            "log": {"level": "error"},
            "storage": {"filesystem": {"rootdirectory": str(folder / "data")}},
            "http": {"addr": self.place},
        }
        if locked:
            (folder / "htpasswd").write_text(f"{USER}:{HASHED}\n")
            settings["auth"] = {"htpasswd": {"realm": "test", "path": str(folder / "htpasswd")}}
        (folder / "config.yml").write_text(yaml.safe_dump(settings))

    def __enter__(self) -> Registry:
        program = shutil.which("docker-registry")
        assert program and shutil.which("skopeo"), f"skopeo and docker-registry are not installed: {INSTALL}"
        # A variable REGISTRY_AUTH_FILE means skopeo's credentials to skopeo, and a setting to this registry.
        others = {key: value for key, value in os.environ.items() if not key.startswith("REGISTRY_")}
        with (self.folder / "log").open("wb") as log:
            self._process = subprocess.Popen(
                [program, "serve", str(self.folder / "config.yml")], stdout=log, stderr=log, env=others
            )
        wait("the registry", self._answers, ready=bool, timeout=60, delay=0.05)
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait(10)

    def _answers(self) -> bool:
        assert self._process.poll() is None, (self.folder / "log").read_text()
        host, _, port = self.place.partition(":")
        with socket.socket() as probe:
            return probe.connect_ex((host, int(port))) == 0

    def push(self, name: str, content: bytes = b"a page") -> None:
        """Put a stand-in under an official name."""
        layers = (Layer.of([Entry("srv/index.html", data=content)]),)
        spec = ImageSpec("localhost/meshlab/stand-in", "1", layers, RunConfig(entrypoint=("/bin/true",)))
        path = oci_layout(spec, self.folder / "push.tar", {archives.REF_ANNOTATION: "push"})
        target = f"docker://{self.place}/{name.partition('/')[2]}"
        words = ["skopeo", "copy", "--dest-tls-verify=false", "--dest-creds", f"{USER}:{PASSWORD}"]
        subprocess.run([*words, f"oci-archive:{path}", target], check=True, capture_output=True, timeout=60)


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    monkeypatch.setenv("REGISTRY_AUTH_FILE", str(tmp_path / "auth.json"))
    here = Machine.here()
    return here.model_copy(update={"cache": tmp_path / "cache", "state": tmp_path / "state"})


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[Registry]:
    folder = tmp_path / "registry"
    folder.mkdir()
    with Registry(folder) as opened:
        for name in NAMES:
            opened.push(name, name.encode())
        yield opened


def pull(machine: Machine, place: str, *names: str) -> Pulled:
    # More than the three seconds of a run: a busy machine starts programs slowly, which is not what is tested.
    puller = Puller(machine, SystemRunner(), {"*": f"http://{place}"}, within=60)
    return puller.pull(names or NAMES, progress=lambda update: None)


def kept(machine: Machine) -> list[str]:
    folder = machine.cache / "images"
    return [each.name for each in folder.iterdir() if each.suffix != ".lock"] if folder.exists() else []


def test_official_names_are_pulled_and_kept(machine: Machine, registry: Registry) -> None:
    found = pull(machine, registry.place)
    assert found.refused == () and [each.images for each in found.archives] == [(name,) for name in NAMES]
    assert len(kept(machine)) == 2 and found.fresh > 0
    for each in found.archives:
        assert archives.read(each.path).images == each.images
    assert pull(machine, registry.place).fresh == 0


def test_a_registry_that_has_it_not_and_one_that_is_not_there(machine: Machine, registry: Registry) -> None:
    found = pull(machine, registry.place, NAMES[0], "registry.test/none/none:1")
    assert [each.images for each in found.archives] == [(NAMES[0],)]
    assert "the registry does not have it" in found.refused[0].why
    [refusal] = pull(machine, "127.0.0.1:1", NAMES[1]).refused
    assert "can't be reached" in refusal.why and len(kept(machine)) == 1


def test_a_blob_with_another_digest_is_refused(machine: Machine, registry: Registry) -> None:
    blobs = [
        path for path in (registry.folder / "data").rglob("data") if path.read_bytes()[:2] == b"\x1f\x8b"
    ]
    assert blobs
    for blob in blobs:
        content = blob.read_bytes()
        blob.write_bytes(content[:-8] + bytes(8))
    found = pull(machine, registry.place)
    assert found.archives == () and len(found.refused) == 2 and kept(machine) == []


def test_a_digest_that_the_registry_does_not_have(machine: Machine, registry: Registry) -> None:
    name = f"{NAMES[0]}@sha256:{'00' * 32}"
    [refusal] = pull(machine, registry.place, name).refused
    assert "the registry does not have it" in refusal.why and kept(machine) == []


def test_credentials_are_the_users_own_and_never_shown(
    machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "locked"
    folder.mkdir()
    with Registry(folder, locked=True) as registry:
        registry.push(NAMES[0])
        for wrong in (None, "wrong-pass-0815"):
            if wrong:
                _log_in(registry.place, wrong)
            [refusal] = pull(machine, registry.place, NAMES[0]).refused
            assert "other credentials" in refusal.why and "skopeo login" in refusal.remedy
            assert wrong is None or wrong not in str(refusal)
        _log_in(registry.place, PASSWORD)
        found = pull(machine, registry.place, NAMES[0])
        assert [each.images for each in found.archives] == [
            (NAMES[0],)
        ] and PASSWORD not in found.in_one_line()


def _log_in(place: str, password: str) -> None:
    """What `skopeo login` writes; the login itself would refuse a wrong password."""
    auth = base64.b64encode(f"{USER}:{password}".encode()).decode()
    Path(os.environ["REGISTRY_AUTH_FILE"]).write_text(json.dumps({"auths": {place: {"auth": auth}}}))
