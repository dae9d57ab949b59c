"""What signs roots now, and whose roots are accepted: the ring in force.

The law of this file: ring, anchors and signer change together, in the ledger's single writer. What is distrusted stops
to sign before it stops to be trusted; what is to sign is trusted first. What ledger and directory tell differently is
settled at the start: the worse state wins, and it is said.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

import msgspec

from chain import certifying, records
from chain.anchor import TrustAnchor
from chain.certificate import CertificateError, CertifiedSigner
from chain.certifying import Certifier
from chain.control import Named
from chain.desk import Desk
from chain.errors import ChainError, ConfigurationError, KeyRingError, SignerError
from chain.key import PublicKey, Signer
from chain.keyring import VERIFIES, Held, KeyRing, Ring, reconciled
from chain.reason import Reason
from chain.row import StandingRow
from chain.token import Verifier
from chain.writing import Writing

KEY = "key"
"""Kind of what stands (`chain.row.StandingRow`): where a key of the issuer stands."""

CONFIGURATION = "configuration"
"""The author of what was found at the start."""

T = TypeVar("T")


class Signing:
    """The ring in force.

    Attributes:
        ring: where each key stands; without a directory, the one key that signs.
        keyring: where the keys lie, or None.
        certifier: the KMS that certifies the keys that sign, or None.
        found: what had to be settled at the start, one line each.
    """

    def __init__(
        self,
        desk: Desk,
        verifier: Verifier,
        issuer: str,
        signer: Signer | Certifier | None,
        keyring: KeyRing | None,
    ) -> None:
        """Put keys in force; from here on the verifier's anchors are what configuration and ring say together.

        Args:
            desk: decides and records.
            verifier: with the anchors that are configured.
            issuer: whose keys they are.
            signer: the one key, where there is no ring; or a KMS, which certifies short-lived ones from here on.
            keyring: where the keys lie.

        Raises:
            ConfigurationError: two ways to hold keys, no anchor, a signer that none trusts, a ring that cannot be
                read or opened, or a KMS that certifies nothing.
        """
        if keyring is not None and signer is not None:
            raise ConfigurationError("the issuer's keys are held in two ways: in a ring, and by a signer of their own")
        if keyring is None and not verifier.anchors:
            raise ConfigurationError("no trust anchor: every chain would be refused")
        if signer is not None and not _trusted(signer, verifier, issuer):
            raise ConfigurationError(f"no trust anchor lets the signer's key speak for `{issuer}`")
        self.keyring = keyring
        self.certifier = signer if isinstance(signer, Certifier) else None
        single = None if isinstance(signer, Certifier) else signer
        self.ring = Ring(() if single is None else (Held(single.key.jwk, "active", 0),))
        self.found: tuple[str, ...] = ()
        self._desk = desk
        self._verifier = verifier
        self._issuer = issuer
        self._signer = single
        self._configured = verifier.anchors
        if keyring is not None:
            self._settle(desk, keyring)
        if self.certifier is not None:
            try:
                self._follow(self.certifier)
            except (CertificateError, SignerError) as error:
                raise ConfigurationError(f"no key is certified: {error.detail}") from None

    @property
    def possible(self) -> bool:
        """Whether anything could ever sign here."""
        return self.keyring is not None or self._signer is not None

    @property
    def published(self) -> list[PublicKey]:
        """The keys that strangers are told: the ring's, and those that configuration binds to this issuer alone.

        One that certifies is not among them: no root is signed with it.
        """
        anchors = (anchor for anchor in self._verifier.anchors if not anchor.certifies)
        bound = (anchor.key for anchor in anchors if anchor.issuer == self._issuer)
        return list(dict.fromkeys((*self.ring.published, *bound)))

    def signer(self) -> Signer:
        """Return what signs now.

        Raises:
            KeyRingError: no key is active.
            SignerError: the certified key may not sign any more, and the KMS has certified no other.
        """
        signer = self._signer
        if isinstance(signer, CertifiedSigner) and not certifying.usable(signer.certificate, self._desk):
            raise SignerError("the certified key may not sign any more, and the KMS has certified no other yet")
        if signer is None:
            detail = "no key of the issuer is active, so that nothing is signed; activate one"
            raise KeyRingError(detail, Reason.SIGNING_KEY_MISSING)
        return signer

    def renew(self) -> bool:
        """Let another certified key follow where that is due (`chain.keys.Keys.renew`)."""
        signer, certifier, desk = self._signer, self.certifier, self._desk
        if certifier is None or not isinstance(signer, CertifiedSigner):
            return False
        if not certifying.due(signer.certificate, certifier.window, desk):
            return False
        self._follow(certifier)
        return True

    def take(self, ring: Ring, opened: Signer | None = None) -> None:
        """Trust and sign by a ring from now on (writer only).

        Args:
            ring: what is in force.
            opened: signs with the key that became active, where one did.
        """
        before, name = self._signer, ring.signing
        barred = {each for each, held in ring.held.items() if held.state not in VERIFIES}
        if before is not None and before.key.thumbprint in barred:
            self._signer = None
        own = (TrustAnchor(held.key, self._issuer) for held in ring.held.values())
        anchors = list(dict.fromkeys((*self._configured, *own)))
        self._verifier.replace(
            [anchor for anchor in anchors if anchor.key.thumbprint not in barred],
            [anchor for anchor in anchors if anchor.key.thumbprint in barred],
        )
        self.ring = ring
        self._signer = next((one for one in (opened, before) if one is not None and one.key.thumbprint == name), None)

    def record(self, before: Ring, after: Ring, cause: str, author: str, writing: Writing) -> int:
        """Record every key that stands otherwise than before, and return the last revision (writer only)."""
        revision = writing.revision - 1
        for name, held in after.held.items():
            prior = before.held.get(name)
            if prior != held:
                revision = writing.record("key_changed", records.key_changed(held, prior, cause, author))
                writing.stand(StandingRow(KEY, name, msgspec.json.encode(held), 0, revision))
        return revision

    def strike(self, name: str, cause: str, author: str, writing: Writing) -> int:
        """Revoke all that a key signed, by its name, as `chain.steering` does (writer only)."""
        revision = writing.record("revoked", records.struck(Named("key", name), (name,), cause, author))
        writing.stand(writing.live.controls.strike("key", name, revision))
        return revision

    def _follow(self, certifier: Certifier) -> None:
        """Have a key certified and recorded, and then sign with it: it is in the ledger before its first root is."""
        fresh = certifying.fresh(certifier, self._issuer, self._desk)
        found = fresh.certificate
        ring = certifying.ring(found, certifying.kept(self._desk, certifier))
        cause = f"certified by {found.certifier.thumbprint} until {found.until}"

        def compose(writing: Writing) -> bytes | ChainError:
            held = ring.held[found.key.thumbprint]
            revision = writing.record("key_changed", records.key_changed(held, None, cause, CONFIGURATION))
            writing.stand(certifying.row(found, revision))
            return b'""'

        self._desk.change(compose, None, str, urgent=True).result()
        self.ring, self._signer = ring, fresh

    def _settle(self, desk: Desk, keyring: KeyRing) -> None:
        index = keyring.load()
        ledger = Ring(msgspec.json.decode(row.body, type=Held) for row in desk.store.standing(KEY))
        struck = {name for kind, name in desk.live.controls.struck if kind == "key"}
        now = int(desk.clock())
        ring = reconciled(index, ledger.held.values(), struck, now)
        opened = None if ring.signing is None else keyring.signer(ring.signing)
        if ring.signing is not None and opened is None:  # of a key that another copy of the directory held
            ring = ring.become(ring.signing, "retiring", now)
        self.found = tuple(_differences(index, ledger, ring, self._configured))

        def compose(writing: Writing) -> bytes | ChainError:
            for name, held in ring.held.items():
                if held.state == "compromised" and name not in struck:
                    self.strike(name, "found compromised at the start", CONFIGURATION, writing)
            self.record(ledger, ring, "found at the start", CONFIGURATION, writing)
            return b'""'

        if ring.held != ledger.held:
            desk.change(compose, None, str, urgent=True).result()
        if ring.held != index.held:
            keyring.save(ring)
        self.take(ring, opened)


def _trusted(signer: Signer | Certifier, verifier: Verifier, issuer: str) -> bool:
    """Tell whether an anchor trusts the key that has to be one: the signer's own, or the KMS's that certifies it."""
    if isinstance(signer, Certifier):
        return verifier.trusts(signer.signer.key, issuer, certifies=True)
    if isinstance(signer, CertifiedSigner):
        return verifier.trusts(signer.certificate.certifier, issuer, certifies=True)
    return verifier.trusts(signer.key, issuer)


def _differences(index: Ring, ledger: Ring, ring: Ring, configured: Iterable[TrustAnchor]) -> Iterator[str]:
    """Say what was settled: a key of which somebody told otherwise, and an anchor that does not verify."""
    for name, held in ring.held.items():
        for who, told in (("directory", index), ("ledger", ledger)):
            known = told.held.get(name)
            if known is None and who == "directory":
                yield f"key `{name}`: the directory of the ring did not know it; it is {held.state}"
            elif known is not None and known.state != held.state:
                yield f"key `{name}`: the {who} said {known.state}; it is {held.state}"
    if ring.signing is None:
        yield "no key is active: nothing is issued until one is activated"
    for anchor in configured:
        barred = ring.held.get(anchor.key.thumbprint)
        if barred is not None and barred.state not in VERIFIES:
            yield f"anchor `{anchor.key.thumbprint}`: not trusted, since in the ring it is {barred.state}"


def kept(work: Callable[[], T]) -> T:
    """Return what a key ring gives.

    Raises:
        KeyRingError: it could not be read, opened or written.
    """
    try:
        return work()
    except ConfigurationError as error:
        raise KeyRingError(error.detail, Reason.KEY_RING_UNAVAILABLE) from None
