"""What a revocation fells, as far as the ledger holds it.

The law of this file: a revocation stands before anybody counts. Counting reads rows and never decides; it is bounded,
and what was not counted fell all the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from collections.abc import Set as AbstractSet
from itertools import islice

from msgspec import UnsetType

from chain import certificate, jws, mint
from chain.anchor import TrustAnchor
from chain.base64url import b64decode, b64encode
from chain.certificate import CertificateError
from chain.control import key_struck
from chain.errors import StoreError
from chain.jws import Frame, JoseError
from chain.key import THUMBPRINT_URI, PublicKey
from chain.ledger import Store
from chain.row import DelegationRow
from chain.view import MAX_COUNTED, MAX_LISTED, Revoked, Struck

PAGE = 1_000
"""Rows read at once."""

MAX_ROOTS = 10_000
"""Roots whose signature is looked at, to find those of one key: a second of work."""


class Fall:
    """Counts what falls, and tells whether something fell by name."""

    def __init__(self, store: Store, anchors: Callable[[], Iterable[TrustAnchor]]) -> None:
        """Count what a store holds.

        Args:
            store: the ledger.
            anchors: gives the keys that sign roots, and those that once did: what fell must still be told.
        """
        self._store = store
        self._anchors = anchors

    def felled(self, struck: Struck) -> Revoked:
        """Count what a revocation felled: what bears the name and all that lived beneath, whenever it is asked."""
        found: dict[bytes, None] = {}
        whole = True
        try:
            for digest, itself in self._starts(struck):
                if digest not in found:
                    self._fell(digest, found, struck, itself=itself)
                whole = len(found) <= MAX_COUNTED
                if not whole:
                    break
        except StoreError:  # the revocation stands, whether or not anybody can count
            whole = False
        listed = tuple(map(b64encode, islice(found, MAX_LISTED)))
        return Revoked(listed, len(found), struck.revision, at_least=not whole)

    def _fell(self, digest: bytes, found: dict[bytes, None], struck: Struck, *, itself: bool) -> None:
        if itself:
            found[digest] = None
        left = MAX_COUNTED + 1 - len(found)
        beneath = self._store.descendants(digest, now=struck.now, until=struck.until, limit=left)
        found.update(dict.fromkeys(beneath))

    def _starts(self, struck: Struck) -> Iterator[tuple[bytes, bool]]:
        """Yield where something falls, and whether that falls itself or only what lies beneath it."""
        for name in struck.names:
            if struck.kind == "delegation":
                yield b64decode(name.encode()), True
            elif struck.kind == "key":
                yield from ((row.digest, False) for row in self._rows(struck, holder=name))
                yield from ((row.digest, True) for row in self._roots(name, struck))
            elif struck.kind == "holder":
                yield from ((row.digest, True) for row in self._rows(struck, holder=name))
            elif struck.kind == "task":
                yield from ((row.digest, True) for row in self._rows(struck, task=name))
            else:
                yield from ((row.digest, True) for row in self._rows(struck, issuer=name))

    def _rows(
        self, struck: Struck, holder: str | None = None, task: str | None = None, issuer: str | None = None
    ) -> Iterator[DelegationRow]:
        """Yield live rows, ordered by revision: ancestors before what lies beneath them."""
        after = 0
        while True:
            rows = self._store.delegations(
                now=struck.now, holder=holder, task=task, issuer=issuer, after=after, limit=PAGE
            )
            if not rows:
                return
            for row in rows:
                if row.revision > struck.until:
                    return
                yield row
            after = rows[-1].revision

    def _roots(self, thumbprint: str, struck: Struck) -> Iterator[DelegationRow]:
        """Yield the live roots that a key signed or certified; a row does not say which did, its token does."""
        anchors = [one for one in self._anchors() if one.certifies or one.key.thumbprint == thumbprint]
        for number, row in enumerate(self._issued(anchors, struck)):
            if number == MAX_ROOTS:
                raise StoreError("too many roots to look at every signature")
            if _signed(row, anchors, {("key", thumbprint)}):
                yield row

    def _issued(self, anchors: list[TrustAnchor], struck: Struck) -> Iterator[DelegationRow]:
        if any(anchor.issuer is None for anchor in anchors):
            yield from (row for row in self._rows(struck) if row.depth == 0)
            return
        for issuer in sorted({anchor.issuer for anchor in anchors if anchor.issuer is not None}):
            yield from self._rows(struck, issuer=issuer)

    def struck(self, path: list[DelegationRow], struck: AbstractSet[tuple[str, str]]) -> bool:
        """Tell whether something of a stored chain was revoked by name.

        Args:
            path: rows, root first.
            struck: (kind, name) of what was.
        """
        if not struck:
            return False
        root = path[0]
        if not struck.isdisjoint({("issuer", root.issuer), ("task", root.task)}):
            return True
        if any(("holder", name) in struck for row in path for name in _holders(row)):
            return True
        if any(("key", row.issuer.removeprefix(THUMBPRINT_URI)) in struck for row in path[1:]):
            return True
        return _signed(root, self._anchors(), struck)


def _holders(row: DelegationRow) -> tuple[str, ...]:
    """Return all that a delegation's holder is called: a row has one name, and its token may be bound to two."""
    return mint.unverified(row.token.decode()).names


def _signed(root: DelegationRow, anchors: Iterable[TrustAnchor], struck: AbstractSet[tuple[str, str]]) -> bool:
    """Tell whether a key signed a root that was revoked by its name."""
    try:
        frame = jws.split(root.token.decode())
    except JoseError:
        return False
    return any(
        key_struck(struck, *names) and key.alg == frame.header.alg and frame.signed_by(key)
        for key, names in _signers(frame, anchors)
    )


def _signers(frame: Frame, anchors: Iterable[TrustAnchor]) -> Iterator[tuple[PublicKey, tuple[str, ...]]]:
    """Yield who may have signed a root, and by which names: the anchors' keys, and the one that it shows certified."""
    certifiers = {}
    for anchor in anchors:
        if anchor.certifies:
            certifiers[anchor.key.thumbprint] = anchor.key
        else:
            yield anchor.key, (anchor.key.thumbprint,)
    if isinstance(frame.header.chain_certificate, UnsetType):
        return
    try:
        found = certificate.verify(frame.header.chain_certificate, certifiers)
    except CertificateError:
        return
    yield found.key, (found.key.thumbprint, found.certifier.thumbprint)
