"""Variables in queries, escaped and joined as Grafana does for Prometheus."""

from __future__ import annotations

import pytest

from meshlab.core.errors import IstioError
from meshlab.observability.dashboards.model import Variable
from meshlab.observability.dashboards.templating import Value, interpolate, names, plain

ONE = Value(Variable("one", "query"), ("a.b",))
MANY = Value(Variable("many", "query", multi=True), ("a.b", "c|d"))
ALL = Value(Variable("all", "query", multi=True, include_all=True), ("x", "y"), every=True)
LOOSE = Value(Variable("loose", "query", include_all=True, all_value=".+"), ("x",), every=True)
NONE = Value(Variable("none", "query", multi=True, include_all=True), (), every=True)
VALUES = {each.variable.name: each for each in (ONE, MANY, ALL, LOOSE, NONE)}


@pytest.mark.parametrize(
    ("query", "becomes"),
    [
        ('{a="$one"}', '{a="a.b"}'),
        ('{a="${one}", b="[[one]]"}', '{a="a.b", b="a.b"}'),
        ('{a=~"$many"}', r'{a=~"(a\\.b|c\\|d)"}'),
        ('{a=~"$all"}', '{a=~"(x|y)"}'),
        ('{a=~"$loose"}', '{a=~".+"}'),
        ('{a=~"$none"}', '{a=~"()"}'),
        ("${many:pipe} ${many:csv} ${many:raw}", "a.b|c|d a.b,c|d a.b,c|d"),
        (r"${many:regex} ${one:regex}", r"(a\.b|c\|d) a\.b"),
        ("rate(x[$__rate_interval])", "rate(x[$__rate_interval])"),
        ("$unknown ${unknown:pipe} $one_more", "$unknown ${unknown:pipe} $one_more"),
    ],
)
def test_as_grafana_puts_them(query: str, becomes: str):
    assert interpolate(query, VALUES) == becomes


def test_a_single_value_of_many_stands_alone():
    value = Value(Variable("v", "custom", multi=True), ("a+b",))
    assert interpolate('{a=~"$v"}', {"v": value}) == r'{a=~"a\\+b"}'


def test_a_plain_value_keeps_its_backslash():
    value = Value(Variable("v", "query"), ("a\\b",))
    assert interpolate("$v", {"v": value}) == "a\\\\b"


def test_builtins_are_put_as_they_are():
    assert interpolate("x[$__range] $one", VALUES, {"__range": "30m"}) == "x[30m] a.b"


def test_an_unknown_format_is_told():
    with pytest.raises(IstioError, match="sqlstring"):
        interpolate("${one:sqlstring}", VALUES)


def test_titles_say_what_a_reader_sees():
    assert (
        plain("SERVICE: $one of ${all} and $many, $other", VALUES)
        == "SERVICE: a.b of All and a.b + c|d, $other"
    )


def test_the_names_in_a_query():
    assert list(names('{a="$one", b=~"${many:pipe}", c="[[all]]"}[$__range]')) == [
        "one",
        "many",
        "all",
        "__range",
    ]
