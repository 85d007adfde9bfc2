import pytest

from meshlab.report.units import format_value


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (0.0123, "s", "12.3 ms"), (1200, "ms", "1.2 s"), (5e-7, "s", "500 ns"), (90, "s", "90 s"),
        (0, "s", "0 s"),
        (1536, "bytes", "1.5 KiB"), (1_500_000, "decbytes", "1.5 MB"), (2, "mbytes", "2 MiB"),
        (0.9971, "percentunit", "99.7%"), (12.5, "percent", "12.5%"),
        (0.3333, "reqps", "0.333 req/s"), (12_000, "reqps", "12 kreq/s"), (5, "cps", "5 /s"),
        (1234567, "short", "1.23M"), (46, "", "46"), (0.25, "none", "0.25"), (3, "apples", "3 apples"),
        (-0.02, "s", "-20 ms"), (None, "s", "no value"),
        (float("nan"), "s", "no value"), (float("inf"), "s", "∞"),
    ],
)  # fmt: skip
def test_a_number_is_shown_with_its_unit_in_three_digits(value: float | None, unit: str, text: str) -> None:
    assert format_value(value, unit) == text
