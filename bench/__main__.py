"""What a request costs: `make bench`.

Everything is measured in one run on one machine, on a database of its own of the engine that DATABASE_URL names
(SQLite if none), so that the ratios hold where the times do not. Prints tables in Markdown; asserts nothing.

BENCH_ROUNDS and BENCH_CALLS are how often the CPU time is taken, and over how many calls each time.
"""

import logging
import os
import tempfile
from datetime import UTC, datetime
from pathlib import Path

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

    with tempfile.TemporaryDirectory(prefix="aiwm-bench-") as folder:
        database = new_database(Path(folder))
        os.environ.update(SETTINGS, DATABASE_URL=database.url, AIWM_VAR=folder)
        (Path(folder) / "static").mkdir()  # WhiteNoise warns where nothing was collected
        try:
            _measure(Path(folder))
        finally:
            database.drop()


def _measure(folder: Path) -> None:
    import django

    django.setup()
    logging.getLogger().handlers[0].setStream((folder / "log.txt").open("w"))
    from django.core.management import call_command
    from django.db import connection

    from bench import cpu, wire
    from bench.rows import Rows

    call_command("migrate", verbosity=0)
    rows = Rows.new()
    print(f"### {connection.display_name}, {datetime.now(UTC):%Y-%m-%d}\n")
    lonely = cpu.member(rows)
    cpu.print_table(rows)
    alone = wire.times(rows, folder)
    rows.add_others(OTHERS)
    cpu.print_crowd(rows, lonely, OTHERS)
    wire.print_table(alone, wire.times(rows, folder), OTHERS)
    connection.close()


if __name__ == "__main__":
    main()
