"""An issuer whose own key lies in a KMS: short-lived keys that are certified by it, and sign in its place.

The law of this file: the KMS signs once for each short-lived key, never a root, and nobody waits for it who asks for
one. A private half is made here, lies in memory and dies with the process. What a key signed stays good without it,
because every root carries the certificate.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from chain import certificate, mint
from chain.certificate import WINDOW, Certificate, CertifiedSigner
from chain.control import key_struck
from chain.desk import Desk
from chain.errors import SignerError
from chain.key import KeySigner, Signer
from chain.keyring import MAX_PUBLISHED, Held, Ring
from chain.row import StandingRow
from chain.state import MAX_LIFETIME

CERTIFIED = "certified_key"
"""Kind of what stands (`chain.row.StandingRow`): the certificate of a key, by the key's thumbprint."""

LEAD = 60
"""Seconds by which a window begins earlier: a root that was dated before its key came is signed with that key."""


@dataclass(frozen=True, slots=True)
class Certifier:
    """A key that certifies.

    Attributes:
        signer: the KMS.
        window: seconds in which a key that it certifies signs; another takes over after half of them.
        close: lets the KMS go, where it has to be let go.
    """

    signer: Signer
    window: int = WINDOW
    close: Callable[[], None] = lambda: None


def fresh(certifier: Certifier, issuer: str, desk: Desk) -> CertifiedSigner:
    """Make a key and have it certified; this waits for the KMS.

    Raises:
        SignerError: the KMS is out of reach, or was revoked by name.
    """
    if ("key", certifier.signer.key.thumbprint) in desk.live.controls.struck:
        raise SignerError("all that the KMS certifies was revoked, by its key's name")
    now, made = desk.clock(), KeySigner.from_seed(desk.entropy(32))
    jti = mint.uuid7(now, desk.entropy(10))
    since, window = int(now) - LEAD, certifier.window + LEAD
    return CertifiedSigner(
        made, certificate.certify(certifier.signer, made.key, issuer, jti=jti, now=since, window=window)
    )


def due(found: Certificate, window: int, desk: Desk) -> bool:
    """Tell whether a key should be followed by another: half of its window is over, or it may not sign at all."""
    now = desk.clock()
    return not found.since <= now < found.until - window / 2 or not usable(found, desk)


def usable(found: Certificate, desk: Desk) -> bool:
    """Tell whether a key may sign now: its window is open, and nobody revoked it by name."""
    struck = desk.live.controls.struck
    return found.covers(desk.clock()) and not key_struck(struck, found.key.thumbprint, found.certifier.thumbprint)


def row(found: Certificate, revision: int) -> StandingRow:
    """Return what the ledger keeps of a certificate, until the last root that its key can have signed has ended."""
    return StandingRow(CERTIFIED, found.key.thumbprint, found.text.encode(), found.until + MAX_LIFETIME, revision)


def kept(desk: Desk, certifier: Certifier) -> list[Certificate]:
    """Return the certificates of this certifier that the ledger keeps; what is none is left out."""
    known = {certifier.signer.key.thumbprint: certifier.signer.key}
    found = []
    for each in desk.store.standing(CERTIFIED):
        try:
            found.append(certificate.verify(each.body.decode(), known))
        except certificate.CertificateError:  # of a KMS that was here before
            continue
    return found


def ring(last: Certificate, before: Iterable[Certificate]) -> Ring:
    """Return certified keys as a ring tells of keys: the last one signs, and the newest before it are published."""
    newest = sorted(before, key=lambda each: (each.since, each.jti))[1 - MAX_PUBLISHED :]
    retiring = (Held(each.key.jwk, "retiring", each.since, each.until + MAX_LIFETIME, each.text) for each in newest)
    return Ring([*retiring, Held(last.key.jwk, "active", last.since, certificate=last.text)])
