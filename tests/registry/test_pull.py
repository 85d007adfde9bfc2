"""Debian's skopeo and docker-registry on loopback: stand-ins under the official names, whole, spoiled and locked away."""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from meshlab.clusters.local import archives
from meshlab.clusters.local.pull import Pulled, Puller
from meshlab.config.settings import Machine
from meshlab.core.process import SystemRunner
from tests.registry.registry import PASSWORD, USER, Registry

NAMES = ("registry.test/grafana/grafana:12.0.1", "registry.test/kiali/kiali:v2.27")


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


def test_a_name_without_a_registry_gets_the_one_that_the_kubelet_completes(
    machine: Machine, registry: Registry
) -> None:
    for short, place in (("python:3", "library/python:3"), ("curlimages/curl:8", "curlimages/curl:8")):
        registry.push(f"registry.test/{place}")
        [archive] = pull(machine, registry.place, short).archives
        [whole] = archive.images
        assert whole.endswith(f".io/{place}") and archives.read(archive.path).images == (whole,)


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
