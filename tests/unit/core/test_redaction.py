"""The one sink for secrets: by value, by pattern, in base64; in texts, values, errors, logs and files."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from meshlab.core import redaction
from meshlab.core.errors import KubeError, MeshlabError
from meshlab.core.redaction import HIDDEN, redact, redact_exception, redact_value, register, scrub
from tests.examples.secrets import KEY, KUBECONFIG, OPAQUE, TOKEN, encoded


@pytest.fixture(autouse=True)
def known_nothing(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(redaction, "_values", {})
    monkeypatch.setattr(redaction, "_known", ())
    factory = logging.getLogRecordFactory()
    yield
    logging.setLogRecordFactory(factory)


@pytest.mark.parametrize(
    "text",
    [
        f"the token is {TOKEN}.",
        f"Authorization: Bearer {OPAQUE}",
        json.dumps({"headers": {"Authorization": f"Bearer {OPAQUE}"}}),
        KEY,
        json.dumps({"key": KEY}),
        KEY[:120],
        KUBECONFIG,
        json.dumps(yaml.safe_load(KUBECONFIG)),
        f"data: {encoded(TOKEN)}",
        f"data: {encoded('x' + TOKEN)} {encoded('xy' + KEY)} {encoded(KEY)}",
        f"kubeconfig: {encoded(KUBECONFIG)}",
        "token: ya29.a0AfH6SMBx-abcdef_123456",
    ],
)
def test_known_by_its_form(text: str) -> None:
    clean = redact(text)
    assert HIDDEN in clean
    body = KEY.splitlines()[1]
    for secret in (
        TOKEN,
        OPAQUE,
        body,
        body[:40],
        "kub3-c0nfig",
        "ya29.a0",
        encoded(TOKEN)[8:40],
        encoded(KEY)[60:100],
    ):
        assert secret not in clean


@pytest.mark.parametrize("around", ["", "a", "ab", "abc"])
def test_known_by_its_value_also_in_base64(around: str) -> None:
    register(OPAQUE)
    for text in (OPAQUE, f"x={OPAQUE}&y", encoded(f"{around}{OPAQUE}{around}"), json.dumps({"a": OPAQUE})):
        assert HIDDEN in redact(text)


@pytest.mark.parametrize(
    "text",
    [
        "audit.token-mounts | carries a token of bookinfo-details, which no role is bound to",
        "volume istio-token, audience istio-ca, /var/run/secrets/kubernetes.io/serviceaccount/token",
        "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----",
        encoded(
            "-----BEGIN CERTIFICATE-----\nMIIBzTCCAXSgAwIBAgIUabcdefghijklmnop\n-----END CERTIFICATE-----"
        ),
        "sha256:9e5580933739775e8bce696a57a2e1bc99368f23",
        "password: changed",
        "basic authentication is not offered",
        "7 of 7 workloads Ready",
    ],
)
def test_what_is_no_secret_stays(text: str) -> None:
    assert redact(text) == text


def test_values_keep_their_shape() -> None:
    value = {"a": [TOKEN, 3, None], "token": "0paque-as-can-be", ("t", 1): ("x", TOKEN)}
    assert redact_value(value) == {"a": [HIDDEN, 3, None], "token": HIDDEN, ("t", 1): ("x", HIDDEN)}


def test_errors_hold_none() -> None:
    problem = MeshlabError(f"refused: {TOKEN}", remedy=f"use {KEY}")
    assert TOKEN not in str(problem) and "PRIVATE" not in str(problem) and TOKEN not in repr(problem)
    assert TOKEN not in KubeError(f"can't: {TOKEN}").message


def test_foreign_exceptions_are_cleaned_with_their_causes() -> None:
    try:
        try:
            raise ValueError(f"cause {TOKEN}")
        except ValueError as cause:
            problem = RuntimeError(f"effect {TOKEN}")
            problem.body = f"body {TOKEN}".encode()  # type: ignore[attr-defined]
            raise problem from cause
    except RuntimeError as caught:
        redact_exception(caught)
        assert str(caught) == f"effect {HIDDEN}" and str(caught.__cause__) == f"cause {HIDDEN}"
        assert caught.body == f"body {HIDDEN}".encode()  # type: ignore[attr-defined]


def test_log_records_hold_none(caplog: pytest.LogCaptureFixture) -> None:
    redaction.guard_logging()
    redaction.guard_logging()
    log = logging.getLogger("audit.test")
    log.warning("with %s of %d", TOKEN, 3)
    try:
        raise ValueError(TOKEN)
    except ValueError:
        log.exception("it broke")
    log.warning("plain %s", "words")
    assert TOKEN not in caplog.text and f"with {HIDDEN} of 3" in caplog.text
    assert caplog.records[-1].args == ("words",)


def test_files_of_others_are_scrubbed(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "child.log").write_text(f"started with {TOKEN}\n")
    (tmp_path / "clean.txt").write_text("nothing\n")
    (tmp_path / "picture.png").write_bytes(b"\x89PNG\xff\xfe")
    assert scrub(tmp_path) == (tmp_path / "sub" / "child.log",)
    assert (tmp_path / "sub" / "child.log").read_text() == f"started with {HIDDEN}\n"
