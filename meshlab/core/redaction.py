"""The one sink for secrets: what leaves the process for a log, the journal, a report or a server goes through here.

Secrets are known in three ways: by value (`register`, where one is read), by pattern (tokens, private keys, the
fields of a kubeconfig), and either of them in base64. Nothing else in the project hides secrets.
"""

from __future__ import annotations

import base64
import binascii
import json
import logging
import re
import threading
import traceback
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

HIDDEN = "[redacted]"
LEAST = 6  # characters of a value that is hidden wherever it stands: shorter ones would blank ordinary text
MOST_BYTES = 64_000_000  # of a file that is looked through; larger ones are no text of ours

# A JSON Web Token: header and claims begin with `{"` in base64url (RFC 7519). An unsigned one ends with the dot.
JWT = re.compile(r"eyJ[A-Za-z0-9_-]{5,}\.eyJ[A-Za-z0-9_-]{5,}(?:\.[A-Za-z0-9_-]*)?")
# A private key in PEM (RFC 7468), line breaks also as `\n` of JSON; one that was cut off ends with its base64.
PRIVATE_KEY = re.compile(
    r"-----BEGIN [A-Z0-9 ]{0,30}PRIVATE KEY-----(?:[\s\S]{0,20000}?-----END [A-Z0-9 ]{0,30}PRIVATE KEY-----|[A-Za-z0-9+/=\\\s]*)"
)
# Access and refresh tokens of Google, service-account tokens of older clusters aside, which are JWTs.
GOOGLE = re.compile(r"\bya29\.[A-Za-z0-9._-]{10,}|\b1//[A-Za-z0-9_-]{30,}")
# `Authorization: Bearer …`, also as a curl word or in a header's repr.
AUTHORIZATION = re.compile(r"(?i)(\b(?:Bearer|Basic)\s+)([A-Za-z0-9._~+/=-]{8,})")
# The fields of a kubeconfig that hold credentials, as YAML or JSON, quotes escaped or not. A name alone is none.
FIELDS = re.compile(
    r"(?i)((?<![\w-])(?:client-key-data|id-token|refresh-token|access-token|access_token|refresh_token|client_secret"
    r"|client-secret|private_key|token|password)\\?[\"']?\s*[:=]\s*\\?[\"']?)([^\s\"'\\,;}{&<>\[\]]{8,})"
)
BASE64 = re.compile(r"[A-Za-z0-9+/_-]{24,}={0,2}")
# What a secret in base64 is known by without decoding it: headers of JSON Web Tokens (`{"alg":`, `{"typ":`, `{"kid":`),
# of private keys, fields of a kubeconfig and of OAuth.
TELLTALES = (
    "eyJhbGciO",
    "eyJ0eXAiO",
    "eyJraWQiO",
    "PRIVATE KEY-----",
    "client-key-data",
    "refresh_token",
    "private_key",
    "ya29.",
    "Bearer ",
    " token: ",
    '"token":',
)
CREDENTIALS = frozenset(
    {
        *("token", "id-token", "refresh-token", "refresh_token", "access-token", "access_token"),
        *("client-key-data", "client_secret", "client-secret", "private_key", "password"),
    }
)

_values: dict[str, None] = {}
_known: tuple[str, ...] = ()  # the same, the longest first
_lock = threading.Lock()


def register(*secrets: str | bytes | None) -> None:
    """Hide these values from now on, also in base64 and as JSON writes them. Short and empty ones are passed over."""
    global _known
    with _lock:
        for secret in secrets:
            text = secret.decode(errors="replace") if isinstance(secret, bytes) else secret or ""
            for form in (text, text.strip()):
                if len(form.strip()) >= LEAST:
                    _values.update(dict.fromkeys((form, json.dumps(form)[1:-1], *_encoded(form))))
        _known = tuple(sorted(_values, key=len, reverse=True))


def redact(text: str) -> str:
    """The text without secrets; the same object where it holds none."""
    if len(text) < LEAST:
        return text
    found = _patterns(_by_value(text))
    return BASE64.sub(_blob, found) if _tells(found) else found


def redact_value(value: Any) -> Any:
    """A copy of nested mappings, lists and tuples with every text in it redacted; other values as they are."""
    if isinstance(value, str):
        # Subclasses (markup, enumerations) stay what they are unless they hold a secret.
        found = redact(value)
        return value if found == value else found
    if isinstance(value, Mapping):
        return {redact_value(key): _field(key, inner) for key, inner in value.items()}
    if isinstance(value, (list, set, frozenset)) or type(value) is tuple:
        return type(value)(redact_value(inner) for inner in value)
    return value


def redact_exception(problem: BaseException) -> None:
    """Take secrets out of an exception, of what caused it, and of their attributes, in place.

    Prefect stores the exceptions of tasks; a traceback's text is made of these same parts.
    """
    seen: set[int] = set()
    left: list[BaseException | None] = [problem]
    while left:
        each = left.pop()
        if each is None or id(each) in seen:
            continue
        seen.add(id(each))
        left += [each.__cause__, each.__context__]
        left += each.exceptions if isinstance(each, BaseExceptionGroup) else []
        each.args = redact_value(each.args)
        for name, value in list(vars(each).items()):
            if isinstance(value, bytes):
                setattr(each, name, redact(value.decode(errors="replace")).encode())
            elif type(value) in (str, list, tuple, dict):
                setattr(each, name, redact_value(value))


