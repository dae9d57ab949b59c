"""What a server is told: flags, environment and one TOML file.

The law of this file: values only, each with its bound and its description; nothing is opened here. What is unknown
is refused, because a setting that is silently ignored is a server that is weaker than its owner thinks.
"""

from __future__ import annotations

import argparse
import os
import sys
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError
from pydantic_settings import (
    BaseSettings,
    CliSettingsSource,
    InitSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
)

from chain.certificate import MAX_WINDOW, WINDOW
from chain.errors import ConfigurationError
from chain.grant import LABELS
from chain.service.manual import manual
from chain.service.tables import (
    AgentSettings,
    AnchorSettings,
    CallerSettings,
    CheckpointSettings,
    IdentitySettings,
    LifetimeSettings,
    PaceSettings,
    Pkcs11Settings,
    SignalSettings,
    Text,
    VaultSettings,
)
from chain.state import DEFAULT_LIFETIME, MAX_LIFETIME, MUST_NAME, MustName

PREFIX = "CHAIN_SERVE_"
"""Of every environment variable that is read."""

MEGABYTE = 1 << 20


class ServeSettings(BaseSettings):
    """Serve an authority over gRPC.

    Settings come from flags, from the environment (CHAIN_SERVE_LISTEN and so on) and from a TOML file, in this
    order of precedence. Lists and tables are JSON on the command line and in the environment.
    """

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        extra="forbid",
        frozen=True,
        cli_kebab_case=True,
        cli_implicit_flags=True,
        cli_hide_none_type=True,
    )

    config: Path | None = Field(None, description="TOML file with these settings")
    listen: str = Field("127.0.0.1:50051", description="host:port; port 0 takes a free one; empty: sockets only")
    tls_cert: Path | None = Field(None, description="PEM file, certificate chain")
    tls_key: Path | None = Field(None, description="PEM file, private key; readable by its owner only")
    mtls_listen: str = Field("", description="host:port for workloads that show an X.509-SVID; empty: none")
    http_listen: str = Field("", description="host:port of what is published over HTTP; empty: none; extra `web`")
    ui: bool = Field(default=False, description="show the record at /ui of `http_listen`, as a page that stays live")
    identity: IdentitySettings | None = Field(None, description="the server's own SVID, and whom it knows")
    sockets: Path | None = Field(None, description="directory of the callers' own sockets; made with mode 0700")
    ledger: Literal["memory"] | Path = Field(description="directory of the ledger, or `memory` to keep nothing")
    all_synced: bool = Field(default=False, description="let read decisions, too, survive power loss before the answer")
    audience: Text = Field(description="this authority's own audience: `aat_aud` of proofs for Delegate and Revoke")
    issuer: Text | None = Field(None, description="URI of the issuer of the roots that are made here")
    issuer_key: Path | None = Field(None, description="file with the issuer's private JWK, plain or sealed, mode 0600")
    key_ring: Path | None = Field(None, description="directory of the issuer's keys, instead of `issuer_key`")
    issuer_pkcs11: Pkcs11Settings | None = Field(None, description="the issuer's key in an HSM, instead; extra pkcs11")
    issuer_vault: VaultSettings | None = Field(None, description="the issuer's key in Vault or OpenBao, instead")
    certified_for: int = Field(
        WINDOW, ge=600, le=MAX_WINDOW, description="seconds for which an HSM or Vault certifies a key that signs"
    )
    custody: Path | None = Field(
        None, description="directory of the agents' keys that are kept here, sealed; made with mode 0700"
    )
    passphrase_file: Path | None = Field(None, description="file with the passphrase of a sealed key, mode 0600")
    anchors: tuple[AnchorSettings, ...] = Field((), description="keys that roots may be signed with")
    policy: Literal["default", "none"] | Path = Field(
        "default",
        description="bundle to begin with, where the ledger holds none: a folder, `default` for the one that ships, "
        "or `none` to let the chain alone decide",
    )
    approval_lifetime: int = Field(900, gt=0, le=86400, description="seconds that people have to answer, and to use it")
    max_waiting: int = Field(8, gt=0, le=1000, description="requests for approval that one holder may have open")
    max_waiting_root: int = Field(32, gt=0, le=10_000, description="the same, of all under one root")
    max_waiting_all: int = Field(512, gt=0, le=100_000, description="the same, of everybody; kept in memory")
    max_workers: int = Field(256, ge=0, le=100_000, description="workers that one agent may enrol, theirs included")
    status_list: Text | None = Field(None, description="URI of the Token Status List of the roots that are made here")
    shadow: frozenset[Literal["policy", "class"]] = Field(
        frozenset(), description="kinds of refusals that are answered with DENY and not enforced yet"
    )
    checkpoints: CheckpointSettings = Field(CheckpointSettings(), description="who signs for the record, and how often")
    pace: PaceSettings = Field(PaceSettings(), description="rate limit and circuit breaker")
    signals: tuple[SignalSettings, ...] = Field((), description="whose security events are taken")
    catalogue: Path | None = Field(None, description="TOML or JSON file: tool -> class, sensitivity, target, label")
    labels: tuple[str, ...] = Field(LABELS, min_length=1, description="data labels, lowest first")
    profile: Literal["sound", "aat-01"] = Field(
        "sound", description="how containment is judged, and how strict proofs are"
    )
    max_lifetime: int = Field(MAX_LIFETIME, gt=0, le=MAX_LIFETIME, description="longest life of any token, seconds")
    default_lifetime: int = Field(
        DEFAULT_LIFETIME,
        gt=0,
        description="life of a root that asks for none, where no tool's ceiling is lower; seconds",
    )
    lifetimes: LifetimeSettings = Field(
        LifetimeSettings(), description="longest life of a root, by the sensitivity and the class of what it grants"
    )
    roots_must_name: frozenset[MustName] = Field(
        MUST_NAME, description="what a root is not issued without: `owner`, `purposes`, `task`"
    )
    callers: tuple[CallerSettings, ...] = Field((), description="who may call, and what for")
    agents: tuple[AgentSettings, ...] = Field((), description="keys to be enrolled at the start")
    reflection: bool = Field(default=False, description="describe the services to authenticated callers")
    max_message_bytes: int = Field(4 * MEGABYTE, ge=65536, le=64 * MEGABYTE, description="bytes of one message")
    max_concurrent_rpcs: int = Field(1000, gt=0, description="calls at once, of all callers; more are refused")
    max_calls_per_caller: int = Field(256, gt=0, description="calls at once of one caller; revocations come on top")
    max_streams_per_caller: int = Field(32, gt=0, description="streams at once of one caller")
    graph_memory: int = Field(
        2048, ge=256, le=1_048_576, description="megabytes that answers about the graph may take, in a process apart"
    )
    stream_idle: float = Field(600, gt=0, description="seconds until a stream that says nothing is ended")
    max_connection_age: int = Field(600, gt=0, description="seconds until a connection is asked to reconnect")
    drain: float = Field(10, ge=0, description="seconds that calls have to end when the server stops")
    accept_clock: bool = Field(
        default=False, description="go on although the clock is behind the ledger, once somebody has looked; recorded"
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="info: a line for each call")

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Read what is given here only: no `.env` file that happens to lie about."""
        return (init_settings,)


def load(args: Sequence[str]) -> ServeSettings:
    """Return the settings that flags, environment and file give together.

    Args:
        args: the command line after the command's name. ``--help`` prints the help and exits.

    Raises:
        ConfigurationError: an unknown key, or a value that is out of its bounds.
    """
    file = _file(args)
    _refuse_unknown_environment()

    class Loaded(ServeSettings):
        """Adds the sources of this one call."""

        @classmethod
        def settings_customise_sources(
            cls,
            settings_cls: type[BaseSettings],
            init_settings: PydanticBaseSettingsSource,
            env_settings: PydanticBaseSettingsSource,
            dotenv_settings: PydanticBaseSettingsSource,
            file_secret_settings: PydanticBaseSettingsSource,
        ) -> tuple[PydanticBaseSettingsSource, ...]:
            """Flags before environment before file."""
            flags = CliSettingsSource[Any](
                ServeSettings,
                cli_prog_name="chain serve",
                cli_parse_args=list(args),
                cli_enforce_required=False,
                cli_exit_on_error=False,
            )
            return flags, env_settings, InitSettingsSource(settings_cls, init_kwargs=file)

    try:
        return Loaded()
    except SystemExit as leave:
        if not leave.code:  # the help was asked for
            sys.stdout.write(manual(ServeSettings.model_fields, PREFIX))
        raise
    except ValidationError as error:
        raise ConfigurationError(explain(error)) from None
    except SettingsError as error:
        raise ConfigurationError(str(error)) from None


def explain(error: ValidationError) -> str:
    """Say what is wrong with the settings, without repeating any value."""
    faults = error.errors(include_url=False, include_context=False, include_input=False)
    return "; ".join(f"`{'.'.join(map(str, fault['loc']))}`: {fault['msg']}" for fault in faults)


def _file(args: Sequence[str]) -> dict[str, Any]:
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--config", type=Path)
    named = parser.parse_known_args(list(args))[0].config or os.environ.get(f"{PREFIX}CONFIG")
    if not named:
        return {}
    try:
        with Path(named).open("rb") as file:
            return tomllib.load(file)
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise ConfigurationError(f"config file `{named}`: {error}") from None


def _refuse_unknown_environment() -> None:
    known = {f"{PREFIX}{name}".upper() for name in ServeSettings.model_fields}
    unknown = sorted(name for name in os.environ if name.upper().startswith(PREFIX) and name.upper() not in known)
    if unknown:
        raise ConfigurationError(f"unknown settings in the environment: {', '.join(unknown)}")
