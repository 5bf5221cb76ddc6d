"""What a request costs: `make bench`.

Everything is measured in one run on one machine, on a database of its own of the engine that DATABASE_URL names
(SQLite if none), so that the ratios hold where the times do not. Prints tables in Markdown; asserts nothing.

BENCH_CALLS is over how many calls of each the CPU time is taken.
"""

import logging
import os
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from bench.sites import Site

if TYPE_CHECKING:
    from bench.rows import Rows  # loads the models, which need the settings

OTHERS = 100_000
# As in production, but for the rate limit, which is counted and never met, and a backend that is not asked.
SETTINGS = {
    "DJANGO_SETTINGS_MODULE": "aiwm_site.settings",
    "SECRET_KEY": "for-the-benchmark-alone-" * 3,
    "DEBUG": "0",
    "API_RATE": str(10**9),
    "LOG_LEVEL": "INFO",
    "OPEN_VLANS": "1",
    "ALLOWED_HOSTS": "127.0.0.1,testserver",
}


def main() -> None:
    from tests.databases import new_database

    with tempfile.TemporaryDirectory(prefix="aiwm-bench-") as name:
        folder = Path(name)
        quiet = new_database(folder)
        os.environ.update(SETTINGS, DATABASE_URL=quiet.url, AIWM_VAR=name)
        (folder / "static").mkdir()  # WhiteNoise warns where nothing was collected
        dropped = [quiet]
        try:
            rows = _rows(folder)
            crowded = quiet.copy(_new(folder / "crowded"))
            dropped.append(crowded)
            _measure(folder, rows, Site(quiet.url), Site(crowded.url))
        finally:
            for database in dropped:
                database.drop()


def _new(folder: Path) -> Path:
    folder.mkdir()
    return folder


def _rows(folder: Path) -> "Rows":
    import django

    django.setup()
    logging.getLogger().handlers[0].setStream((folder / "log.txt").open("w"))
    from django.core.management import call_command
    from django.db import connection

    from bench.rows import Rows

    call_command("migrate", verbosity=0)
    try:
        return Rows.new()
    finally:
        connection.close()  # a database is copied while nobody is connected


def _measure(folder: Path, rows: "Rows", quiet: Site, crowded: Site) -> None:
    """In both databases are the same rows at first; then one gets many of others."""
    from django.db import connection

    from bench import cpu, wire

    print(f"### {connection.display_name}, {datetime.now(UTC):%Y-%m-%d}\n")
    crowded.enter()
    rows.add_others(OTHERS)
    cpu.print_crowd(rows, quiet, crowded, OTHERS)
    quiet.enter()
    cpu.print_table(rows)
    alone = wire.times(rows, folder)
    crowded.enter()
    wire.print_table(alone, wire.times(rows, folder), OTHERS)
    connection.close()


if __name__ == "__main__":
    main()
