"""Numbers with their units, as Grafana names units: 0.0123 in `s` is 12.3 ms."""

from __future__ import annotations

import math
from dataclasses import dataclass

_Steps = tuple[tuple[float, str], ...]
_SI: _Steps = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"), (1.0, ""))
_SMALL: _Steps = ((1.0, ""), (1e-3, "m"), (1e-6, "µ"), (1e-9, "n"))
_IEC: _Steps = ((2.0**40, "Ti"), (2.0**30, "Gi"), (2.0**20, "Mi"), (2.0**10, "Ki"), (1.0, ""))
# Grafana's unit: what one of it is in the unit that is shown, the steps of that one's prefixes, and its name
_SCALED: dict[str, tuple[float, _Steps, str]] = {
    "s": (1.0, _SMALL, "s"), "ms": (1e-3, _SMALL, "s"), "µs": (1e-6, _SMALL, "s"), "us": (1e-6, _SMALL, "s"),
    "ns": (1e-9, _SMALL, "s"), "bytes": (1.0, _IEC, "B"), "kbytes": (2.0**10, _IEC, "B"),
    "mbytes": (2.0**20, _IEC, "B"), "binBps": (1.0, _IEC, "B/s"), "decbytes": (1.0, _SI, "B"),
    "Bps": (1.0, _SI, "B/s"), "decbits": (1.0, _SI, "b"), "bps": (1.0, _SI, "b/s"),
}  # fmt: skip
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
    if unit in ("percent", "percentunit"):
        return Scale(100 if unit == "percentunit" else 1, "%")
    if unit in _SCALED:
        base, steps, name = _SCALED[unit]
        step, prefix = _step(size * base, steps)
        return Scale(base / step, f" {prefix}{name}")
    step, prefix = _step(size, _SI)
    name = _RATES.get(unit, "" if unit in ("", "none", "short") else unit)
    return Scale(1 / step, f" {prefix}{name}" if name else prefix)


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


def _step(size: float, steps: _Steps) -> tuple[float, str]:
    if size == 0:
        return 1.0, ""
    return next(((step, prefix) for step, prefix in steps if size >= step * 0.9995), steps[-1])
