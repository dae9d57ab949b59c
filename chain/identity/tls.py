"""A server's side of mutual TLS: its own SVID, everybody who may shake hands, and who they turn out to be.

The law of this file: the handshake lets in whom any bundle knows, and that decides nothing; whose certificate it was
is verified on every call against the bundle of the id's own trust domain (`chain.identity.x509svid`).
"""

from __future__ import annotations

from collections.abc import Callable, Collection

from cryptography.hazmat.primitives.serialization import Encoding

from chain.errors import ConfigurationError
from chain.identity.jwtsvid import JwtVerifier
from chain.identity.material import Material, Source
from chain.identity.x509svid import X509Verifier
from chain.peer import Tls, Workload


class Channels:
    """What a source gives a server (`chain.service.callers.Workloads`)."""

    def __init__(
        self, source: Source, clock: Callable[[], float], audiences: Collection[str] = (), *, mutual: bool = True
    ) -> None:
        """Serve with a source's material.

        Args:
            source: owned by whoever made it.
            clock: seconds since the epoch.
            audiences: what JWT-SVIDs that are taken must be meant for; none: none is taken.
            mutual: whether there is to be mutual TLS, for which the server needs an SVID of its own.

        Raises:
            ConfigurationError: no SVID, one that has ended, or nobody to trust.
        """
        self._source = source
        self._verifier = X509Verifier(source, clock)
        self._tokens = JwtVerifier(source, audiences, clock)
        self._tls: Tls | None = None
        material = source.current()
        if not mutual:
            return
        if material.svid is None:
            raise ConfigurationError("`mtls_listen` needs an SVID of the server's own: `identity` names none")
        if material.svid.expires <= clock():
            raise ConfigurationError(f"the server's SVID `{material.svid.id}` has expired")
        if not _roots(material):
            raise ConfigurationError("no trust domain has an authority: nobody could connect")

    def tls(self) -> Tls:
        """Return what the next handshake is made with; what a source lost is kept."""
        material, known = self._source.current(), self._tls
        if known is None or known.version != material.version:
            svid, roots = material.svid, _roots(material)
            if svid is None or not roots:
                if known is None:
                    raise ConfigurationError("the server's own SVID is gone")
                return known
            known = self._tls = Tls(svid.key, svid.chain, roots, material.version)
        return known

    def channel(self, chain: bytes) -> Workload:
        """Return the workload that a channel proved.

        Raises:
            IdentityError: it proves none.
        """
        return self._verifier.verify(chain)

    def bearer(self, token: str) -> Workload:
        """Return the workload that a JWT-SVID names.

        Raises:
            IdentityError: it names none.
        """
        return self._tokens.verify(token)


def _roots(material: Material) -> bytes:
    found = {one for bundle in material.bundles.values() for one in bundle.authorities}
    return b"".join(sorted(one.public_bytes(Encoding.PEM) for one in found))
