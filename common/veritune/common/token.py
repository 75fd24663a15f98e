"""Access tokens: the client signs, the provider checks against the key that the contract pins (SPEC section 7)."""

from __future__ import annotations

import base64
import binascii
from datetime import datetime, timedelta

from veritune.common.documents.base import format_time, parse_time
from veritune.common.documents.receipts import AccessToken
from veritune.common.envelope import Envelope
from veritune.common.errors import UnauthenticatedError, VerituneError
from veritune.common.keys import PrivateKey, PublicKey
from veritune.common.limits import LIMITS
from veritune.common.signing import open_document, sign_document

METADATA_KEY = "authorization"
SCHEME = "Veritune "
LIFETIME = timedelta(hours=1)
CLOCK_SKEW = timedelta(minutes=5)


def issue_token(key: PrivateKey, audience: str, manifest_digest: str, now: datetime) -> str:
    """A signed access token, valid for `LIFETIME`, as the value of the gRPC metadata key ``authorization``.

    ``audience`` is the provider's key id.
    """
    token = AccessToken(
        audience=audience,
        manifest_digest=manifest_digest,
        issued=format_time(now),
        expires=format_time(now + LIFETIME),
    )
    return SCHEME + base64.urlsafe_b64encode(sign_document(token, key).to_json()).decode("ascii")


def unverified_envelope(header: str) -> Envelope:
    """The envelope in an authorization header, its signature not verified. Raises `UnauthenticatedError`."""
    if not header.startswith(SCHEME) or len(header) > LIMITS.token:
        raise UnauthenticatedError("the authorization metadata is missing, too long or of another scheme", cause="form")
    try:
        return Envelope.from_json(base64.b64decode(header[len(SCHEME) :], altchars=b"-_", validate=True))
    except (VerituneError, binascii.Error, ValueError) as error:
        raise UnauthenticatedError("the access token is malformed", cause="form") from error


def check_token(header: str, client: PublicKey, audience: str, manifest_digest: str, now: datetime) -> None:
    """Raises `UnauthenticatedError` unless ``client`` signed a live token for this provider and contract."""
    try:
        token = open_document(AccessToken, unverified_envelope(header), client).document
        issued, expires = parse_time(token.issued), parse_time(token.expires)
    except UnauthenticatedError:
        raise
    except VerituneError as error:
        raise UnauthenticatedError(
            "the access token is not signed by the contract's client", cause="signature"
        ) from error
    if token.audience != audience or token.manifest_digest != manifest_digest:
        raise UnauthenticatedError("the access token is for another provider or contract", cause="audience")
    if issued > now + CLOCK_SKEW or expires <= now - CLOCK_SKEW or expires - issued > LIFETIME:
        raise UnauthenticatedError("the access token has expired or is not valid yet; check the clocks", cause="time")