def guard_logging() -> None:
    """Redact every log record of this process as it is made, whoever logs and whoever handles it. May be called twice."""
    make = logging.getLogRecordFactory()
    if not isinstance(make, _RecordFactory):
        logging.setLogRecordFactory(_RecordFactory(make))


def scrub(directory: Path) -> tuple[Path, ...]:
    """Redact the text files below a directory, in place; returns those that held a secret.

    For what other programs wrote (logs of the cluster's processes) and what a crash left.
    """
    changed = []
    for path in sorted(directory.rglob("*")):
        if not path.is_file() or path.is_symlink() or path.stat().st_size > MOST_BYTES:
            continue
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue  # no text; pictures and archives of ours are made from redacted values
        clean = redact(text)
        if clean != text:
            # Written in place: a program may hold the file open to append to it.
            path.write_text(clean, encoding="utf-8")
            changed.append(path)
    return tuple(changed)


class _RecordFactory:
    """Makes log records without secrets. The arguments are kept where there are none: some handlers read them."""

    def __init__(self, make: Callable[..., logging.LogRecord]) -> None:
        self._make = make

    def __call__(self, *args: Any, **kwargs: Any) -> logging.LogRecord:
        record = self._make(*args, **kwargs)
        try:
            text = record.getMessage()
        except (TypeError, ValueError):
            return record  # a message that does not fit its arguments: logging reports it where it is handled
        clean = redact(text)
        if clean != text:
            record.msg, record.args = clean, ()
        if record.exc_info and record.exc_info[1] is not None:
            told = "".join(traceback.format_exception(*record.exc_info)).rstrip("\n")
            if redact(told) != told:
                record.exc_text = redact(told)  # formatters take this instead of the exception
        return record


def _patterns(text: str) -> str:
    if "PRIVATE KEY" in text:
        text = PRIVATE_KEY.sub(HIDDEN, text)
    if "eyJ" in text:
        text = JWT.sub(HIDDEN, text)
    if "ya29." in text or "1//" in text:
        text = GOOGLE.sub(HIDDEN, text)
    # Plain searches first: they take a hundredth of an expression's time, and most texts hold none of it.
    small = text.lower()
    if "bearer" in small or "basic" in small:
        text = AUTHORIZATION.sub(_secret_field, text)
    return FIELDS.sub(_secret_field, text) if any(name in small for name in CREDENTIALS) else text


def _by_value(text: str) -> str:
    for value in _known:
        if value in text:
            text = text.replace(value, HIDDEN)
    return text


def _secret_field(match: re.Match[str]) -> str:
    # `token: istio-token`, `basic authentication`: names and words, not secrets, which have digits too or are long.
    name, value = match[1], match[2]
    return f"{name}{HIDDEN}" if _looks_secret(value) else match[0]


def _looks_secret(value: str) -> bool:
    return len(value) >= 32 or (
        any(c.isdigit() for c in value) and any(c.isalpha() for c in value) and "/" not in value[:1]
    )


def _field(key: Any, value: Any) -> Any:
    """A mapping's value: hidden whole where the key says that it is a credential."""
    named = isinstance(key, str) and key.lower() in CREDENTIALS
    if named and isinstance(value, str) and len(value) >= 8 and _looks_secret(value):
        return HIDDEN
    return redact_value(value)


def _blob(match: re.Match[str]) -> str:
    """Base64 that holds a secret, hidden whole; a certificate's and everything else stays."""
    blob = match[0]
    if not _tells(blob):
        return blob
    for alphabet in (None, b"-_"):
        for skip in range(4):  # a blob may begin in the middle of a longer text
            piece = blob[skip:].rstrip("=")
            piece = piece[: len(piece) // 4 * 4]
            try:
                plain = base64.b64decode(piece, altchars=alphabet, validate=True).decode(
                    "utf-8", errors="ignore"
                )
            except (binascii.Error, ValueError):
                break
            if _patterns(_by_value(plain)) != plain:
                return HIDDEN
    return blob


@cache
def _telltales() -> tuple[str, ...]:
    return tuple(dict.fromkeys(form for text in TELLTALES for form in _encoded(text)))


def _tells(text: str) -> bool:
    return any(form in text for form in _telltales())


def _encoded(text: str) -> list[str]:
    """Return what base64 makes of a text, wherever it stands in what is encoded.

    There are three forms, without the characters at either end that the text's neighbours decide.
    """
    raw = text.encode()
    forms = []
    for shift in range(3):
        padded = base64.b64encode(b"\0" * shift + raw).decode().rstrip("=")
        start = -(-shift * 8 // 6)  # characters that hold bits of what stands before
        end = len(padded) - (1 if (shift + len(raw)) % 3 else 0)
        piece = padded[start:end]
        if len(piece) >= LEAST:
            forms += [piece, piece.replace("+", "-").replace("/", "_")]
    return forms
