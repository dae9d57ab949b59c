"""Ids that are not strict, each with its twin: the same id but for the one thing. Certificates and tokens hold both."""

from __future__ import annotations

from chain.identity.fault import Fault

LONG = "a" * 255
"""The longest name of a trust domain."""

IDS: list[tuple[Fault, str, str]] = [
    (Fault.ID_SCHEME, "https://a.test/x", "spiffe://a.test/x"),
    (Fault.ID_SCHEME, "SPIFFE://a.test/x", "spiffe://a.test/x"),
    (Fault.ID_SCHEME, "spiffe:/a.test/x", "spiffe://a.test/x"),
    (Fault.ID_SCHEME, "a.test/x", "spiffe://a.test/x"),
    (Fault.ID_TRUST_DOMAIN, "spiffe://A.test/x", "spiffe://a.test/x"),
    (Fault.ID_TRUST_DOMAIN, "spiffe://a.test:443/x", "spiffe://a.test/x"),
    (Fault.ID_TRUST_DOMAIN, "spiffe://u@a.test/x", "spiffe://a.test/x"),
    (Fault.ID_TRUST_DOMAIN, "spiffe://a%2etest/x", "spiffe://a.test/x"),
    (Fault.ID_TRUST_DOMAIN, "spiffe:///a.test/x", "spiffe://a.test/x"),
    (Fault.ID_TRUST_DOMAIN, f"spiffe://{LONG}a/x", f"spiffe://{LONG}/x"),
    (Fault.ID_PATH_MISSING, "spiffe://a.test", "spiffe://a.test/x"),
    (Fault.ID_PATH, "spiffe://a.test/", "spiffe://a.test/x"),
    (Fault.ID_PATH, "spiffe://a.test/x/", "spiffe://a.test/x"),
    (Fault.ID_PATH, "spiffe://a.test/x//y", "spiffe://a.test/x/y"),
    (Fault.ID_PATH, "spiffe://a.test/x/./y", "spiffe://a.test/x/.../y"),
    (Fault.ID_PATH, "spiffe://a.test/x/../y", "spiffe://a.test/x/..y"),
    (Fault.ID_PATH, "spiffe://a.test/x%2f", "spiffe://a.test/x2f"),
    (Fault.ID_PATH, "spiffe://a.test/x?y", "spiffe://a.test/xy"),
    (Fault.ID_PATH, "spiffe://a.test/x#y", "spiffe://a.test/xy"),
    (Fault.ID_PATH, "spiffe://a.test/x\\y", "spiffe://a.test/xy"),
    (Fault.ID_TOO_LONG, "spiffe://a.test/" + "x" * 2033, "spiffe://a.test/" + "x" * 2032),
]
