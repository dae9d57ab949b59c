"""What signs roots now, and whose roots are accepted: the ring in force.

The law of this file: ring, anchors and signer change together, in the ledger's single writer. What is distrusted stops
to sign before it stops to be trusted; what is to sign is trusted first. What ledger and directory tell differently is
settled at the start: the worse state wins, and it is said.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

import msgspec

from chain import records
from chain.anchor import TrustAnchor
from chain.certificate import CertifiedSigner
from chain.control import Named
from chain.desk import Desk
from chain.errors import ChainError, ConfigurationError, KeyRingError
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
        found: what had to be settled at the start, one line each.
    """

    def __init__(
        self, desk: Desk, verifier: Verifier, issuer: str, signer: Signer | None, keyring: KeyRing | None
    ) -> None:
        """Put keys in force; from here on the verifier's anchors are what configuration and ring say together.

        Args:
            desk: decides and records.
            verifier: with the anchors that are configured.
            issuer: whose keys they are.
            signer: the one key, where there is no ring.
            keyring: where the keys lie.

        Raises:
            ConfigurationError: two ways to hold keys, no anchor, a signer that none trusts, or a ring that cannot be
                read or opened.
        """
        if keyring is not None and signer is not None:
            raise ConfigurationError("the issuer's keys are held in two ways: in a ring, and by a signer of their own")
        if keyring is None and not verifier.anchors:
            raise ConfigurationError("no trust anchor: every chain would be refused")
        if signer is not None and not verifier.trusts(_speaks(signer), issuer):
            raise ConfigurationError(f"no trust anchor lets the signer's key speak for `{issuer}`")
        self.keyring = keyring
        self.ring = Ring(() if signer is None else (Held(signer.key.jwk, "active", 0),))
        self.found: tuple[str, ...] = ()
        self._verifier = verifier
        self._issuer = issuer
        self._signer = signer
        self._configured = verifier.anchors
        if keyring is not None:
            self._settle(desk, keyring)

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
        """
        signer = self._signer
        if signer is None:
            detail = "no key of the issuer is active, so that nothing is signed; activate one"
            raise KeyRingError(detail, Reason.SIGNING_KEY_MISSING)
        return signer

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


def _speaks(signer: Signer) -> PublicKey:
    """Return the key that has to be an anchor: a signer's own, or the one that certified it."""
    return signer.certificate.certifier if isinstance(signer, CertifiedSigner) else signer.key


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
