from __future__ import annotations

import base64
from datetime import UTC, datetime, timedelta, timezone

import pytest

from tests.support.errors import fails
from veritune.common.documents.base import format_time, parse_time
from veritune.common.documents.receipts import AccessToken
from veritune.common.envelope import sign
from veritune.common.errors import MalformedDocumentError, UnauthenticatedError
from veritune.common.keys import PrivateKey
from veritune.common.signing import sign_document
from veritune.common.token import SCHEME, check_token, issue_token

NOW = datetime(2026, 6, 1, 12, 0, tzinfo=UTC)
CLIENT = PrivateKey.generate()
AUDIENCE, MANIFEST = "a" * 64, "b" * 64


def test_a_live_token_passes() -> None:
    check_token(issue_token(CLIENT, AUDIENCE, MANIFEST, NOW), CLIENT.public, AUDIENCE, MANIFEST, NOW)


def header(token: AccessToken) -> str:
    return SCHEME + base64.urlsafe_b64encode(sign_document(token, CLIENT).to_json()).decode()


@pytest.mark.parametrize("later", [timedelta(hours=2), timedelta(minutes=-6)])
def test_out_of_its_time(later: timedelta) -> None:
    token = issue_token(CLIENT, AUDIENCE, MANIFEST, NOW)
    with fails(UnauthenticatedError, cause="time"):
        check_token(token, CLIENT.public, AUDIENCE, MANIFEST, NOW + later)


def test_no_token_lives_longer_than_the_protocol_allows() -> None:
    token = AccessToken(
        audience=AUDIENCE,
        manifest_digest=MANIFEST,
        issued=format_time(NOW),
        expires=format_time(NOW + timedelta(days=365)),
    )
    with pytest.raises(UnauthenticatedError):
        check_token(header(token), CLIENT.public, AUDIENCE, MANIFEST, NOW)


def test_for_another_provider_contract_or_client() -> None:
    token = issue_token(CLIENT, AUDIENCE, MANIFEST, NOW)
    for audience, manifest in (("c" * 64, MANIFEST), (AUDIENCE, "c" * 64)):
        with fails(UnauthenticatedError, cause="audience"):
            check_token(token, CLIENT.public, audience, manifest, NOW)
    with fails(UnauthenticatedError, cause="signature"):
        check_token(token, PrivateKey.generate().public, AUDIENCE, MANIFEST, NOW)
    nonsense = sign(AccessToken.payload_type, b"{}", CLIENT).to_json()
    with fails(UnauthenticatedError, cause="signature"):
        check_token(SCHEME + base64.urlsafe_b64encode(nonsense).decode(), CLIENT.public, AUDIENCE, MANIFEST, NOW)


@pytest.mark.parametrize("text", ["", "Bearer x", SCHEME, SCHEME + "!!", SCHEME + "e30=", SCHEME + "x" * 10_000])
def test_malformed(text: str) -> None:
    with pytest.raises(UnauthenticatedError):
        check_token(text, CLIENT.public, AUDIENCE, MANIFEST, NOW)


def test_times() -> None:
    moment = datetime(2026, 1, 31, 13, 0, 5, 999_999, tzinfo=timezone(timedelta(hours=1)))
    assert format_time(moment) == "2026-01-31T12:00:05Z"
    assert parse_time("2026-01-31T12:00:05Z") == moment.replace(microsecond=0)
    with pytest.raises(ValueError, match="zone"):
        format_time(datetime(2026, 1, 1))
    for text in ("2026-02-30T00:00:00Z", "yesterday"):
        with pytest.raises(MalformedDocumentError):
            parse_time(text)
