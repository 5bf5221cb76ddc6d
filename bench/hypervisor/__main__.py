"""What real hypervisors cost: `python -m bench.hypervisor`, as root on Debian.

Lab nodes with many domains, a site on them on a database of its own of the engine that DATABASE_URL names (SQLite if
none), and the libvirt backend. All is measured in one run on one machine, so that the ratios hold where the times do
not. Prints tables in Markdown; asserts nothing. Takes some minutes: nine on two cores that others used as well.

BENCH_DOMAINS is how many domains the one node has (1,000); the twenty have ten times as many together.
"""

import logging
import os
import signal
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path

from bench.__main__ import SETTINGS

ON_ONE = int(os.environ.get("BENCH_DOMAINS", "1000"))
NODES = 20
_LIBVIRT = {"VM_BACKEND": "vmbackends.libvirt.LibvirtBackend", "VM_BACKEND_OPTIONS": "{}"}


def main() -> None:
    from lab import packages
    from tests.databases import new_database

    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # by way of all that cleans up
    packages.install()
    with tempfile.TemporaryDirectory(prefix="aiwm-bench-") as name:
        folder = Path(name)
        database = new_database(folder)
        os.environ.update(SETTINGS, **_LIBVIRT, DATABASE_URL=database.url, AIWM_VAR=name)
        (folder / "static").mkdir()
        try:
            _measure(folder)
        finally:
            database.drop()


def _measure(folder: Path) -> None:
    import django

    django.setup()
    logging.getLogger().handlers[0].setStream((folder / "log.txt").open("w"))
    from django.core.management import call_command
    from django.db import connection

    from bench.hypervisor import estate, meanwhile, power, sweeps, work
    from bench.rows import Rows

    call_command("migrate", verbosity=0)
    rows = Rows.new()
    estate.retire(rows.node)
    load = os.getloadavg()[0]
    print(
        f"### libvirt, {connection.display_name}, {datetime.now(UTC):%Y-%m-%d}, under a load of {load:.1f}\n",
        flush=True,
    )
    with estate.lab_nodes(folder, 1) as nodes:
        power.print_table(folder, nodes[0], rows)
        sweeps.print_table("one node", nodes, ON_ONE, rows)
        estate.retire(estate.row_of(nodes[0]))
    with estate.lab_nodes(folder, NODES) as nodes:
        sweeps.print_table(f"{NODES} nodes", nodes, 10 * ON_ONE // NODES, rows)
        work.print_table(folder, nodes, rows)
        meanwhile.print_tables(folder, nodes, rows)
    connection.close()


if __name__ == "__main__":
    main()
