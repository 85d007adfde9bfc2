"""The truth table on a living mesh: the run's own, one with a broken policy, and policies by chance."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from meshlab.checks.authz import truth_table
from meshlab.config.settings import LabConfig, Machine
from meshlab.istio.facts import read_facts
from meshlab.istio.istioctl import Istioctl
from meshlab.kube.changes import Changes
from meshlab.kube.client import Kube
from meshlab.run.journal import create
from meshlab.run.ledger import Ledger
from meshlab.run.results import Verdict
from meshlab.security.authorization.lab import policy_documents
from meshlab.security.authorization.prove import Stage, enforce, make_table, meant_by, set_stage, take_control
from tests.live.conftest import NAME, Ran
from tests.live.policies import random_policies

pytestmark = pytest.mark.live
NAMESPACE = "default"
SECURITY = "security.istio.io/v1"
COUNTED = (
    *((SECURITY, kind) for kind in ("AuthorizationPolicy", "RequestAuthentication", "PeerAuthentication")),
    ("networking.istio.io/v1alpha3", "EnvoyFilter"),
    *(("apps/v1", kind) for kind in ("Deployment",)),
    *(("v1", kind) for kind in ("Service", "ServiceAccount", "ConfigMap", "Secret")),
)
TOKEN = re.compile(rb"eyJ[\w-]{5,}\.eyJ[\w-]{5,}")  # header and claims of a JWT


@pytest.fixture
def kubeconfig(kept_lab: Ran, machine: Machine) -> Path:
    return machine.state / "clusters" / NAME / "kubeconfig"


@pytest.fixture
def kube(kubeconfig: Path) -> Kube:
    return Kube.connect(kubeconfig, NAME)


@pytest.fixture
def istioctl(kubeconfig: Path, machine: Machine) -> Istioctl:
    (program,) = sorted(machine.cache.glob("bin/cluster-*/istioctl"), key=lambda path: path.stat().st_mtime)[
        -1:
    ]
    return Istioctl(program, kubeconfig)


@contextmanager
def changing(kube: Kube, machine: Machine, folder: Path) -> Iterator[Changes]:
    run = create(folder, "full-lab")
    ledger = Ledger.open(machine, run)
    with Changes(kube, ledger, run) as changes:
        yield changes
    assert ledger.close(), "the ledger still names changes"


def inventory(kube: Kube) -> dict[str, Any]:
    """Every object that the stage may touch, as it is meant to be."""
    return {
        f"{kind} {each['metadata'].get('namespace')}/{each['metadata']['name']}": each.get("spec")
        for api, kind in COUNTED
        for each in kube.objects(api, kind)
    }


def lab_policies(stage: Stage) -> list[dict[str, Any]]:
    issuer = stage.issuer
    return policy_documents(stage.facts, issuer=issuer.name, jwks=issuer.jwks(), api_version=stage.api)


def test_the_run_asks_every_cell_and_shows_no_token(kept_lab: Ran) -> None:
    check = kept_lab.check("authz.truth-table")
    assert check["verdict"] == "pass", check
    numbers = check["evidence"]
    assert numbers["cells"] == numbers["agree"] >= 300
    assert numbers["rules no request touched"] == []
    assert numbers["expected"]["deny"] > 50 and numbers["expected"]["unauthenticated"] > 20
    assert kept_lab.directory is not None
    cells = json.loads((kept_lab.directory / numbers["file"]).read_text())["cells"]
    assert len(cells) == numbers["cells"]
    files = [path for path in kept_lab.directory.rglob("*") if path.is_file()]
    leaking = [path for path in files if TOKEN.search(path.read_bytes())]
    assert leaking == []
    report = (kept_lab.directory / "report.html").read_text()
    assert 'id="authorization"' in report and "403 RBAC" in report


def test_a_broken_policy_is_named_and_all_is_put_back(
    kube: Kube, istioctl: Istioctl, machine: Machine, tmp_path: Path
) -> None:
    """details-viewer names an account that nobody has."""
    before = inventory(kube)
    with changing(kube, machine, tmp_path) as changes:
        stage = set_stage(kube, LabConfig(), changes, read_facts(kube, LabConfig().namespace))
        control = take_control(kube, stage.scene, stage.mesh)
        meant = lab_policies(stage)
        broken = json.loads(json.dumps(meant))
        viewer = next(each for each in broken if each["metadata"]["name"] == "details-viewer")
        viewer["spec"]["rules"][0]["from"][0]["source"]["principals"] = ["cluster.local/ns/default/sa/nobody"]
        mesh = enforce(kube, istioctl, changes, stage, broken)
        table = make_table(kube, stage.scene, mesh, control, meant_by(meant, mesh, managed=True))
    found = truth_table(table)
    print(found.reason)
    assert found.verdict is Verdict.FAIL
    assert {(row.case.client, row.case.service, row.case.method) for row in table.differences} == {
        ("productpage", "details", "GET")
    }
    assert "productpage → details GET /details/0: meant 200 (default/details-viewer rule 0" in found.summary
    assert "observed 403 RBAC" in found.summary
    assert inventory(kube) == before


@pytest.mark.long
@pytest.mark.parametrize(("seed", "count"), [(1, 3), (2, 8), *((seed, 20) for seed in range(3, 11))])
def test_policies_by_chance(
    kube: Kube, istioctl: Istioctl, machine: Machine, tmp_path: Path, seed: int, count: int
) -> None:
    """Up to 20 policies: every cell as the evaluator says."""
    with changing(kube, machine, tmp_path) as changes:
        stage = set_stage(kube, LabConfig(), changes, read_facts(kube, LabConfig().namespace))
        control = take_control(kube, stage.scene, stage.mesh)
        tokens = [each for each in lab_policies(stage) if each["kind"] == "RequestAuthentication"]
        chosen = random_policies(seed, count, NAMESPACE, stage.issuer.name)
        mesh = enforce(kube, istioctl, changes, stage, [*chosen, *tokens])
        table = make_table(kube, stage.scene, mesh, control)
    print(f"seed {seed}, {count} policies: {len(table.rows)} cells, {table.outcomes}")
    assert [row.difference for row in table.differences] == []
    assert [row.difference for row in table.unknown] == []
    assert len(table.rows) >= 300
