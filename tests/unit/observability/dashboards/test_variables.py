"""Template variables get their values from what Prometheus has, each behind those that it needs."""

from __future__ import annotations

from typing import Any

import pytest

from meshlab.core.errors import IstioError, QueryError
from meshlab.observability.dashboards.model import Dashboard, Variable
from meshlab.observability.dashboards.variables import ordered, resolve
from tests.fakes.clock import FakeClock
from tests.fakes.dashboards import FakeSource

WORKLOADS = [({"workload": name}, 1.0) for name in ("b", "a", "")]
REGEX = '/.*workload="([^"]*).*/'


def source(**answers: Any) -> FakeSource:
    return FakeSource({name.replace("_", " "): found for name, found in answers.items()}, FakeClock())


def settle(*variables: Variable, answers: dict[str, Any] | None = None, **chosen: str):
    found = resolve(Dashboard("D", "", (), variables), FakeSource(answers or {}, FakeClock()), chosen)
    return {name: (value.chosen, value.every) for name, value in found.items()}


def test_a_query_result_is_read_by_its_regular_expression():
    variable = Variable("w", "query", "query_result(sum(x) by (workload))", REGEX, sort=1)
    answers = {"sum(x) by (workload)": WORKLOADS}
    [value] = resolve(Dashboard("D", "", (), (variable,)), FakeSource(answers, FakeClock()), {}).values()
    assert value.options == ("", "a", "b")
    assert value.chosen == ("",), "the first option, where nothing was saved"


def test_label_values_with_and_without_a_selector():
    both = (
        Variable("one", "query", 'label_values(up{job="x"}, app)'),
        Variable("two", "query", "label_values(app)"),
    )
    answers = {'up{job="x"} app': [({"app": "a"}, 1)], "app": [({"app": "b"}, 1)]}
    assert settle(*both, answers=answers) == {"one": (("a",), False), "two": (("b",), False)}


def test_chained_variables_are_asked_in_turn():
    last = Variable(
        "last", "query", 'query_result(z{a="$first",b=~"$middle"})', '/l="(.*?)"/', include_all=True
    )
    middle = Variable(
        "middle", "query", 'query_result(y{a="$first"})', '/m="(.*?)"/', multi=True, include_all=True
    )
    first = Variable("first", "query", "query_result(x)", '/f="(.*?)"/')
    answers = {
        "x": [({"f": "1"}, 1), ({"f": "2"}, 1)],
        'y{a="2"}': [({"m": "p"}, 1), ({"m": "q"}, 1)],
        'z{a="2",b=~"(p|q)"}': [({"l": "end"}, 1)],
    }
    assert settle(last, middle, first, answers=answers, first="2") == {
        "first": (("2",), False),
        "middle": (("p", "q"), True),
        "last": (("end",), True),
    }


def test_what_was_saved_is_taken_while_it_is_an_option():
    options = {"query": "source,destination", "multi": True}
    assert settle(Variable("v", "custom", current=("destination",), **options)) == {
        "v": (("destination",), False)
    }
    assert settle(Variable("v", "custom", current=("gone",), **options)) == {"v": (("source",), False)}
    assert settle(Variable("v", "custom", current=("destination",), **options), v="source") == {
        "v": (("source",), False)
    }


def test_other_kinds():
    found = settle(
        Variable("c", "constant", "fixed"),
        Variable("t", "textbox", "typed"),
        Variable("k", "custom", "One : 1, Two : 2"),
        Variable("d", "datasource", "prometheus"),
        Variable("f", "adhoc"),
    )
    assert found == {"c": (("fixed",), False), "t": (("typed",), False), "k": (("1",), False)}


@pytest.mark.parametrize(
    ("order", "sorted_options"),
    [
        (0, ["b10", "B2", "a1"]),
        (1, ["B2", "a1", "b10"]),
        (2, ["b10", "a1", "B2"]),
        (3, ["a1", "B2", "b10"]),
        (4, ["b10", "B2", "a1"]),
        (5, ["a1", "b10", "B2"]),
        (6, ["B2", "b10", "a1"]),
    ],
)
def test_grafanas_orders(order: int, sorted_options: list[str]):
    variable = Variable("v", "query", "label_values(app)", sort=order)
    answers = {"app": [({"app": text}, 1) for text in ("b10", "B2", "a1", "B2")]}
    [value] = resolve(Dashboard("D", "", (), (variable,)), FakeSource(answers, FakeClock()), {}).values()
    assert list(value.options) == sorted_options


def test_a_choice_that_the_list_does_not_offer_may_come_yet():
    with pytest.raises(QueryError, match="can't be set to v c: its list has a, b") as caught:
        settle(
            Variable("v", "query", "label_values(x)"),
            answers={"x": [({"x": "a"}, 1), ({"x": "b"}, 1)]},
            v="c",
        )
    assert caught.value.retryable


@pytest.mark.parametrize(
    ("variable", "chosen", "says"),
    [
        (Variable("v", "groupby"), {}, "kind groupby"),
        (Variable("v", "query", "metrics(istio.*)"), {}, "metrics"),
        (Variable("v", "constant", "x"), {"w": "y"}, "no variable w"),
    ],
)
def test_what_is_not_understood_is_told(variable: Variable, chosen: dict[str, str], says: str):
    with pytest.raises(IstioError, match=says):
        settle(variable, **chosen)


def test_a_variable_may_name_itself_but_not_a_circle():
    alone = Variable("a", "query", "label_values(x, $a)")
    assert ordered([alone]) == [alone]
    with pytest.raises(IstioError, match="a, b need each other"):
        ordered([Variable("a", "query", "$b"), Variable("b", "query", "$a")])
