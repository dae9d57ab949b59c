"""Where a server's identities come from, put together from its settings."""

from __future__ import annotations

import time
from collections.abc import Callable

from chain.errors import ConfigurationError
from chain.identity.files import FileSource
from chain.identity.material import Material, Report, Source, quiet
from chain.identity.workloadapi import WorkloadSource
from chain.service.tables import IdentitySettings


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
