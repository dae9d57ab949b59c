"""Trust anchors: the keys accepted for a root, and how far each may reach.

The law of this file: a key is trusted for what its configuration says and no further. An anchor is bound to its
issuer (the draft leaves that open, so that anchor B could mint iss=A); an anchor without an issuer accepts any,
explicitly, for interop. One that certifies signs no root itself: it says which short-lived keys do.
"""

from __future__ import annotations

from dataclasses import dataclass

from chain.certificate import Certificate
from chain.delegation import Delegation
from chain.grant import rank
from chain.key import PublicKey


@dataclass(frozen=True, slots=True)
class Ceiling:
    """What the roots of one anchor may ask for; an absent member does not restrict.

    Attributes:
        tools: names of tools.
        classes: action classes; a root must then name its own.
        classification: highest data label; a root must then name its own.
        subjects: values of `sub`.
        lifetime: longest life of a root, seconds.
    """

    tools: frozenset[str] | None = None
    classes: frozenset[str] | None = None
    classification: str | None = None
    subjects: frozenset[str] | None = None
    lifetime: int | None = None

    def excess(self, root: Delegation, labels: tuple[str, ...]) -> str | None:
        """Return what a root asks beyond this ceiling, in words, or None."""
        if self.tools is not None and not root.grant.tools.keys() <= self.tools:
            extra = ", ".join(f"`{tool}`" for tool in sorted(root.grant.tools.keys() - self.tools)[:8])
            return f"tools {extra}"
        if self.classes is not None and (root.classes is None or not root.classes <= self.classes):
            return "action classes"
        if self.classification is not None:
            highest = rank(self.classification, labels)
            if root.rank is None or highest is None or root.rank > highest:
                return f"data above `{self.classification}`"
        if self.subjects is not None and (not root.extended or root.claims.sub not in self.subjects):
            return "another subject"
        if self.lifetime is not None and root.exp - root.iat > self.lifetime:
            return f"a life of {root.exp - root.iat} s, above {self.lifetime} s"
        return None


@dataclass(frozen=True, slots=True)
class TrustAnchor:
    """A key accepted for roots, or one that certifies such keys.

    Attributes:
        key: verifies the root's signature; where it certifies, that of key certificates and of nothing else.
        issuer: the only `iss` it may speak for; None accepts any.
        ceiling: what its roots may ask for, or those of the keys that it certifies.
        certifies: whether it certifies; then it has an issuer.
        certificate: of a key that another anchor certified; its roots are issued in the certificate's window.
    """

    key: PublicKey
    issuer: str | None = None
    ceiling: Ceiling = Ceiling()
    certifies: bool = False
    certificate: Certificate | None = None

    def __post_init__(self) -> None:
        """Refuse what cannot be meant.

        Raises:
            ValueError: it certifies for any issuer, or was itself certified.
        """
        if self.certifies and (self.issuer is None or self.certificate is not None):
            raise ValueError("an anchor that certifies has an issuer, and no certificate of its own")

    def covers(self, moment: int) -> bool:
        """Tell whether it may sign what is issued then."""
        return self.certificate is None or self.certificate.covers(moment)

    def excess(self, root: Delegation, labels: tuple[str, ...]) -> str | None:
        """Return what a root asks beyond this anchor, in words, or None."""
        if not self.covers(root.iat):
            return f"to be issued at {root.iat}, outside of its key's window"
        return self.ceiling.excess(root, labels)
