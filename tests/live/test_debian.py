"""A newer Debian with a newer Python: its unit tests and a whole lab, from nothing but what the README asks for."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from meshlab.checks.base import owed
from meshlab.config.settings import LabConfig, Machine
from tests.live import host
from tests.live.bare_root import BareRoot, release_of
from tests.live.conftest import ROOT

pytestmark = [pytest.mark.live, pytest.mark.long]
RELEASE, PYTHON = "trixie", (3, 13)
NAME, NETWORK = "mldebian", "10.206"
LAB = f"--set local.name={NAME} --set local.network={NETWORK}"


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory, machine: Machine) -> Iterator[BareRoot]:
    """The root, without a lab in it when the tests end, however they end."""
    path = tmp_path_factory.mktemp("debian") / RELEASE
    root = BareRoot.make(path, RELEASE, ROOT, machine)
    try:
        yield root
    finally:
        if (path / "srv/mesh-lab/.venv/.installed").exists():
            left = root.run("make", "down", f"ARGS=--name {NAME} --network {NETWORK}", minutes=5)
            assert left.returncode == 0, left.stdout[-3000:]
        shutil.rmtree(path)


def test_the_root_is_bare(bare: BareRoot) -> None:
    assert release_of(bare.path)["VERSION_CODENAME"] == RELEASE
    version = bare.run("python3", "-c", "import sys; print(*sys.version_info[:2])")
    assert tuple(map(int, version.stdout.split())) == PYTHON
    present = bare.run("sh", "-c", "command -v go containerd runc iptables mmdebstrap curl pip3")
    assert present.stdout == ""


def test_the_unit_tests_pass_on_its_python(bare: BareRoot) -> None:
    done = bare.run("make", "test-unit", minutes=30)
    assert done.returncode == 0, done.stdout[-6000:]
    ran = bare.run(".venv/bin/python", "-c", "import sys; print(*sys.version_info[:2])")
    assert tuple(map(int, ran.stdout.split())) == PYTHON


def test_make_lab_runs_the_whole_lab(bare: BareRoot) -> None:
    before = host.snapshot()
    done = bare.run("make", "lab", f"ARGS={LAB}")
    assert done.returncode == 0, done.stdout[-6000:]
    [file] = Path(bare.path, "srv/mesh-lab/runs").glob("*/result.json")
    result = json.loads(file.read_text())
    verdicts = {check["id"]: check["verdict"] for check in result["checks"]}
    without_images = {"kiali.graph"}
    assert verdicts == {each: "skipped" if each in without_images else "pass" for each in owed(LabConfig())}
    assert host.difference(before, host.snapshot()) == {}


def test_no_hard_link_could_lead_from_its_cache_to_its_state(bare: BareRoot) -> None:
    """The control: the cluster above came up although the two folders are on two mounts."""
    folders = "touch /root/.cache/meshlab/x && ln /root/.cache/meshlab/x /root/.local/state/x"
    assert "cross-device" in bare.run("sh", "-c", folders).stdout
