"""A PostgreSQL server of the tests' own, which they may stop, start again and cut connections of."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from pwd import getpwnam

import psycopg
import pytest

USERS = ("postgres", "nobody")
"""Who may run the server where the tests run as root, whom it refuses."""


@dataclass(frozen=True)
class Postgres:
    """A server on a loopback port, without passwords; its files are gone when the tests are."""

    programs: Path
    folder: Path
    port: int
    user: str | None

    def address(self, database: str) -> str:
        """The address of a database, as a user would write it."""
        return f"postgresql://tests@127.0.0.1:{self.port}/{database}"

    def new_database(self, name: str) -> str:
        """The address of a new database."""
        self.sql(f'CREATE DATABASE "{name}"')
        return self.address(name)

    def sql(self, statement: str, database: str = "postgres") -> list[tuple[object, ...]]:
        """Run one statement; returns the rows, none where it has none."""
        with psycopg.connect(self.address(database), autocommit=True) as connection:
            cursor = connection.execute(statement)
            return cursor.fetchall() if cursor.description else []

    def end_connections(self, database: str, condition: str = "true") -> int:
        """End connections to a database, as an administrator would; returns how many there were."""
        ended = self.sql(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            f"WHERE datname = '{database}' AND {condition}"
        )
        return len(ended)

    def tables(self, database: str) -> set[str]:
        """The names of a database's tables."""
        rows = self.sql("SELECT tablename FROM pg_tables WHERE schemaname = 'public'", database)
        return {str(name) for (name,) in rows}

    def start(self) -> None:
        """Start it, and wait until it answers."""
        options = f"-p {self.port} -c listen_addresses=127.0.0.1 -c unix_socket_directories='' -c fsync=off"
        self.run("pg_ctl", "-D", "data", "-l", "log", "-w", "-t", "120", "-o", options, "start")

    def stop(self) -> None:
        """Stop it at once; who is connected loses the connection."""
        self.run("pg_ctl", "-D", "data", "-w", "-m", "fast", "stop")

    def run(self, program: str, *arguments: str) -> None:
        """Run one of its programs."""
        subprocess.run(
            [self.programs / program, *arguments], cwd=self.folder, user=self.user, check=True,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL,
        )  # fmt: skip


@contextmanager
def running_postgres() -> Iterator[Postgres]:
    """A server as long as this lasts; skips the test, with the reason, where there can be none."""
    programs, user = _programs(), _user()
    with tempfile.TemporaryDirectory() as folder, socket.socket() as free:
        if user:
            shutil.chown(folder, user)
        free.bind(("127.0.0.1", 0))
        server = Postgres(programs, Path(folder), free.getsockname()[1], user)
        free.close()
        server.run("initdb", "-D", "data", "-U", "tests", "-A", "trust", "-N")
        server.start()
        try:
            yield server
        finally:
            server.run("pg_ctl", "-D", "data", "-m", "immediate", "stop")


def _programs() -> Path:
    """Where initdb and pg_ctl are: on the path, or where Debian has them, the latest version of several."""
    found = shutil.which("initdb")
    installed = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda p: float(p.parent.name))
    if found:
        return Path(found).resolve().parent
    if not installed:
        pytest.skip("no PostgreSQL: initdb is neither on the path nor under /usr/lib/postgresql")
    return installed[-1]


def _user() -> str | None:
    """Who runs the server: whoever runs the tests, or another than root."""
    if os.getuid():
        return None
    for user in USERS:
        try:
            return getpwnam(user).pw_name
        except KeyError:
            continue
    pytest.skip(f"PostgreSQL refuses root, and there is no user {' or '.join(USERS)}")
