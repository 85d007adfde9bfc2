import json

import jwt
import pytest

from meshlab.core.jwt import ALGORITHM
from meshlab.security.gateways.tokens import AUDIENCE, ISSUER, Issuer, TokenCase


@pytest.fixture(scope="module")
def issuer() -> Issuer:
    return Issuer()


def case(issuer: Issuer, name: str) -> TokenCase:
    return next(each for each in issuer.cases() if each.name == name)


def decode(issuer: Issuer, token: str | None) -> dict[str, object]:
    key = jwt.PyJWKSet.from_dict(json.loads(issuer.jwks))[issuer.key_id]
    return jwt.decode(token or "", key, algorithms=[ALGORITHM], audience=AUDIENCE, issuer=ISSUER)


def test_the_good_token_is_good(issuer: Issuer) -> None:
    good = case(issuer, "valid token")
    assert good.status == 200
    assert decode(issuer, good.token)["iss"] == ISSUER


@pytest.mark.parametrize(
    ("name", "wrong", "status"),
    [
        ("expired token", jwt.ExpiredSignatureError, 401),
        ("wrong issuer", jwt.InvalidIssuerError, 401),
        ("wrong audience", jwt.InvalidAudienceError, 403),
        ("tampered signature", jwt.InvalidSignatureError, 401),
    ],
)
def test_each_bad_token_is_bad_in_its_own_way_only(
    issuer: Issuer, name: str, wrong: type[Exception], status: int
) -> None:
    bad = case(issuer, name)
    assert bad.status == status
    with pytest.raises(wrong):
        decode(issuer, bad.token)


def test_six_cases_and_no_token_is_shown(issuer: Issuer) -> None:
    cases = issuer.cases()
    assert len(cases) == 6
    assert case(issuer, "no token").token is None
    assert "eyJ" not in repr(cases)


def test_every_run_has_another_key(issuer: Issuer) -> None:
    other = Issuer()
    assert other.key_id != issuer.key_id
    with pytest.raises(jwt.InvalidSignatureError):
        decode(issuer, other.token())
