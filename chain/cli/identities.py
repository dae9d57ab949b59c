"""Where a server's identities come from, put together from its settings."""

from __future__ import annotations

import time
from collections.abc import Callable

from chain.errors import ConfigurationError
from chain.identity.document import Web, require_url
from chain.identity.files import FileSource
from chain.identity.jwks import LOOK, Keys, Read, from_file, from_web
from chain.identity.material import Material, Report, Source, quiet
from chain.identity.oidc import Issuer, People
from chain.identity.workloadapi import WorkloadSource
from chain.service.tables import IdentitySettings, OidcSettings


def source_of(
    settings: IdentitySettings | None, report: Report = quiet, clock: Callable[[], float] = time.time
) -> Source | None:
    """Return where identities come from; None where nothing is configured. Waits for a Workload API's first answer.

    Args:
        settings: of the server.
        report: takes what operators should know, from any thread.
        clock: seconds since the epoch.

    Raises:
        ConfigurationError: the settings contradict themselves, or a file is no good.
        UnreachableError: the Workload API did not answer in time, or with no identity.
    """
    if settings is None:
        return None
    files = {one.trust_domain: one.file for one in settings.bundles}
    if len(files) < len(settings.bundles):
        raise ConfigurationError("`identity.bundles` names a trust domain twice")
    if settings.workload_api is None:
        if settings.spiffe_id is not None:
            raise ConfigurationError("`identity.spiffe_id` chooses among SVIDs of a Workload API; none is configured")
        return FileSource(settings.svid_cert, settings.svid_key, files, clock, report=report)
    if settings.svid_cert is not None or settings.svid_key is not None:
        raise ConfigurationError("an SVID comes from `identity.workload_api` or from files, not from both")
    extra = FileSource(None, None, files, clock, report=report)  # first: what is wrong with files need not wait
    api = WorkloadSource(settings.workload_api, clock, spiffe_id=settings.spiffe_id, report=report)
    return merged(api, extra)


def people_of(
    settings: IdentitySettings | None, report: Report = quiet, clock: Callable[[], float] = time.time
) -> People | None:
    """Return who knows the people of the configured OpenID providers; None where there are none. Waits for nobody.

    Args:
        settings: of the server.
        report: takes what operators should know, from any thread.
        clock: seconds since the epoch.

    Raises:
        ConfigurationError: an address will not do, or a file is no good.
    """
    if settings is None or not settings.oidc:
        return None
    reading = [(told, _reader(told)) for told in settings.oidc]  # all of them, before the first thread begins
    return People(
        [
            (
                Issuer(
                    told.issuer,
                    frozenset(told.audience),
                    frozenset(told.authorized_parties),
                    frozenset(told.algorithms),
                ),
                Keys(
                    told.issuer,
                    read,
                    every=told.max_age if told.jwks_file is None else LOOK,
                    stale=told.max_stale,
                    report=report,
                ),
            )
            for told, read in reading
        ],
        clock,
    )


def _reader(told: OidcSettings) -> Read:
    for name, url in (("issuer", told.issuer), ("jwks_uri", told.jwks_uri)):
        try:
            require_url(told.issuer if url is None else url, plain=True)
        except ValueError as error:
            raise ConfigurationError(f"`identity.oidc`: `{name}` is {error}") from None
    if told.jwks_file is None:
        return from_web(told.issuer, told.jwks_uri, Web(told.ca))
    read = from_file(told.jwks_file)
    try:
        read()
    except ValueError as error:
        raise ConfigurationError(f"keys of `{told.issuer}` in `{told.jwks_file}`: {error}") from None
    return read


def merged(source: Source, extra: Source) -> Source:
    """Return a source with the bundles of another beside its own; it closes both.

    Raises:
        ConfigurationError: both have a bundle of one trust domain; two are never joined.
    """
    if twice := source.current().bundles.keys() & extra.current().bundles.keys():
        source.close()
        extra.close()
        raise ConfigurationError(f"the bundle of `{min(twice)}` comes from the Workload API, and from a file too")
    return _Merged(source, extra)


class _Merged:
    """One source with the bundles of a second; where both come to know a domain, the first one's word counts."""

    def __init__(self, source: Source, extra: Source) -> None:
        self._source, self._extra = source, extra

    def current(self) -> Material:
        own, extra = self._source.current(), self._extra.current()
        return Material(own.svid, {**extra.bundles, **own.bundles}, own.version + extra.version)

    def close(self) -> None:
        self._source.close()
        self._extra.close()
