"""Which Kubernetes a cluster is made with: `latest`, a release channel, or a version, resolved before it is asked for."""

from __future__ import annotations

import re
from dataclasses import dataclass

from google.cloud.container_v1.types import ReleaseChannel, ServerConfig

from meshlab.core.errors import Problem

CHANNELS = {
    "rapid": ReleaseChannel.Channel.RAPID,
    "regular": ReleaseChannel.Channel.REGULAR,
    "stable": ReleaseChannel.Channel.STABLE,
    "extended": ReleaseChannel.Channel.EXTENDED,
}
SHOWN = 6  # versions that a message names


@dataclass(frozen=True)
class Version:
    """What is asked for: the full version, and the release channel, None for none."""

    kubernetes: str
    channel: str | None = None


def resolve(wanted: str, config: ServerConfig, location: str) -> Version | Problem:
    """The version that `wanted` (latest, a channel, a version or its begin) means in a location; or why none does."""
    valid = sorted(config.valid_master_versions, key=order, reverse=True)
    if wanted == "latest":
        if valid:
            return Version(valid[0])
        return Problem(
            "--set gke.version", f"{location} offers no version at all", "use another zone: --zone ZONE"
        )
    if wanted in CHANNELS:
        for each in config.channels:
            if each.channel == CHANNELS[wanted] and each.default_version:
                return Version(each.default_version, wanted)
        names = [
            name
            for name, channel in CHANNELS.items()
            if any(each.channel == channel for each in config.channels)
        ]
        return Problem(
            f"--set gke.version={wanted}",
            f"{location} has no such channel",
            f"one of: latest, {', '.join(names)}",
        )
    for version in valid:
        if version == wanted or version.startswith((f"{wanted}.", f"{wanted}-")):
            return Version(version)
    shown = ", ".join(valid[:SHOWN]) + (" …" if len(valid) > SHOWN else "")
    return Problem(f"--set gke.version={wanted}", f"{location} does not offer it", f"one of: latest, {shown}")


def order(version: str) -> tuple[int, ...]:
    """A key that sorts versions such as 1.33.4-gke.1134000."""
    return tuple(int(number) for number in re.findall(r"\d+", version))
