"""Credentials of a listener for mutual TLS that follow their source: an SVID lives an hour, a server for months.

The law of this file: who has no certificate that any trust domain knows does not finish the handshake; what a new
handshake is made with is asked for each of them, and a source that fails leaves what was there.
"""

from __future__ import annotations

import grpc

from chain.service.callers import Workloads


def mutual(workloads: Workloads) -> grpc.ServerCredentials:
    """Return credentials that are read anew for each handshake.

    Args:
        workloads: says what it is made with.

    Raises:
        ConfigurationError: it has nothing to begin with.
    """
    first = workloads.tls()
    held = [first.version]

    def fetch() -> grpc.ServerCertificateConfiguration | None:
        now = workloads.tls()
        if now.version == held[0]:
            return None  # nothing new
        held[0] = now.version
        return grpc.ssl_server_certificate_configuration([(now.key, now.chain)], now.roots)

    initial = grpc.ssl_server_certificate_configuration([(first.key, first.chain)], first.roots)
    return grpc.dynamic_ssl_server_credentials(
        initial,
        fetch,  # type: ignore[arg-type]  # None means that nothing changed, which the stubs do not know
        require_client_authentication=True,
    )
