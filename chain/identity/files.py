"""Identities from files: an X.509-SVID and its key in PEM, and a bundle for each trust domain.

The law of this file: files are read anew when they change, each part by itself. A part that is half written or bad
leaves the one before in its place and is told of once; a bundle never goes back to an older sequence; a key that others
may read is no key.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TypeAlias

from chain.errors import ConfigurationError
from chain.identity import bundle
from chain.identity.keyfile import read_private
from chain.identity.material import Material, Report, Svid, TrustBundle, quiet
from chain.identity.own import MAX_MATERIAL, from_pem

EVERY = 1.0
"""Seconds between two looks at the files: a look is a `stat` for each of them."""

RACY = 2.0
"""Seconds in which a file may change again without a trace in its times; one so young is read again."""

Seen: TypeAlias = tuple[tuple[int, int, int, int], ...]
"""What the file system says of the files of one part: inode, size and the two times of change."""


class FileSource:
    """What stands in files, followed. Usable from many threads."""

    def __init__(
        self,
        svid_cert: Path | None,
        svid_key: Path | None,
        bundles: Mapping[str, Path],
        clock: Callable[[], float],
        *,
        steady: Callable[[], float] = time.monotonic,
        report: Report = quiet,
    ) -> None:
        """Read all files for the first time.

        Args:
            svid_cert: PEM, the leaf and its intermediates; None for a source that only knows whom to trust.
            svid_key: PEM, its private key, in a file of mode 0600.
            bundles: trust domain -> file, SPIFFE's JSON or PEM.
            clock: seconds since the epoch.
            steady: seconds that never go back.
            report: takes what operators should know.

        Raises:
            ConfigurationError: a file cannot be read, others may use the key, or what they hold does not belong
                together or is expired.
        """
        if (svid_cert is None) is not (svid_key is None):
            raise ConfigurationError("an SVID needs both, its certificates and its private key")
        self._svid = None if svid_cert is None or svid_key is None else (svid_cert, svid_key)
        self._bundles = dict(bundles)
        self._clock, self._steady, self._report = clock, steady, report
        self._lock = threading.Lock()
        self._seen: dict[str, Seen | None] = {}
        self._told: dict[str, str] = {}
        self._looked = steady()
        self._material = Material(None, {}, 0)
        found = self._material
        for part in self._parts():
            found = self._read(part, found)
        self._material = replace(found, version=1)

    def current(self) -> Material:
        """Return what is valid now; a look at the files, at most once a second."""
        with self._lock:
            if self._steady() - self._looked >= EVERY:
                self._looked = self._steady()
                self._look()
            held = self._material
            if held.svid is not None and held.svid.expires <= self._clock():
                self._material = replace(held, svid=None, version=held.version + 1)
            return self._material

    def close(self) -> None:
        """Nothing is open between two looks."""

    def _look(self) -> None:
        found = held = self._material
        for part in self._parts():
            try:
                found = self._read(part, found)
            except ConfigurationError as error:
                if self._told.get(part) != error.detail:  # once, until it changes
                    self._told[part] = error.detail
                    self._report(f"{error.detail}; what was read before stays")
            else:
                self._told.pop(part, None)
        if found != held:
            self._material = replace(found, version=held.version + 1)

    def _parts(self) -> list[str]:
        return [*([""] if self._svid else []), *self._bundles]

    def _read(self, part: str, held: Material) -> Material:
        """Return the material with one part read, if its files changed; "" is the SVID, the others are bundles."""
        files = self._svid if not part and self._svid else (self._bundles[part],)
        seen = self._status(files)
        if seen is not None and self._seen.get(part) == seen:
            return held
        self._seen[part] = None  # if it is refused, it is tried again
        if not part and self._svid:
            found = replace(held, svid=self._read_svid(*self._svid))
        else:
            fresh = _read_bundle(part, self._bundles[part], held.bundles.get(part))
            found = replace(held, bundles={**held.bundles, part: fresh})
        self._seen[part] = seen
        return found

    def _status(self, files: tuple[Path, ...]) -> Seen | None:
        """Return what tells a change, or None where nothing does: a file that is missing, or too young."""
        try:
            found = [os.stat(file) for file in files]  # noqa: PTH116 - follows links: they are swapped to rotate
        except OSError:
            return None
        if any(self._clock() - one.st_mtime < RACY for one in found):
            return None
        return tuple((one.st_ino, one.st_size, one.st_mtime_ns, one.st_ctime_ns) for one in found)

    def _read_svid(self, cert: Path, key: Path) -> Svid:
        private = read_private(key)
        try:
            svid = from_pem(content(cert), private)
        except ValueError as error:
            raise ConfigurationError(f"SVID `{cert}` with key `{key}`: {error}") from None
        if svid.expires <= self._clock():
            raise ConfigurationError(f"SVID `{cert}`: it is expired")
        return svid


def _read_bundle(trust_domain: str, file: Path, held: TrustBundle | None) -> TrustBundle:
    try:
        fresh = bundle.read(trust_domain, content(file))
    except ValueError as error:
        raise ConfigurationError(f"bundle `{file}` of `{trust_domain}`: {error}") from None
    before = None if held is None else held.sequence
    if before is not None and (fresh.sequence is None or fresh.sequence < before):
        raise ConfigurationError(f"bundle `{file}` of `{trust_domain}`: its sequence is below {before}")
    if before is not None and fresh.sequence == before and fresh != held:
        raise ConfigurationError(f"bundle `{file}` of `{trust_domain}`: another one had the sequence {before}")
    return fresh


def content(file: Path) -> bytes:
    """Return what stands in a file, up to one byte more than material may have.

    Raises:
        ConfigurationError: it cannot be read.
    """
    try:
        handle = os.open(file, os.O_RDONLY | os.O_NONBLOCK)  # a FIFO in its place must not hang
        with os.fdopen(handle, "rb") as opened:
            return opened.read(MAX_MATERIAL + 1)
    except OSError as error:
        raise ConfigurationError(f"`{file}`: {error.strerror or type(error).__name__}") from None
