"""Why a query found nothing: the series that comes nearest, and which label differs.

Model: PromDiff in Istio's tests/integration/telemetry.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from meshlab.observability.addons.query import PrometheusClient

SELECTOR = re.compile(r'(?P<name>[a-zA-Z_:][\w:]*)?\s*\{(?P<matchers>(?:[^{}"]|"(?:[^"\\]|\\.)*")*)\}')
MATCHER = re.compile(r'(?P<label>[a-zA-Z_]\w*)\s*(?P<op>=~|!~|!=|=)\s*"(?P<value>(?:[^"\\]|\\.)*)"')
BARE_NAME = re.compile(r"^\s*(?P<name>[a-zA-Z_:][\w:]*)\s*(?:\[[^\]]*\])?\s*$")
GROUPING = re.compile(r"\b(?:by|without|on|ignoring|group_left|group_right)\s*\([^)]*\)")  # no metric in it
CALLED_NAME = re.compile(r"(?P<name>[a-zA-Z_:][\w:]*)\s*(?:\[|\)|$)")


@dataclass(frozen=True)
class Matcher:
    """One condition of a selector. op: =, !=, =~ or !~."""

    label: str
    op: str
    value: str

    def holds(self, labels: Mapping[str, str]) -> bool:
        """Whether a series satisfies it; an absent label counts as empty, as in Prometheus."""
        given = labels.get(self.label, "")
        if self.op in ("=", "!="):
            return (given == self.value) is (self.op == "=")
        return (re.fullmatch(self.value, given) is not None) is (self.op == "=~")

    def __str__(self) -> str:
        return f'{self.label}{self.op}"{self.value}"'


@dataclass(frozen=True)
class Selector:
    """Metric name (empty where none is given) and conditions."""

    name: str
    matchers: tuple[Matcher, ...] = ()

    def __str__(self) -> str:
        return f"{self.name}{{{','.join(map(str, self.matchers))}}}" if self.matchers else self.name


@dataclass(frozen=True)
class Miss:
    """Why a selector matched nothing.

    series: how many series have the metric's name. differs: each condition that the nearest of them, the one that
    satisfies most, does not → the value that it has instead (empty: the label is absent). names: metrics with a
    similar name, where no series has this one.
    """

    selector: str
    series: int
    differs: Mapping[str, str] = field(default_factory=dict)
    names: tuple[str, ...] = ()

    def __str__(self) -> str:
        if not self.series:
            near = f"; similar names: {', '.join(self.names)}" if self.names else ""
            return f"no series is called {self.selector.partition('{')[0] or self.selector}{near}"
        if not self.differs:
            return f"{self.selector} matches by now, or its {self.series} series have no recent sample"
        parts = [
            f"wanted {condition}, it has {value!r}" if value else f"wanted {condition}, it has no such label"
            for condition, value in self.differs.items()
        ]
        return f"none of {self.series} series matches {self.selector}; the nearest: {'; '.join(parts)}"


def explain_miss(client: PrometheusClient, promql: str) -> Miss:
    """Explain why a query, or its first selector, finds no series.

    Args:
        client: Asks Prometheus.
        promql: The query.

    Returns:
        The nearest series, and what differs.

    Raises:
        QueryError: Prometheus can't be asked.
    """
    selector = first_selector(promql)
    having = client.series(selector.name) if selector.name else []
    if not having:
        near = difflib.get_close_matches(selector.name, client.label_values("__name__"), n=3, cutoff=0.6)
        return Miss(str(selector), 0, names=tuple(near))
    nearest = min(having, key=lambda labels: sum(not each.holds(labels) for each in selector.matchers))
    differs = {
        str(each): nearest.get(each.label, "") for each in selector.matchers if not each.holds(nearest)
    }
    return Miss(str(selector), len(having), differs)


def first_selector(promql: str) -> Selector:
    """The first selector of a PromQL expression; a condition on __name__ becomes the metric's name."""
    found = SELECTOR.search(promql)
    if found is None:
        bare = BARE_NAME.match(promql) or CALLED_NAME.search(GROUPING.sub("", promql))
        return Selector(bare["name"] if bare else "")
    matchers = tuple(
        Matcher(each["label"], each["op"], re.sub(r"\\(.)", r"\1", each["value"]))
        for each in MATCHER.finditer(found["matchers"])
    )
    named = next((each.value for each in matchers if each.label == "__name__" and each.op == "="), "")
    return Selector(found["name"] or named, tuple(each for each in matchers if each.label != "__name__"))
