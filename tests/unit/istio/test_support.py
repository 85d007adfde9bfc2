import pytest

from meshlab.istio.support import fitting, minor, newest_for, problems, table


def test_the_table_is_dated_ordered_and_whole() -> None:
    releases = [minor(each.istio) for each in table().releases]
    assert table().date == "2026-11-23" and table().source
    assert releases == sorted(releases, reverse=True) and len(set(releases)) == len(releases)  # type: ignore[type-var]
    assert all(
        each.istio.count(".") == 2 and each.kubernetes[0] < each.kubernetes[1] for each in table().releases
    )


@pytest.mark.parametrize(
    ("kubernetes", "istio"),
    [
        ("v1.34.1-gke.2037000", "1.30.4"),
        ("1.31.13-gke.1008000", "1.29.9"),
        ("1.29.0", "1.27.7"),
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
    assert "1.30.4, 1.29.9, 1.28.4" in problem.remedy
    assert fitting("1.34.1") == ["1.30.4", "1.29.9", "1.28.4"]


def test_what_is_no_version_too_old_or_too_new() -> None:
    for asked in ("latest", "1.29", "1.9.0"):
        [problem] = problems(asked, "1.34")
        assert problem.where == f"--istio-version {asked}" and "1.30.4" in problem.remedy
    assert "older" in problem.what
    assert problems("1.77.0", "1.34") == [], "newer than the table: nothing is known against it"
    [none] = problems(None, "1.99")
    assert "1.99" in none.what and "2026-11-23" in none.what and "gke.version" in none.remedy


def test_where_no_istio_fits_the_newest_kubernetes_that_one_fits_is_proposed() -> None:
    [problem] = problems(None, "1.99.1-gke.1", ("1.99.1-gke.1", "1.36.4-gke.7", "1.35.2-gke.1"))
    assert "--set gke.version=1.36.4-gke.7" in problem.remedy
