"""The tables of a server's settings: anchors, callers, agents, and the rest that comes in lists.

The law of this file: values only, each with its bound and its description; what is unknown is refused.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias, cast

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, model_validator

from chain.caller import Role
from chain.catalog import Sensitivity
from chain.grant import ActionClass
from chain.principal import Kind
from chain.signal import KINDS
from chain.signal import Kind as EventKind
from chain.state import MAX_LIFETIME

Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$")]
Hex = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Text = Annotated[str, Field(min_length=1, max_length=1024)]
Jwk: TypeAlias = dict[str, Any]


class Strict(BaseModel):
    """A table that has no member which nobody reads."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Keyed(Strict):
    """Something that has a public key: the JWK itself, or the name of a file that holds it."""

    jwk: Jwk | None = Field(None, description="the public key as a JWK")
    jwk_file: Path | None = Field(None, description="file with the public key as a JWK")


class CeilingSettings(Strict):
    """What the roots of one anchor may ask for (`chain.anchor.Ceiling`); what is absent does not restrict."""

    tools: frozenset[str] | None = Field(None, description="names of tools")
    classes: frozenset[Literal["read", "write", "act"]] | None = Field(None, description="action classes")
    classification: str | None = Field(None, description="highest data label")
    subjects: frozenset[str] | None = Field(None, description="values of `sub`")
    lifetime: int | None = Field(None, gt=0, le=MAX_LIFETIME, description="longest life of a root, seconds")


class AnchorSettings(Keyed):
    """A key that roots may be signed with, or one that certifies such keys."""

    iss: Text | None = Field(None, description="the only issuer it may speak for; absent: any")
    ceiling: CeilingSettings = Field(CeilingSettings(), description="what its roots may ask for")
    certifies: bool = Field(default=False, description="it certifies keys that sign roots, and signs none; needs `iss`")


class Pkcs11Settings(Strict):
    """A key in a PKCS#11 token, which certifies the short-lived keys that sign."""

    module: Path = Field(description="the vendor's shared library, an absolute path")
    token_label: Text = Field(description="label of the token")
    pin_file: Path = Field(description="file with the user's PIN, mode 0600")
    key_label: Text | None = Field(None, description="label of the key")
    key_id: Annotated[str, Field(pattern=r"^([0-9a-f]{2}){1,64}$")] | None = Field(
        None, description="id of the key, hexadecimal; beside its label or instead of it"
    )


class VaultSettings(Strict):
    """A key in the transit engine of Vault or OpenBao, which certifies the short-lived keys that sign."""

    address: Text = Field(description="https://host:port; plain http to this machine alone")
    key: Text = Field(description="name of the key")
    token_file: Path = Field(description="file with a token that may read the key and sign with it, mode 0600")
    mount: Text = Field("transit", description="path of the engine")
    namespace: str = Field("", description="namespace of the engine; empty: none")
    ca_file: Path | None = Field(
        None, description="PEM file of the authorities of its certificate; absent: the system's"
    )


class CredentialSettings(Strict):
    """One bearer secret, by its SHA-256."""

    sha256: Hex = Field(description="SHA-256 of the secret, hexadecimal")
    not_after: AwareDatetime | None = Field(None, description="when it ends")

    @model_validator(mode="before")
    @classmethod
    def _short_form(cls, value: object) -> object:
        return {"sha256": value} if isinstance(value, str) else value


class PersonSettings(Strict):
    """Who a caller is at an OpenID provider; everything that is stated must hold."""

    issuer: Text = Field(description="one of `identity.oidc`")
    subject: Text | None = Field(None, description="`sub`; absent: everybody of whom the claims hold")
    claims: dict[Text, Text] = Field({}, description="claim: what it is, or has among others; `email` when verified")


