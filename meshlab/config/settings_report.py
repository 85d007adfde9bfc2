"""Where reports go."""

from __future__ import annotations

import re

from pydantic import Field, field_validator

from meshlab.config.base import SettingsBase

# No user and password, and no query: an address is shown, and what signs one is in its query.
STORE = r"[a-z][a-z0-9+]*://[^\s@?#]*[^\s@?#/][^\s@?#]*"


class ReportSettings(SettingsBase):
    """Where reports go."""

    publish: str | None = Field(
        None,
        description="Report, result.json and junit.xml are put there, too, under the run's id: file:///folder, "
        "gs://bucket/path, s3://bucket/path, or what else fsspec writes to.",
    )

    @field_validator("publish")
    @classmethod
    def _is_store(cls, value: str | None) -> str | None:
        if value is not None and re.fullmatch(STORE, value) is None:
            raise ValueError(
                "needs scheme://place, without password and query: credentials are the environment's"
            )
        if value is not None and value.startswith("file:") and not value.startswith("file:///"):
            raise ValueError("needs the folder's whole path: file:///folder")
        return value
