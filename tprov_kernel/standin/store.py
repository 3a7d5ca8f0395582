"""The stand-in's memory: objects, operations, idempotency records, in SQLite.

One connection, used on the event loop only: a call's reads and writes are never interleaved with
another's. WAL with ``synchronous=NORMAL`` keeps every committed transaction through a kill -9 of
the process (only a power cut could take the last ones).
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

SCHEMA = """
CREATE TABLE IF NOT EXISTS objects (
    kind TEXT NOT NULL, id TEXT NOT NULL, key TEXT, body BLOB NOT NULL,
    PRIMARY KEY (kind, id)) WITHOUT ROWID;
CREATE UNIQUE INDEX IF NOT EXISTS object_keys ON objects (kind, key);
CREATE TABLE IF NOT EXISTS members (
    group_id TEXT NOT NULL, user_id TEXT NOT NULL, created REAL NOT NULL,
    PRIMARY KEY (group_id, user_id)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS operations (
    id TEXT PRIMARY KEY, effect TEXT NOT NULL, kind TEXT NOT NULL, object TEXT NOT NULL,
    after BLOB, extra TEXT NOT NULL, done INTEGER NOT NULL, created REAL NOT NULL,
    body BLOB NOT NULL) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS open_operations ON operations (done, kind, object);
CREATE TABLE IF NOT EXISTS requests (
    id TEXT PRIMARY KEY, method TEXT NOT NULL, digest BLOB NOT NULL, response BLOB NOT NULL,
    created REAL NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS facts (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
"""

KEPT = 30 * 24 * 3600.0
"""Seconds for which finished operations and idempotency records are kept."""


@dataclass(frozen=True, kw_only=True)
class Operation:
    """An asynchronous operation and what it is to do.

    Attributes:
        effect: ``create``, ``update``, ``delete``, or a name that a family registered.
        kind: The kind of object it works on.
        object: The object's id.
        after: The object as it will be, serialised; None for a delete.
        extra: What else the effect needs, as JSON text.
        done: It is over, well or not.
        body: The API's own `AsyncOperation`, serialised.
    """

    id: str
    effect: str
    kind: str
    object: str
    after: bytes | None
    extra: str
    done: bool
    body: bytes


class Taken(Exception):
    """Another stand-in has this database."""


class Store:
    """The database, opened and locked for this process.

    Raises:
        Taken: Another process has it open.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._lock = os.open(path.with_name(path.name + ".lock"), os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(self._lock)
            raise Taken(str(path)) from None
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))  # private from its first byte on
        self._db = sqlite3.connect(path, isolation_level=None)
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute("PRAGMA synchronous=NORMAL")
        self._db.executescript(SCHEMA)
        oldest = time.time() - KEPT
        self._db.execute("DELETE FROM operations WHERE done AND created < ?", (oldest,))
        self._db.execute("DELETE FROM requests WHERE created < ?", (oldest,))

    def close(self) -> None:
        """Close the database and give the lock back."""
        self._db.close()
        os.close(self._lock)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All of the block's writes, or none of them; a block inside a block joins it."""
        if self._db.in_transaction:
            yield
            return
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._db.execute("ROLLBACK")
            raise
        self._db.execute("COMMIT")

    # --- objects -----------------------------------------------------------------------------

    def get(self, kind: str, id: str) -> bytes | None:
        """One object's body; None when there is none."""
        row = self._db.execute(
            "SELECT body FROM objects WHERE kind = ? AND id = ?", (kind, id)
        ).fetchone()
        return None if row is None else bytes(row[0])

    def id_of(self, kind: str, key: str) -> str | None:
        """The id of the object that has this unique key."""
        row = self._db.execute(
            "SELECT id FROM objects WHERE kind = ? AND key = ?", (kind, key)
        ).fetchone()
        return None if row is None else str(row[0])

    def put(self, kind: str, id: str, *, key: str | None, body: bytes) -> None:
        """Write an object, new or known.

        Raises:
            sqlite3.IntegrityError: Another object has the key.
        """
        self._db.execute(
            "INSERT INTO objects VALUES (?, ?, ?, ?) ON CONFLICT (kind, id)"
            " DO UPDATE SET key = excluded.key, body = excluded.body",
            (kind, id, key, body),
        )

    def remove(self, kind: str, id: str) -> None:
        """Forget an object."""
        self._db.execute("DELETE FROM objects WHERE kind = ? AND id = ?", (kind, id))

    def scan(
        self, kind: str, *, after: str = "", by_key: bool = False, within: str = ""
    ) -> Iterator[tuple[str, bytes]]:
        """Yield (sort value, body) of a kind's objects in ascending order of id, or of key.

        Args:
            kind: The kind.
            after: Begin after this sort value.
            by_key: The sort value is the key, not the id.
            within: Only sort values that begin with this.
        """
        column = "key" if by_key else "id"
        yield from self._db.execute(
            f"SELECT {column}, body FROM objects WHERE kind = ? AND {column} > ?"  # noqa: S608
            f" AND substr({column}, 1, ?) = ? ORDER BY {column}",  # one of two literals
            (kind, max(after, within), len(within), within),
        )

    def counts(self) -> dict[str, int]:
        """How many objects there are of each kind."""
        return dict(self._db.execute("SELECT kind, count(*) FROM objects GROUP BY kind"))

    # --- members of groups -------------------------------------------------------------------

    def members(self, group: str, *, after: str = "") -> list[tuple[str, float]]:
        """(user id, when they joined) of a group's members, by ascending id."""
        return self._db.execute(
            "SELECT user_id, created FROM members WHERE group_id = ? AND user_id > ?"
            " ORDER BY user_id",
            (group, after),
        ).fetchall()

    def add_member(self, group: str, user: str) -> None:
        """Make somebody a member; nothing happens when they are."""
        self._db.execute(
            "INSERT OR IGNORE INTO members VALUES (?, ?, ?)", (group, user, time.time())
        )

    def drop_members(self, *, group: str | None = None, user: str | None = None) -> None:
        """End one membership, all of a group, or all of a user."""
        self._db.execute(
            "DELETE FROM members WHERE (?1 IS NULL OR group_id = ?1)"
            " AND (?2 IS NULL OR user_id = ?2) AND NOT (?1 IS NULL AND ?2 IS NULL)",
            (group, user),
        )

    # --- operations --------------------------------------------------------------------------

    def put_operation(self, operation: Operation) -> None:
        """Write an operation, new or known."""
        self._db.execute(
            "INSERT INTO operations VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id)"
            " DO UPDATE SET done = excluded.done, body = excluded.body",
            (
                operation.id,
                operation.effect,
                operation.kind,
                operation.object,
                operation.after,
                operation.extra,
                operation.done,
                time.time(),
                operation.body,
            ),
        )

    def operation(self, id: str) -> Operation | None:
        """One operation by its id."""
        found = self._operations("id = ?", id)
        return found[0] if found else None

    def open_operations(
        self, kind: str | None = None, object: str | None = None
    ) -> list[Operation]:
        """Operations that are not over, the oldest first; all, or those on one object."""
        if kind is None:
            return self._operations("NOT done")
        return self._operations("NOT done AND kind = ? AND object = ?", kind, object)

    def _operations(self, where: str, *values: str | None) -> list[Operation]:
        rows = self._db.execute(
            "SELECT id, effect, kind, object, after, extra, done, body FROM operations"  # noqa: S608
            f" WHERE {where} ORDER BY created",  # a literal of ours
            values,
        )
        return [
            Operation(
                id=r[0], effect=r[1], kind=r[2], object=r[3], after=r[4], extra=r[5],
                done=bool(r[6]), body=r[7],
            )
            for r in rows
        ]  # fmt: skip

    # --- idempotency and small facts ---------------------------------------------------------

    def answered(self, id: str) -> tuple[str, bytes, bytes] | None:
        """(method, request digest, response) of the request that had this operation id."""
        row = self._db.execute(
            "SELECT method, digest, response FROM requests WHERE id = ?", (id,)
        ).fetchone()
        return None if row is None else (str(row[0]), bytes(row[1]), bytes(row[2]))

    def put_answer(self, id: str, *, method: str, digest: bytes, response: bytes) -> None:
        """Remember how a request was answered."""
        self._db.execute(
            "INSERT INTO requests VALUES (?, ?, ?, ?, ?)",
            (id, method, digest, response, time.time()),
        )

    def fact(self, name: str) -> str | None:
        """A small fact about this database."""
        row = self._db.execute("SELECT value FROM facts WHERE name = ?", (name,)).fetchone()
        return None if row is None else str(row[0])

    def put_fact(self, name: str, value: str) -> None:
        """Write a small fact about this database."""
        self._db.execute(
            "INSERT INTO facts VALUES (?, ?)"
            " ON CONFLICT (name) DO UPDATE SET value = excluded.value",
            (name, value),
        )

    def drop_fact(self, name: str) -> None:
        """Forget a small fact."""
        self._db.execute("DELETE FROM facts WHERE name = ?", (name,))
