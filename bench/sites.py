"""The databases between which a measurement changes."""

import os
from dataclasses import dataclass

import dj_database_url
from django.db import connection


@dataclass(frozen=True)
class Site:
    """One database, by its URL. The benchmark is in one at a time."""

    url: str

    def enter(self) -> None:
        """Let this process ask it from now on, and each that it starts."""
        connection.close()
        connection.settings_dict["NAME"] = dj_database_url.parse(self.url)["NAME"]
        os.environ["DATABASE_URL"] = self.url
