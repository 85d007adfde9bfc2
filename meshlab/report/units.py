"""Numbers with their units, as Grafana names units: 0.0123 in `s` is 12.3 ms."""

from __future__ import annotations

import math
from dataclasses import dataclass

_SI = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"), (1.0, ""))
_SMALL = ((1e-3, "m"), (1e-6, "µ"), (1e-9, "n"))
_IEC = ((2.0**40, "Ti"), (2.0**30, "Gi"), (2.0**20, "Mi"), (2.0**10, "Ki"), (1.0, ""))
_TIME = {"s": 1.0, "ms": 1e-3, "µs": 1e-6, "us": 1e-6, "ns": 1e-9}
_DECIMAL = {"decbytes": "B", "Bps": "B/s", "decbits": "b", "bps": "b/s"}
_BINARY = {"bytes": "B", "binBps": "B/s", "kbytes": "B", "mbytes": "B"}
_RATES = {
    "reqps": "req/s", "rps": "reads/s", "wps": "writes/s", "ops": "ops/s", "iops": "io/s", "cps": "/s",
    "opm": "ops/min", "cpm": "/min", "pps": "packets/s", "hertz": "Hz",
}  # fmt: skip


@dataclass(frozen=True)
class Scale:
    """How to show a number: times `factor`, followed by `suffix` (a leading space included)."""

    factor: float
    suffix: str


def scale_for(peak: float, unit: str) -> Scale:
    """The scale that shows numbers up to `peak` best. peak: in `unit`, of any sign.

    unit: one of Grafana's ids; an unknown one is shown as it is written, `none`, `short` and "" as nothing.
    """
    size = abs(peak)
    if unit == "percentunit":
        return Scale(100, "%")
    if unit == "percent":
        return Scale(1, "%")
    if unit in _TIME:
        in_seconds = _TIME[unit]
        step, prefix = _step(size * in_seconds, _SI[-1:] + _SMALL)
        return Scale(in_seconds / step, f" {prefix}s")
    if unit in _BINARY:
        base = {"kbytes": 2.0**10, "mbytes": 2.0**20}.get(unit, 1.0)
        step, prefix = _step(size * base, _IEC)
        return Scale(base / step, f" {prefix}{_BINARY[unit]}")
    if unit in _DECIMAL:
        step, prefix = _step(size, _SI)
        return Scale(1 / step, f" {prefix}{_DECIMAL[unit]}")
    step, prefix = _step(size, _SI)
    name = _RATES.get(unit, "" if unit in ("", "none", "short") else unit)
    return Scale(1 / step, f"{f' {prefix}' if prefix and name else prefix or (' ' if name else '')}{name}")


def format_value(value: float | None, unit: str = "") -> str:
    """Write a number with its unit and three significant digits: 12.3 ms, 1.5 MiB, 99.7%, 0.333 req/s.

    Args:
        value: The number; None is a dash.
        unit: As measures name it.

    Returns:
        The text.
    """
    if value is None or math.isnan(value):
        return "no value"
    if math.isinf(value):
        return "∞" if value > 0 else "-∞"
    scale = scale_for(value, unit)
    return f"{_digits(value * scale.factor)}{scale.suffix}"


def _digits(value: float) -> str:
    if value == int(value) and abs(value) < 1e6:
        return str(int(value))
    places = max(0, 2 - math.floor(math.log10(abs(value))))
    text = f"{value:.{min(places, 9)}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def _step(size: float, steps: tuple[tuple[float, str], ...]) -> tuple[float, str]:
    if size == 0:
        return 1.0, ""
    return next(((step, prefix) for step, prefix in steps if size >= step * 0.9995), steps[-1])
