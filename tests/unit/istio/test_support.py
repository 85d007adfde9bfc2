from datetime import date, timedelta

import pytest

from meshlab.istio.support import (
    STALE_DAYS,
    dated,
    fitting,
    minor,
    newest_for,
    newest_pair,
    problems,
    table,
)


def test_the_table_is_dated_ordered_and_whole() -> None:
    releases = [minor(each.istio) for each in table().releases]
    assert table().date == "2026-09-30" and table().source
    assert releases == sorted(releases, reverse=True) and len(set(releases)) == len(releases)  # type: ignore[type-var]
    assert all(
        each.istio.count(".") == 2 and each.kubernetes[0] < each.kubernetes[1] for each in table().releases
    )


@pytest.mark.parametrize(
    ("kubernetes", "istio"),
    [
        ("v1.37.0-gke.1", "1.31.1"),
        ("v1.34.1-gke.2037000", "1.31.1"),
        ("1.31.13-gke.1008000", "1.29.8"),
        ("1.29.0", "1.27.9"),
        ("1.20.1", None),
        ("x", None),
    ],
)
def test_the_newest_that_fits(kubernetes: str, istio: str | None) -> None:
    assert newest_for(kubernetes) == istio


def test_the_documents_version_fits_old_servers_only() -> None:
    assert problems("1.21.0", "1.28.3") == []
    [problem] = problems("1.21.0", "1.34.1-gke.2037000")
    assert problem.where == "--istio-version 1.21.0"
    assert all(version in problem.what for version in ("1.26", "1.29", "1.34.1-gke.2037000"))
    assert "1.31.1, 1.30.5, 1.29.8, 1.28.10" in problem.remedy
    assert fitting("1.34.1") == ["1.31.1", "1.30.5", "1.29.8", "1.28.10"]


def test_what_is_no_version_too_old_or_too_new() -> None:
    for asked in ("latest", "1.29", "1.9.0"):
        [problem] = problems(asked, "1.34")
        assert problem.where == f"--istio-version {asked}" and "1.31.1" in problem.remedy
    assert "older" in problem.what
    assert problems("1.77.0", "1.34") == [], "newer than the table: nothing is known against it"
    [none] = problems(None, "1.99")
    assert "1.99" in none.what and "2026-09-30" in none.what and "gke.version" in none.remedy


OFFERED = ("1.99.1-gke.1", "1.37.4-gke.7", "1.35.2-gke.1", "1.29.3-gke.2")


def test_where_no_istio_fits_the_newest_pair_that_fits_is_proposed() -> None:
    [problem] = problems(None, "1.99.1-gke.1", OFFERED)
    assert "--set gke.version=1.37.4-gke.7 --istio-version 1.31.1" in problem.remedy
    assert newest_pair(("1.99.1",)) is None
    assert newest_pair(OFFERED) == ("1.37.4-gke.7", "1.31.1")


def test_who_asks_for_an_istio_is_told_the_newest_kubernetes_that_it_supports() -> None:
    [problem] = problems("1.21.0", "1.99.1-gke.1", OFFERED)
    assert "--set gke.version=1.29.3-gke.2" in problem.remedy
    assert newest_pair(OFFERED, "1.30.2") == ("1.35.2-gke.1", "1.30.2")
    assert newest_pair(OFFERED[:1], "1.30.2") is None


def test_an_old_table_says_so() -> None:
    day = date.fromisoformat(table().date)
    assert "days old" not in dated(day + timedelta(days=STALE_DAYS))
    [problem] = problems(None, "1.99", today=day + timedelta(days=STALE_DAYS + 1))
    assert "46 days old" in problem.what
