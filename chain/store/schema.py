"""The SQLite schema of a ledger, its version, and how a connection to it is opened.

The law of this file: records and revocations are only ever added, and the schema itself refuses anything
else, a gap between revisions included.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import apsw

from chain.errors import StoreError

if TYPE_CHECKING:
    from pathlib import Path

APPLICATION_ID = 0x43484149  # "CHAI": the database says whose it is
VERSION = 2
BUSY_TIMEOUT = 5000  # ms, but for the writer; only a foreign tool that opens the file can make us wait
CACHE_SIZE = -32768  # KiB, negative by SQLite's convention: index pages of random digests stay in memory

# Most records are `decided`; an index over the others finds the rare kinds and costs a decision nothing.
# Names are indexed jti first: UUIDv7 grows, so that new entries share a page.
DDL = """
CREATE TABLE records (
    revision INTEGER PRIMARY KEY,
    kind TEXT NOT NULL,
    data BLOB NOT NULL,
    leaf BLOB NOT NULL CHECK (length(leaf) = 32)
) STRICT;
CREATE INDEX records_by_kind ON records (kind, revision) WHERE kind <> 'decided';

CREATE TABLE delegations (
    id INTEGER PRIMARY KEY,
    digest BLOB NOT NULL UNIQUE CHECK (length(digest) = 32),
    parent BLOB,
    token BLOB NOT NULL,
    issuer TEXT NOT NULL,
    jti TEXT NOT NULL,
    holder TEXT NOT NULL,
    task TEXT NOT NULL,
    depth INTEGER NOT NULL,
    iat INTEGER NOT NULL,
    exp INTEGER NOT NULL,
    revision INTEGER NOT NULL
) STRICT;
CREATE INDEX delegations_by_name ON delegations (jti, issuer);
CREATE INDEX delegations_by_revision ON delegations (revision);
CREATE INDEX delegations_by_parent ON delegations (parent, exp) WHERE parent IS NOT NULL;
CREATE INDEX delegations_by_holder ON delegations (holder, revision) WHERE holder <> '';
CREATE INDEX delegations_by_task ON delegations (task, revision) WHERE task <> '';
CREATE INDEX delegations_by_issuer ON delegations (issuer, revision) WHERE depth = 0;
CREATE INDEX delegations_by_expiry ON delegations (exp);

CREATE TABLE revocations (
    id INTEGER PRIMARY KEY,
    digest BLOB NOT NULL UNIQUE,
    revision INTEGER NOT NULL,
    time INTEGER NOT NULL
) STRICT;

CREATE TABLE nonces (
    digest BLOB NOT NULL,
    jti TEXT NOT NULL,
    expires INTEGER NOT NULL,
    PRIMARY KEY (digest, jti)
) STRICT, WITHOUT ROWID;
CREATE INDEX nonces_by_expiry ON nonces (expires);

CREATE TABLE enrolments (
    thumbprint TEXT PRIMARY KEY,
    body BLOB NOT NULL,
    revision INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE replies (
    caller TEXT NOT NULL,
    method TEXT NOT NULL,
    key TEXT NOT NULL,
    request BLOB NOT NULL,
    reply BLOB NOT NULL,
    revision INTEGER NOT NULL,
    expires INTEGER NOT NULL,
    UNIQUE (caller, method, key)
) STRICT;
CREATE INDEX replies_by_expiry ON replies (expires);

CREATE TABLE standing (
    kind TEXT NOT NULL,
    name TEXT NOT NULL,
    body BLOB NOT NULL,
    expires INTEGER NOT NULL,
    revision INTEGER NOT NULL,
    PRIMARY KEY (kind, name)
) STRICT, WITHOUT ROWID;
CREATE INDEX standing_by_expiry ON standing (expires) WHERE expires > 0;

CREATE TRIGGER records_without_gap BEFORE INSERT ON records
WHEN NEW.revision <> (SELECT coalesce(max(revision), 0) + 1 FROM records)
BEGIN SELECT raise(ABORT, 'records are added one after the other'); END;
CREATE TRIGGER records_stay BEFORE DELETE ON records
BEGIN SELECT raise(ABORT, 'records are never deleted'); END;
CREATE TRIGGER records_unchanged BEFORE UPDATE ON records
BEGIN SELECT raise(ABORT, 'records are never changed'); END;
CREATE TRIGGER revocations_stay BEFORE DELETE ON revocations
BEGIN SELECT raise(ABORT, 'revocations are never deleted'); END;
CREATE TRIGGER revocations_unchanged BEFORE UPDATE ON revocations
BEGIN SELECT raise(ABORT, 'revocations are never changed'); END;
"""


def connect(database: Path, vfs: str | None, *, writable: bool = True) -> apsw.Connection:
    """Open a connection to an existing database file.

    `recursive_triggers` makes `REPLACE` fire the delete triggers; `synchronous` FULL is the default of
    every connection, the writer alone lowers it, batch by batch.
    """
    flags = apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_NOFOLLOW
    connection = apsw.Connection(str(database.resolve()), flags=flags, vfs=vfs, statementcachesize=64)
    connection.set_busy_timeout(BUSY_TIMEOUT)
    connection.config(apsw.SQLITE_DBCONFIG_DEFENSIVE, 1)
    connection.config(apsw.SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0)
    for pragma in ("synchronous=FULL", "recursive_triggers=ON", "fullfsync=ON", "checkpoint_fullfsync=ON"):
        connection.execute(f"PRAGMA {pragma}")
    connection.execute(f"PRAGMA cache_size={CACHE_SIZE}")
    if not writable:
        connection.execute("PRAGMA query_only=ON")
    return connection


def prepare(connection: apsw.Connection) -> int:
    """Make the schema in an empty database or recognise it; return the last revision.

    Everything that an earlier process wrote is on disk afterwards.

    Raises:
        StoreError: the file is no ledger, or one of another version.
    """
    if connection.pragma("journal_mode", "wal") != "wal":
        raise StoreError("the file system of the ledger does not support a write-ahead log")
    connection.wal_autocheckpoint(0)
    with connection:
        found = (connection.pragma("application_id"), connection.pragma("user_version"))
        if found == (0, 0) and not connection.execute("SELECT count(*) FROM sqlite_schema").get:
            connection.execute(DDL)
            connection.execute(f"PRAGMA application_id={APPLICATION_ID}")
            connection.execute(f"PRAGMA user_version={VERSION}")
        elif found[0] != APPLICATION_ID:
            raise StoreError("the database is not a ledger")
        elif found[1] != VERSION:
            raise StoreError(f"the ledger has schema version {found[1]}, this release reads {VERSION}")
    connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
    head = connection.execute("SELECT coalesce(max(revision), 0) FROM records").get
    assert isinstance(head, int)  # noqa: S101 - an aggregate over an INTEGER column of a STRICT table
    return head
