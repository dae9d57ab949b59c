"""Whether a host is this machine, to which one may speak without TLS.

The law of this file: a name is never resolved. `localhost` and addresses of the loopback network are this machine;
whatever else is not, or is no address, is somebody else's.
"""

from __future__ import annotations

import ipaddress


def is_loopback(host: str) -> bool:
    """Tell whether a host, an address or a name, is this machine."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"  # RFC 6761 s6.3
