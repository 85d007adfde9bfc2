"""audit.istio-version: support and advisories, and the age of what is known."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from meshlab.istio import registries
from meshlab.security.audit.inventory import Inventory
from meshlab.security.audit.model import Severity
from meshlab.security.audit.releases import istio_version, known, parsed

DATA = known()
DAY = datetime(2026, 9, 22, tzinfo=UTC)


def found(*versions: str, now: datetime = DAY) -> list[tuple[Severity, str]]:
    return [(f.severity, f.why) for f in istio_version(Inventory(versions=versions, now=now), DATA).findings]


def test_the_newest_release_has_no_finding():
    assert found("1.31.1") == []


@pytest.mark.parametrize(
    ("version", "severity", "words"),
    [
        ("1.31.0-dev", Severity.WARNING, "development build"),
        ("1.21.0", Severity.WARNING, "was expected to end"),
        ("1.27.9", Severity.ERROR, "support of 1.27 ended on 2026-04-07"),
        ("1.9.2", Severity.ERROR, "not supported any more"),
        ("1.40.0", Severity.INFO, "newer than what is known"),
        ("unknown", Severity.WARNING, "no release"),
        ("1.30.3", Severity.ERROR, "ISTIO-SECURITY-2026-006"),
    ],
)
def test_one_finding(version: str, severity: Severity, words: str):
    ((how, why),) = found(version)
    assert how is severity and words in why


def test_an_advisory_ends_with_the_version_that_mends_it():
    assert found("1.30.4") == [] and found("1.31.0")[0][0] is Severity.WARNING
    assert [why.split()[0] for _, why in found("1.30.0")] == [
        "ISTIO-SECURITY-2026-006",
        "ISTIO-SECURITY-2026-004",
    ]


def test_old_data_is_warned_about():
    late = datetime(2026, 9, 30, tzinfo=UTC) + timedelta(days=46)
    examined = istio_version(Inventory(versions=("1.31.1",), now=late), DATA)
    assert examined.notes[0].startswith("WARNING: the data on releases and advisories is 46 days old")
    assert not any(note.startswith("WARNING") for note in istio_version(Inventory(now=DAY), DATA).notes)


def test_images_from_a_registry_that_is_switched_off_are_told():
    prefix = registries.table().retired[0].prefix

    def pod(name: str, image: str) -> dict[str, object]:
        return {"metadata": {"name": name, "namespace": "app"}, "spec": {"containers": [{"image": image}]}}

    pods = (
        pod("b", f"{prefix}/proxyv2:1.30.5"),
        pod("a", f"{prefix}/proxyv2:1.30.5"),
        pod("c", f"{registries.table().hub}/proxyv2:1.30.5"),
    )
    examined = istio_version(Inventory(objects={"Pod": pods}, versions=("1.30.5",), now=DAY), DATA)
    [finding] = examined.findings
    assert finding.severity is Severity.WARNING and finding.resource == f"image {prefix}/proxyv2:1.30.5"
    assert "2 pods" in finding.why and "app/a" in finding.why and registries.table().hub in finding.fix


def test_the_data_names_its_date_and_sources():
    assert DATA.sources and DATA.as_of.year >= 2026
    assert all(first <= last for each in DATA.advisories for first, last in each.affected)
    assert (
        istio_version(Inventory(versions=("1.31.1",), now=DAY), replace(DATA, advisories=())).findings == ()
    )


def test_versions_as_istio_prints_them():
    assert str(parsed("1.29.2-distroless")) == "1.29.2"
    assert parsed("1.31-alpha.5e4f") is not None and parsed("latest") is None


@pytest.mark.parametrize(
    "text", ["1.24.6-asm.5", "1.24.6-asm.5-distroless", "1.24.6-gke.3", "1.24.6-tetrate-v2"]
)
def test_a_vendors_build_is_told_and_judged_by_its_vendor(text: str) -> None:
    findings = istio_version(Inventory(versions=(text,), now=DAY)).findings
    assert "a vendor's build" in findings[0].why and "of 1.24.6" in findings[0].why
    assert len(findings) > 1 and {each.severity for each in findings} == {Severity.INFO}


@pytest.mark.parametrize(
    "text", ["1.31.0-dev", "1.31.0-rc.1", "1.31.0-alpha.0", "1.31-alpha.0a1b2c3d", "1.31.0-0a1b2c3d4e"]
)
def test_a_development_build_is_no_vendors(text: str) -> None:
    findings = istio_version(Inventory(versions=(text,), now=DAY)).findings
    assert Severity.WARNING in {f.severity for f in findings if "development build" in f.why}
