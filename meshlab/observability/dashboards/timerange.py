"""How much time a dashboard shows when it is opened, from the `time` of its JSON.

Source: Grafana's date math (packages/grafana-data/src/datetime/datemath.ts): `now`, then steps such as `-7d`, `+6h` and
`/d`, which goes to the begin of the day in `from`, to its end in `to`. An absolute time is ISO 8601, or milliseconds
since the epoch.
"""

from __future__ import annotations

import re
from calendar import monthrange
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from meshlab.core.errors import IstioError

DEFAULT_FROM, DEFAULT_TO = "now-6h", "now"  # Grafana's own
STEP = re.compile(r"([-+/])(\d*)(ms|f?[Qy]|[smhdwM])")
PLAIN = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}
MONTHS = {
    "M": 1,
    "Q": 3,
    "fQ": 3,
    "y": 12,
    "fy": 12,
}  # a fiscal year is taken to begin in January, Grafana's default


def shown_seconds(time: Mapping[str, Any], *, now: datetime | None = None) -> float:
    """Compute the length of the time that a dashboard shows.

    The lab looks at the same length of time up to now: what a dashboard that was saved with absolute times showed then is
    of another mesh.

    Args:
        time: `time` of the dashboard's JSON: `from` and `to`.
        now: What `now` means; the present where not given.

    Returns:
        Seconds, more than 0.

    Raises:
        IstioError: It is no time range of Grafana's.
    """
    now = now or datetime.now(UTC)
    begin = moment(time.get("from") or DEFAULT_FROM, now)
    end = moment(time.get("to") or DEFAULT_TO, now, upwards=True)
    length = (end - begin).total_seconds()
    if length <= 0:
        raise _no_time(f"{time.get('from')} to {time.get('to')}")
    return length


def moment(text: str | float, now: datetime, *, upwards: bool = False) -> datetime:
    """Compute one end of a time range.

    Args:
        text: As the dashboard has it; a number is milliseconds since the epoch.
        now: What `now` means.
        upwards: Round to the end of a unit, as for `to`, not to its begin.

    Returns:
        The time.

    Raises:
        IstioError: It is no time of Grafana's.
    """
    said = str(text).strip()
    try:
        if not said.startswith("now"):
            return _absolute(said)
        steps = said.removeprefix("now").replace(" ", "")
        if "".join("".join(each) for each in STEP.findall(steps)) != steps:
            raise _no_time(said)
        for sign, number, unit in STEP.findall(steps):
            now = _rounded(now, unit, upwards) if sign == "/" else _moved(now, sign, number, unit)
    except (ValueError, OverflowError) as problem:
        raise _no_time(said) from problem
    return now


def _absolute(said: str) -> datetime:
    if re.fullmatch(r"\d{9,}(\.\d+)?", said):
        return datetime.fromtimestamp(float(said) / 1000, UTC)
    found = datetime.fromisoformat(said)
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def _moved(at: datetime, sign: str, number: str, unit: str) -> datetime:
    count = int(number or 1) * (1 if sign == "+" else -1)
    if unit in PLAIN:
        return at + timedelta(seconds=count * PLAIN[unit])
    month = at.year * 12 + at.month - 1 + count * MONTHS[unit]
    year, index = divmod(month, 12)
    day = min(at.day, monthrange(year, index + 1)[1])
    return at.replace(year=year, month=index + 1, day=day)


def _rounded(at: datetime, unit: str, upwards: bool) -> datetime:
    """The begin of the unit, in UTC; the begin of the next one, where `upwards`."""
    day = at.replace(hour=0, minute=0, second=0, microsecond=0)
    if unit in MONTHS:
        months = MONTHS[unit]
        begin = day.replace(month=(at.month - 1) // months * months + 1, day=1)
    elif unit == "w":
        begin = day - timedelta(
            days=(at.weekday() + 1) % 7
        )  # a week begins on Sunday, as in moment.js's English
    else:
        size = PLAIN[unit]
        into = (at - day).total_seconds()
        begin = day + timedelta(seconds=into // size * size)
    return _moved(begin, "+", "1", unit) if upwards else begin


def _no_time(said: str) -> IstioError:
    return IstioError(f"{said!r} is no time range of Grafana's", remedy="correct `time` in the dashboard")
