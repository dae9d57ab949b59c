"""Every way in which identity material is wrong, named once.

The law of this file: a code is stable and says one thing; whoever presented the material learns the code and a
sentence, and nothing of what else is known here.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Self

from chain.errors import UnauthenticatedError


class Fault(StrEnum):
    """A stable machine code.

    Attributes:
        meaning: one sentence for a person.
    """

    meaning: str

    def __new__(cls, code: str, meaning: str) -> Self:
        member = str.__new__(cls, code)
        member._value_ = code
        member.meaning = meaning
        return member

    SVID_MISSING = "svid_missing", "the channel shows no certificate"
    SVID_MALFORMED = "svid_malformed", "the certificates cannot be read"
    SVID_TOO_MANY = "svid_too_many", "more certificates than a path may have"
    SVID_EXTENSION_UNREADABLE = "svid_extension_unreadable", "an extension cannot be read, or stands twice"
    SVID_URI_MISSING = "svid_uri_missing", "the certificate has no URI among its names"
    SVID_URI_MANY = "svid_uri_many", "the certificate has more than one URI among its names"
    ID_TOO_LONG = "id_too_long", "a SPIFFE id has at most 2,048 bytes"
    ID_SCHEME = "id_scheme", "the URI is not of the scheme spiffe"
    ID_TRUST_DOMAIN = "id_trust_domain", "the trust domain has another character than a-z, 0-9, dot, dash, underscore"
    ID_PATH_MISSING = "id_path_missing", "the id of a workload has a path"
    ID_PATH = "id_path", "the path has an empty, relative or foreign segment"
    SVID_IS_CA = "svid_is_ca", "an authority's certificate is no workload's"
    SVID_KEY_USAGE_MISSING = "svid_key_usage_missing", "the certificate says no key usage"
    SVID_KEY_USAGE_NOT_CRITICAL = "svid_key_usage_not_critical", "the key usage is not critical"
    SVID_NO_DIGITAL_SIGNATURE = "svid_no_digital_signature", "the key may not make digital signatures"
    SVID_SIGNS_CERTIFICATES = "svid_signs_certificates", "a workload's key may not sign certificates"
    SVID_SIGNS_CRLS = "svid_signs_crls", "a workload's key may not sign revocation lists"
    SVID_EXTENDED_KEY_USAGE = "svid_extended_key_usage", "the extended key usage is not of both server and client"
    SVID_KEY_WEAK = "svid_key_weak", "a key is neither RSA of 2,048 bits or more nor of P-256, P-384 or P-521"
    SVID_NOT_YET_VALID = "svid_not_yet_valid", "the certificate is not valid yet"
    SVID_EXPIRED = "svid_expired", "the certificate has expired"
    SVID_DOMAIN_UNTRUSTED = "svid_domain_untrusted", "no bundle of the id's trust domain is trusted here"
    SVID_PATH = "svid_path", "no valid path to an authority of the id's own trust domain"
    JWT_TOO_LONG = "jwt_too_long", "the token has more than 8 KiB, or its header more than one"
    JWT_MALFORMED = "jwt_malformed", "the token is no signed JWT in strict JSON and base64url"
    JWT_HEADER_UNKNOWN = "jwt_header_unknown", "the header has another member than alg, kid and typ"
    JWT_ALG = "jwt_alg", "the algorithm is not one of RS, ES and PS with 256, 384 or 512"
    JWT_TYP = "jwt_typ", "the type is neither JWT nor JOSE"
    JWT_KID_MISSING = "jwt_kid_missing", "the header names no key"
    JWT_SUB_MISSING = "jwt_sub_missing", "the token names no subject"
    JWT_DOMAIN_UNTRUSTED = "jwt_domain_untrusted", "no key of the subject's trust domain is trusted here"
    JWT_KID_UNKNOWN = "jwt_kid_unknown", "the subject's trust domain has no such key"
    JWT_KEY_UNFIT = "jwt_key_unfit", "the key is not one for signatures of this algorithm, or is too weak"
    JWT_SIGNATURE = "jwt_signature", "the signature is not the key's"
    JWT_AUD_MISSING = "jwt_aud_missing", "the token names no audience"
    JWT_AUD_MISMATCH = "jwt_aud_mismatch", "the token is meant for others"
    JWT_EXP_MISSING = "jwt_exp_missing", "the token says no end"
    JWT_TIME_MALFORMED = "jwt_time_malformed", "a time of the token is no whole number of seconds"
    JWT_EXPIRED = "jwt_expired", "the token has expired"
    JWT_NOT_YET_VALID = "jwt_not_yet_valid", "the token is not valid yet"
    JWT_LIFETIME = "jwt_lifetime", "the token lives longer than a day"
    OIDC_HEADER = "oidc_header", "the header names a key of its own, or changes what is signed"
    OIDC_TYP = "oidc_typ", "the type is neither JWT nor at+jwt"
    OIDC_ALG = "oidc_alg", "the algorithm is not one that is taken from this issuer"
    OIDC_ISSUER_MISSING = "oidc_issuer_missing", "the token names no issuer"
    OIDC_ISSUER_UNKNOWN = "oidc_issuer_unknown", "the token's issuer is not configured here"
    OIDC_KEYS_UNAVAILABLE = "oidc_keys_unavailable", "the issuer's keys could not be read, or not for too long"
    OIDC_KEY_UNKNOWN = "oidc_key_unknown", "the issuer publishes no such key"
    OIDC_KEY_AMBIGUOUS = "oidc_key_ambiguous", "the issuer publishes more than one key of that name"
    OIDC_EVENT = "oidc_event", "the token tells of events, and is no credential"
    OIDC_BOUND = "oidc_bound", "the token is bound to a key that a bearer does not show"
    OIDC_ACTOR = "oidc_actor", "somebody else acts for the person whom the token names"
    OIDC_SUBJECT = "oidc_subject", "the token names no subject of 1 to 255 printable ASCII characters"
    OIDC_PARTY_MISSING = "oidc_party_missing", "the token does not say for which client it was made, and must"
    OIDC_PARTY_MISMATCH = "oidc_party_mismatch", "the token was made for a client that is not authorized here"
    OIDC_IAT_MISSING = "oidc_iat_missing", "the token does not say when it was made"


class IdentityError(UnauthenticatedError):
    """Identity material that proves nothing.

    Attributes:
        fault: what is wrong with it.
    """

    def __init__(self, fault: Fault) -> None:
        self.fault = fault
        super().__init__(f"{fault.meaning} ({fault.value})")
