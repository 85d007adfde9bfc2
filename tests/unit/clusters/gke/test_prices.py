import pytest

from meshlab.clusters.gke.prices import estimate, price_problems, prices
from meshlab.config.settings import GkeSettings


def test_the_table_is_dated_and_has_a_source() -> None:
    assert prices().date == "2026-11-23" and "list" in prices().source
    assert all(0 < price < 1 for price in prices().machines.values())


def test_the_estimate_counts_nodes_disks_and_the_fee() -> None:
    found = estimate(GkeSettings(hours_to_live=2))
    assert found is not None
    by_hand = 3 * (0.03351 + 100 * 0.10 / 730) + 0.10
    assert found.hourly == pytest.approx(by_hand)
    assert found.total == pytest.approx(2 * by_hand)


def test_elsewhere_the_dearest_region_is_assumed_and_regions_have_more_nodes() -> None:
    here, there = estimate(GkeSettings()), estimate(GkeSettings(zone="europe-west1-b"))
    assert here is not None and there is not None
    assert there.hourly == pytest.approx(1.6 * here.hourly)
    regional = estimate(GkeSettings(zone="us-central1"), 3)
    assert regional is not None and regional.nodes == 9


def test_the_ceiling_is_for_the_whole_time_to_live() -> None:
    assert price_problems(GkeSettings(hours_to_live=41)) == []
    [problem] = price_problems(GkeSettings(hours_to_live=42))
    assert "3 × e2-medium for 42 h may cost 10.1" in problem.what
    assert price_problems(GkeSettings(hours_to_live=42, cost_ceiling=11)) == []


def test_a_machine_without_a_price_needs_one() -> None:
    settings = GkeSettings(machine_type="c9-huge-96")
    assert estimate(settings) is None
    [problem] = price_problems(settings)
    assert problem.remedy == "give it: --set gke.hourly_price=USD"
    assert price_problems(settings.model_copy(update={"hourly_price": 0.5})) == []


def test_spot_nodes_are_priced_as_spot_and_disks_and_fee_as_ever() -> None:
    found = estimate(GkeSettings(spot=True))
    assert found is not None
    assert found.hourly == pytest.approx(3 * (0.4 * 0.03351 + 100 * 0.10 / 730) + 0.10)
    given = estimate(GkeSettings(spot=True, hourly_price=0.02))
    assert given is not None and given.hourly == pytest.approx(3 * (0.02 + 100 * 0.10 / 730) + 0.10)
    [problem] = price_problems(GkeSettings(spot=True, hours_to_live=100))
    assert "3 × spot e2-medium for 100 h" in problem.what
