"""The tokens of the truth table, by an issuer that exists for one run."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from meshlab.core.jwt import SigningKey
from meshlab.security.authorization.model import Token

LIFETIME = 900  # seconds that a good token is good: more than a stage takes, less than a pause


@dataclass(frozen=True)
class Issued:
    """A token: what it says, and its text, which is a secret and so is left out of every representation."""

    token: Token
    text: str = field(repr=False)


class Issuer:
    """Signs tokens with a key of its own. name: what `iss` says; unique, so that no rule is met by chance."""

    def __init__(self, name: str | None = None) -> None:
        self.name = name or f"meshlab-{secrets.token_hex(6)}"
        self._key = SigningKey()

    def jwks(self) -> str:
        """The public key as a JSON Web Key Set."""
        return self._key.jwks()

    def issue(self, name: str, claims: Mapping[str, Any], *, now: float) -> Issued:
        """Sign a token.

        Args:
            name: What it is called, and its `sub`.
            claims: Beside iss, sub, iat and exp.
            now: Seconds since the epoch.

        Returns:
            The token.
        """
        said = self._said(name, claims, now)
        return Issued(Token(name, said, signed=True), self._key.sign(said))

    def forge(self, name: str, claims: Mapping[str, Any], *, now: float) -> Issued:
        """The same in another's name: signed by a key that is not the issuer's."""
        said = self._said(name, claims, now)
        return Issued(Token(name, said, signed=False), SigningKey(self._key.key_id).sign(said))

    def _said(self, name: str, claims: Mapping[str, Any], now: float) -> dict[str, Any]:
        return {"iss": self.name, "sub": name, "iat": int(now) - 60, "exp": int(now) + LIFETIME, **claims}


def run_tokens(issuer: Issuer, *, now: float) -> dict[str, Issued]:
    """The tokens of the truth table: of the editors, of other readers, one that has expired, and a forged one."""
    editors = {"groups": ["readers", "editors"]}
    return {
        "editor": issuer.issue("editor", editors, now=now),
        "reader": issuer.issue("reader", {"groups": ["readers"]}, now=now),
        "expired": issuer.issue(
            "expired", {**editors, "exp": int(now) - 3600, "iat": int(now) - 7200}, now=now
        ),
        "forged": issuer.forge("forged", editors, now=now),
    }