class CallerSettings(Keyed):
    """Somebody who may call, and what for."""

    name: Name = Field(description="stands in the ledger and the log, and names the socket")
    roles: frozenset[Role] = Field(min_length=1, description="what it may do")
    credentials: tuple[CredentialSettings, ...] = Field(
        (), description="its secrets, each a table or just its hash; several while one is replaced"
    )
    audience: Text | None = Field(None, description="the enforcement point that it is: `aat_aud` of proofs to it")
    thumbprint: str | None = Field(None, description="of an agent's own key, instead of the key")
    socket: bool = Field(default=False, description="give it a unix socket of its own: SOCKETS/NAME/chain.sock")
    spiffe: str | None = Field(
        None, description="SPIFFE id whose SVIDs speak for it; at its end `/*` is one segment, `/**` any number"
    )
    oidc: PersonSettings | None = Field(None, description="person, or people, whose OIDC tokens speak for it")
    vouches: tuple[str, ...] = Field(
        (), description="of an enforcement point: SPIFFE ids, as `spiffe`, of holders that it authenticates by itself"
    )
    uid: int | None = Field(None, ge=0, description="the user that gets the socket; without it, the server's own")
    custody: bool = Field(
        default=False, description="its key is kept by the server, for `agent` or for the ids of `spiffe`"
    )
    agent: str | None = Field(None, description="with `custody` on a socket: the agent that it is, by its SPIFFE id")

    @property
    def ward(self) -> str | None:
        """The id or pattern of the agents whose keys are kept for this caller."""
        return (self.spiffe if self.agent is None else self.agent) if self.custody else None

    @property
    def of_many(self) -> bool:
        """Whether this line stands for any number of callers, who are each called by a name of their own."""
        pattern = self.spiffe is not None and self.spiffe.endswith("*")
        return pattern or (self.oidc is not None and self.oidc.subject is None)


class AgentSettings(Keyed):
    """A key to be enrolled when the server starts, or whenever one is made that the server keeps."""

    id: str = Field(description="SPIFFE-style id; with `custody` also a pattern, as the caller's `spiffe`")
    kind: Kind = Field("agent", description="human, agent or service")
    owner: str = Field(description="accountable person or team")
    svid: bool = Field(default=False, description="instead of a key: enrol the id itself, for which its SVID speaks")
    custody: bool = Field(default=False, description="instead of a key: the server makes one and keeps it")
    under: str | None = Field(None, description="thumbprint of the agent that this worker belongs to")
    review: str | None = Field(None, description="day of its next review, YYYY-MM-DD; `chain controls report` tells")


class LifetimeSettings(Strict):
    """How long a root may live that grants a tool of that sensitivity, or of that class; the lowest counts.

    Each sensitivity has half of the one below. The shortest is as long as people have to answer a request for approval
    (`approval_lifetime`): a root that lived shorter would be dead by the time that they have. A tool that no
    catalogue lists is critical.
    """

    low: int = Field(7200, gt=0, le=MAX_LIFETIME, description="seconds; of tools of low sensitivity")
    moderate: int = Field(3600, gt=0, le=MAX_LIFETIME, description="seconds; of moderate sensitivity")
    high: int = Field(1800, gt=0, le=MAX_LIFETIME, description="seconds; of high sensitivity")
    critical: int = Field(900, gt=0, le=MAX_LIFETIME, description="seconds; critical, or in no catalogue")
    read: int | None = Field(None, gt=0, le=MAX_LIFETIME, description="seconds; of tools that read; absent: as above")
    write: int | None = Field(None, gt=0, le=MAX_LIFETIME, description="seconds; of tools that write")
    act: int | None = Field(None, gt=0, le=MAX_LIFETIME, description="seconds; of tools that act")

    @property
    def ceilings(self) -> dict[Sensitivity | ActionClass, int]:
        """Those that are set."""
        return cast("dict[Sensitivity | ActionClass, int]", self.model_dump(exclude_none=True))


class PaceSettings(Strict):
    """How fast a principal may act, and when it is stopped without anybody saying so (`chain.pace.Breaker`)."""

    window: int = Field(60, gt=0, le=3600, description="seconds that are looked back on")
    calls: int = Field(0, ge=0, description="calls in a window that a principal may make; 0 for any number")
    denials: int = Field(0, ge=0, description="denied calls in a window that suspend a principal; 0 for never")
    delegations: int = Field(0, ge=0, description="delegations in a window that suspend their maker; 0 for never")
    outstanding: int = Field(
        0,
        ge=0,
        le=100_000,
        description="delegations of one principal that have not ended; 0 for any number",
    )
    cooldown: int = Field(300, gt=0, le=86400, description="seconds that such a suspension lasts")


