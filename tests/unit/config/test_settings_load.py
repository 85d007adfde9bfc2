"""RATE,CONNECTIONS,DURATION is read as it is meant, and everything that is wrong with it is named at once."""

from __future__ import annotations

import pytest

from meshlab.config.loader import load
from meshlab.config.settings import LabConfig
from meshlab.config.settings_load import LoadProfile, parse_profile


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("50,8,30s", LoadProfile(50, 8, 30)),
        ("0.5, 1, 10", LoadProfile(0.5, 1, 10)),
        ("max,64,2m", LoadProfile(None, 64, 120)),
        ("100000,10000,3600s", LoadProfile(100_000, 10_000, 3600)),
    ],
)
def test_a_load_is_read_as_it_is_meant(text: str, meant: LoadProfile) -> None:
    loaded = load({"load.profile": text}, environ={})
    assert loaded.problems == [] and loaded.config.load.asked == meant


@pytest.mark.parametrize(
    ("text", "pods", "seconds"),
    [
        ("max,8,30s", 1, 30),
        ("50,10,30s", 2, 30.2),
        ("0.1,360,60m", 1, 5400),  # two requests on each of 180 connections
        ("1,8,5s", 4, 8),  # two requests from each pod, at a quarter of the rate
    ],
)
def test_a_load_may_take_longer_than_its_duration(text: str, pods: int, seconds: float) -> None:
    assert parse_profile(text).longest(pods) == pytest.approx(seconds)


def test_nothing_is_sent_where_nothing_is_asked_for() -> None:
    assert LabConfig().load.asked is None


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("50,8", ["RATE,CONNECTIONS,DURATION"]),
        ("", ["RATE,CONNECTIONS,DURATION"]),
        ("fast,none,ever", ["rate", "connections", "duration"]),
        ("0,8,30s", ["rate"]),
        ("-1,8,30s", ["rate"]),
        ("nan,8,30s", ["rate"]),
        ("100001,8,30s", ["rate"]),
        ("50,0,30s", ["connections"]),
        ("50,1.5,30s", ["connections"]),
        ("50,8,0.5s", ["duration"]),
        ("50,8,2h", ["duration"]),
        ("50,8,61m", ["duration"]),
    ],
)
def test_all_that_is_wrong_is_named_at_once(text: str, named: list[str]) -> None:
    [problem] = load({"load.profile": text}, environ={}).problems
    assert problem.where == "--load"
    assert all(word in problem.what for word in named), problem.what
    others = {"the rate is", "connections are", "the duration is"} - {
        each
        for each in ("the rate is", "connections are", "the duration is")
        if any(w in each for w in named)
    }
    assert not any(each in problem.what for each in others), problem.what


def test_pods_must_share_the_connections_evenly() -> None:
    assert load({"load.profile": "50,8,30s"}, ["load.pods=4"], environ={}).problems == []
    [problem] = load({"load.profile": "50,8,30s"}, ["load.pods=3"], environ={}).problems
    assert (problem.where, "8 connections" in problem.what) == ("--set load.pods", True)


def test_a_bad_load_does_not_hide_what_else_is_bad() -> None:
    found = load({"load.profile": "x,8,30s"}, ["load.pods=0", "load.warmup_seconds=-1"], environ={}).problems
    assert [each.where for each in found] == ["--load", "--set load.pods", "--set load.warmup_seconds"]
