"""Databases for sites of real processes, on the engine that the tests run on."""

import os
import shutil
import sqlite3
import uuid
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlsplit, urlunsplit

import psycopg
from psycopg import sql


class Database(Protocol):
    url: str

    def query(self, statement: str, *rows: Sequence[Any]) -> list[tuple[Any, ...]]:
        """What a statement gives; with `rows` it is executed for each of them. Parameters are `?`."""

    def copy(self, folder: Path) -> "Database":
        """The same once more, while nobody is connected."""

    def drop(self) -> None:
        """Remove it, whoever is connected."""


def new_database(folder: Path) -> Database:
    """An empty one. `folder` is where it lies, if it is a file."""
    server = server_url()
    return PostgresDatabase.create(server) if server else SqliteDatabase(folder / "aiwm.sqlite3")


def server_url() -> str:
    """The PostgreSQL that the tests run on, or nothing."""
    url = os.environ.get("DATABASE_URL", "")
    return url if url.startswith("postgres") else ""


class SqliteDatabase:
    def __init__(self, file: Path) -> None:
        self.file = file
        self.url = f"sqlite:///{file}"

    def query(self, statement: str, *rows: Sequence[Any]) -> list[tuple[Any, ...]]:
        with closing(sqlite3.connect(self.file, timeout=30)) as connection, connection:
            if rows:
                connection.executemany(statement, rows)
                return []
            return connection.execute(statement).fetchall()

    def copy(self, folder: Path) -> "SqliteDatabase":
        return SqliteDatabase(Path(shutil.copy(self.file, folder / self.file.name)))

    def drop(self) -> None:
        self.file.unlink(missing_ok=True)


class PostgresDatabase:
    def __init__(self, server: str, name: str) -> None:
        self._server, self._name = server, name
        self.url = urlunsplit(urlsplit(server)._replace(path=f"/{name}"))

    @classmethod
    def create(cls, server: str, template: str = "template1") -> "PostgresDatabase":
        made = cls(server, f"site_{uuid.uuid4().hex}")
        made._on_server("CREATE DATABASE {} TEMPLATE {}", made._name, template)
        return made

    def query(self, statement: str, *rows: Sequence[Any]) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.url) as connection, connection.cursor() as cursor:
            if rows:
                cursor.executemany(statement.replace("?", "%s").encode(), rows)
                return []
            return cursor.execute(statement.encode()).fetchall()

    def copy(self, folder: Path) -> "PostgresDatabase":
        return self.create(self._server, self._name)

    def drop(self) -> None:
        self._on_server("DROP DATABASE IF EXISTS {} WITH (FORCE)", self._name)

    def _on_server(self, statement: str, *names: str) -> None:
        with psycopg.connect(self._server, autocommit=True) as connection:
            connection.execute(sql.SQL(statement).format(*map(sql.Identifier, names)))