class CheckpointSettings(Strict):
    """Who signs for the record, how often, and who has seen it (`chain.auditing`)."""

    key_file: Path | None = Field(
        None,
        description="private Ed25519 JWK, plain or sealed, for this alone; absent: one beside the ledger, made new",
    )
    origin: Text | None = Field(None, description="name of the log; absent: `audience` without its scheme")
    every: float = Field(60, gt=0, le=86400, description="seconds between two checkpoints, if something happened")
    copy_to: Path | None = Field(
        None, description="file elsewhere that holds the last checkpoint: a ledger that does not continue it is refused"
    )
    accept_ledger: tuple[Text, ...] = Field(
        (),
        description="checkpoints that the ledger need not continue, as the refusal to start names them; it is recorded",
    )
    witnesses: tuple[Text, ...] = Field((), description="verifier keys of witnesses whose cosignatures are taken")
    former: tuple[Text, ...] = Field((), description="verifier keys that signed for this ledger before `key_file`")


class SignalSettings(Keyed):
    """Somebody whose security events are taken (`chain.signal.Transmitter`); one item for each key of an issuer."""

    iss: Text = Field(description="`iss` of its tokens")
    may: frozenset[EventKind] = Field(KINDS, min_length=1, description="events that it may signal; absent: all of them")
    trust_domains: frozenset[str] | None = Field(
        None, min_length=1, description="whose principals it may speak of; absent: everybody's"
    )


class BundleSettings(Strict):
    """The bundle of a trust domain, in a file."""

    trust_domain: Text = Field(description="its name")
    file: Path = Field(
        description="SPIFFE bundle (JSON), or the authorities' certificates (PEM); read anew when it changes"
    )


Algorithm: TypeAlias = Literal["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"]


class OidcSettings(Strict):
    """An OpenID provider whose tokens `listen` takes from people."""

    issuer: Text = Field(description="`iss` of its tokens, compared as it stands; https, or http to this machine")
    audience: tuple[Text, ...] = Field(min_length=1, description="`aud` of its tokens for this service; one will do")
    authorized_parties: tuple[Text, ...] = Field(
        (),
        description="clients that it may have made a token for (`azp`, `client_id`); absent: any, where the token is "
        "meant for this service alone, else `audience`",
    )
    jwks_uri: Text | None = Field(None, description="where its keys are; absent: where its description says")
    jwks_file: Path | None = Field(None, description="instead: file with its keys, read anew when it changes")
    ca: Path | None = Field(None, description="PEM file, authorities of its certificate; absent: the system's")
    algorithms: frozenset[Algorithm] = Field(
        frozenset({"RS256", "PS256", "ES256", "EdDSA"}), min_length=1, description="what it signs with"
    )
    max_age: float = Field(300, ge=10, le=86400, description="seconds after which its keys are read again")
    max_stale: float = Field(
        3600, ge=10, le=604800, description="seconds that its keys are believed while it cannot be reached"
    )


class IdentitySettings(Strict):
    """Where the server's own SVID and the bundles of trust domains come from, and who knows its people."""

    workload_api: Text | None = Field(None, description="address of the SPIFFE Workload API, `unix:PATH`")
    spiffe_id: Text | None = Field(
        None, description="which SVID to take where the Workload API gives several; absent: the first"
    )
    svid_cert: Path | None = Field(
        None, description="instead: PEM file, the server's X.509-SVID with its intermediates"
    )
    svid_key: Path | None = Field(None, description="PEM file, its private key; readable by its owner only")
    bundles: tuple[BundleSettings, ...] = Field((), description="trust domains, beside what the Workload API names")
    jwt_audience: tuple[Text, ...] = Field((), description="`aud` of JWT-SVIDs that `listen` takes; absent: none is")
    oidc: tuple[OidcSettings, ...] = Field((), description="providers whose people may call")
