"""Which registries of Istio's images are being switched off, and which one takes their place: a dated table."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import cache
from importlib import resources
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict

from meshlab.istio.operator_file import at

HUBS = ("spec.hub", "spec.values.global.hub", "spec.unvalidatedValues.global.hub")  # where a user sets one


class Retired(BaseModel):
    """A registry that is switched off. default_of: minors of Istio that take their images there by default."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    prefix: str
    default_of: tuple[str, ...]


class Registries(BaseModel):
    """The table beside this module. hub: what takes the place of the retired ones."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    date: str
    source: str
    hub: str
    retired_in: str
    retired: tuple[Retired, ...]


@cache
def table() -> Registries:
    """Return the table of registries."""
    content = yaml.safe_load(
        resources.files(__package__).joinpath("registries.yaml").read_text(encoding="utf-8")
    )
    return Registries.model_validate({**content, "date": str(content["date"])})


def hub_for(version: str, operator: Mapping[str, Any]) -> str | None:
    """Choose a hub for a release whose own default is being switched off.

    Args:
        version: The release, as istioctl prints it.
        operator: The user's IstioOperator.

    Returns:
        The hub to set; None where the user sets one, or where the release's default stays. A build of a vendor
        (`1.30.4-vendor`) has a hub of the vendor's.
    """
    released = re.fullmatch(r"v?(\d+\.\d+)\.\d+(?:-distroless)?", version)
    going = {each for row in table().retired for each in row.default_of}
    if released is None or released[1] not in going or any(at(operator, path) for path in HUBS):
        return None
    return table().hub


def is_retired(image: str) -> bool:
    """Tell whether an image comes from a registry that is being switched off."""
    return any(image.startswith(f"{row.prefix}/") for row in table().retired)


def warning(images: Iterable[str]) -> str:
    """Say which images come from a registry that is being switched off.

    Args:
        images: References of images that run, or will.

    Returns:
        A sentence; empty where none does.
    """
    found = sorted({image for image in images if is_retired(image)})
    if not found:
        return ""
    known = table()
    return (
        f"{', '.join(found)}: that registry is switched off in {known.retired_in} (known as of {known.date}); "
        f"pods that start later would wait for their images. Set `hub: {known.hub}`, or a mirror of yours"
    )
