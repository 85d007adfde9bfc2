"""What istioctl does not tell spoils only the rules that need it."""

from __future__ import annotations

from typing import NoReturn

from meshlab.checks.audit import audit
from meshlab.core.errors import IstioError, SecretsWithheldError
from meshlab.istio.istioctl import MeshVersions
from meshlab.run.results import Verdict
from meshlab.security.audit.inventory import ANALYSIS, VERSIONS, Inventory
from meshlab.security.audit.rules import RULES
from tasks.audit import with_istioctl

RULE = {rule.id: rule for rule in RULES}
TOLD = MeshVersions("1.31.1", "r", (("default", "1.31.1"),), (("sleep", "1.31.1"), ("web", "1.30.0")))


def refused() -> NoReturn:
    raise IstioError("istioctl was refused")


def test_each_version_that_runs_once() -> None:
    found = with_istioctl(Inventory(), tuple, lambda: TOLD)
    assert found.versions == ("1.31.1", "1.30.0") and not found.unreadable


def test_proxies_of_namespaces_that_are_not_audited_run_what_their_owners_choose() -> None:
    told = MeshVersions(
        "1.31.1", "r", (("default", "1.31.1"),), (("a.b.shop", "1.30.0"), ("old.them", "1.20.0"))
    )
    assert with_istioctl(Inventory(), tuple, lambda: told, ("shop",)).versions == ("1.31.1", "1.30.0")
    assert "1.20.0" in with_istioctl(Inventory(), tuple, lambda: told).versions, (
        "the control: all are audited"
    )


def test_what_is_not_told_can_not_be_judged() -> None:
    found = with_istioctl(Inventory(), refused, refused)
    assert found.unreadable == {ANALYSIS: "istioctl was refused", VERSIONS: "istioctl was refused"}
    for rule in ("analyze", "istio-version"):
        result = audit(RULE[rule], found, RULE[rule].examine(found), ())
        assert result.verdict is Verdict.INFRA_ERROR and "istioctl was refused" in (result.reason or "")


def test_what_reads_secrets_is_skipped_and_says_so_where_the_account_may_not() -> None:
    def withheld() -> tuple[()]:
        raise SecretsWithheldError("it reads Secrets")

    found = with_istioctl(Inventory(), withheld, lambda: TOLD)
    result = audit(RULE["analyze"], found, RULE["analyze"].examine(found), ())
    assert (
        result.verdict is Verdict.SKIPPED and result.asked_for and "it reads Secrets" in (result.reason or "")
    )
    assert result.remedy and not found.unreadable


def test_a_mesh_that_names_no_version_is_no_pass() -> None:
    found = with_istioctl(Inventory(), tuple, lambda: MeshVersions("1.31.1", "r", (), ()))
    assert "no control plane" in found.unreadable[VERSIONS]
