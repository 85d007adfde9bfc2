"""The settings of a load test; part of `meshlab.config.settings`, from where they are imported."""

from __future__ import annotations

import re
from dataclasses import dataclass

from pydantic import Field, ValidationInfo, field_validator

from meshlab.config.base import SettingsBase

MAX_RATE, MAX_CONNECTIONS, MAX_SECONDS = 100_000.0, 10_000, 3600.0
NEEDS = "needs RATE,CONNECTIONS,DURATION, as in 50,8,30s"
NUMBER = re.compile(r"\d+(\.\d+)?")
DURATION = re.compile(rf"({NUMBER.pattern})\s*(s|m)?")


@dataclass(frozen=True)
class LoadProfile:
    """What a load test is asked for. rate: requests/s, None for as many as there are answers (a closed loop).

    connections: each has one request under way at most. seconds: how long it is measured.
    """

    rate: float | None
    connections: int
    seconds: float

    def longest(self, pods: int) -> float:
        """Return the seconds in which so many pods have sent it, where all answers come in time.

        fortio's last connection begins, and ends, up to one of its own intervals after the first, and has two requests at
        least: an interval is half of the time at most. A pod sends two requests, however long they take at its rate.

        Args:
            pods: That share it.

        Returns:
            The seconds.
        """
        if self.rate is None:
            return self.seconds
        interval = min(self.connections / self.rate, self.seconds / 2)
        return max(self.seconds + interval, 2 * pods / self.rate)


def parse_profile(text: str) -> LoadProfile:
    """Read RATE,CONNECTIONS,DURATION. Raises ValueError, which names all that is wrong with it."""
    words = [word.strip() for word in text.split(",")]
    if len(words) != 3:
        raise ValueError(NEEDS)
    rate, connections, duration = words
    problems = []
    asked = float(rate) if NUMBER.fullmatch(rate) else 0.0
    if rate != "max" and not 0.1 <= asked <= MAX_RATE:
        problems.append(f"the rate is max, or 0.1 to {MAX_RATE:.0f} requests/s")
    number = int(connections) if re.fullmatch(r"\d{1,6}", connections) else 0
    if not 1 <= number <= MAX_CONNECTIONS:
        problems.append(f"connections are 1 to {MAX_CONNECTIONS}")
    found = DURATION.fullmatch(duration)
    seconds = float(found[1]) * (60 if found[3] == "m" else 1) if found else 0.0
    if not 1 <= seconds <= MAX_SECONDS:
        problems.append(f"the duration is 1s to {MAX_SECONDS:.0f}s, or in minutes (2m)")
    if problems:
        raise ValueError(f"{NEEDS}: {'; '.join(problems)}")
    return LoadProfile(None if rate == "max" else asked, number, seconds)


class LoadSettings(SettingsBase):
    """A load test of the page with fortio, after the document's loops and beside none of them."""

    profile: str | None = Field(
        None,
        description="RATE,CONNECTIONS,DURATION of a load test, as in 50,8,30s: requests/s (max: a closed loop), "
        "connections, time that is measured. No load test when not given.",
    )
    pods: int = Field(
        1, ge=1, le=50, description="Pods that send side by side; they share rate and connections evenly."
    )
    warmup_seconds: float = Field(
        5, ge=0, le=600, description="Seconds of the same load before, which are kept apart; 0 for none."
    )

    @field_validator("profile")
    @classmethod
    def _readable(cls, value: str | None) -> str | None:
        if value is not None:
            parse_profile(value)
        return value

    @field_validator("pods")
    @classmethod
    def _even(cls, value: int, given: ValidationInfo) -> int:
        profile = given.data.get("profile")
        if profile is not None and (connections := parse_profile(profile).connections) % value:
            raise ValueError(f"needs a number that divides the {connections} connections of load.profile")
        return value

    @property
    def asked(self) -> LoadProfile | None:
        """What is asked for; None where no load test is."""
        return None if self.profile is None else parse_profile(self.profile)
