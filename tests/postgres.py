"""A PostgreSQL of the tests' own: `python -m tests.postgres COMMAND ...` runs the command with DATABASE_URL on it.
Without a command it only installs what is missing.

It listens on a Unix socket in a directory of its own, and is gone with its data when the command ends. Where the
programs are missing they are installed, if that can be done: as root, on Debian or Ubuntu.
"""

import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

import psycopg

USER = "aiwm"
START_SECONDS = 60.0
# Nothing here outlives a crash of the machine, so nothing waits for its disk.
_OPTIONS = (
    "listen_addresses=", "fsync=off", "synchronous_commit=off", "full_page_writes=off", "max_connections=200",
    "log_min_messages=panic",
)  # fmt: skip


class Unavailable(Exception):
    """PostgreSQL is not here and cannot be installed; the message says why."""


def main(command: list[str]) -> int:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        programs = _programs() or _install()
    except Unavailable as e:
        return _skip(str(e), command) if command else 0
    if not command:
        return 0
    with cluster(programs) as url:
        return subprocess.run(command, env={**os.environ, "DATABASE_URL": url}, check=False).returncode


@contextmanager
def cluster(programs: Path) -> Iterator[str]:
    """A running server; gives the URL of an empty database on it."""
    with tempfile.TemporaryDirectory(prefix="aiwm-postgres-", ignore_cleanup_errors=True) as folder:
        # PostgreSQL refuses to be root, and Debian's package made a user for it.
        user = "postgres" if os.getuid() == 0 else None
        if user:
            owner = pwd.getpwnam(user)
            os.chown(folder, owner.pw_uid, owner.pw_gid)
        data = f"{folder}/data"
        initdb = [programs / "initdb", "-D", data, "-U", USER, "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8", "-N"]
        subprocess.run(initdb, user=user, group=user, check=True, cwd=folder, stdout=subprocess.DEVNULL)
        options = [word for option in _OPTIONS for word in ("-c", option)]
        server = subprocess.Popen(
            [programs / "postgres", "-D", data, "-k", folder, *options], user=user, group=user, cwd=folder
        )
        try:
            _wait_for(server, folder)
            with psycopg.connect(host=folder, user=USER, dbname="postgres", autocommit=True) as connection:
                connection.execute(f"CREATE DATABASE {USER}")
            yield f"postgres://{USER}@{quote(folder, safe='')}/{USER}"
        finally:
            server.send_signal(signal.SIGINT)  # "fast": who is connected is cut off
            server.wait(START_SECONDS)


def _wait_for(server: "subprocess.Popen[bytes]", folder: str) -> None:
    give_up = time.monotonic() + START_SECONDS
    while True:
        try:
            psycopg.connect(host=folder, user=USER, dbname="postgres").close()
        except psycopg.OperationalError:
            if server.poll() is not None or time.monotonic() > give_up:
                raise
            time.sleep(0.05)
        else:
            return


def _programs() -> Path | None:
    """Where `initdb` and `postgres` are: of the newest version, where Debian has several."""
    versions = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[4]))
    found = str(versions[-1]) if versions else shutil.which("initdb")
    return Path(found).resolve().parent if found else None


def _install() -> Path:
    if os.getuid() != 0 or not Path("/etc/debian_version").exists():
        raise Unavailable("PostgreSQL is not installed. On Debian or Ubuntu: sudo apt-get install postgresql")
    sys.stderr.write("Installing PostgreSQL ...\n")
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for arguments in (["update", "-qq"], ["install", "-y", "-qq", "--no-install-recommends", "postgresql"]):
        subprocess.run(["apt-get", *arguments], env=environment, check=True, stdout=subprocess.DEVNULL)
    programs = _programs()
    if programs is None:
        raise Unavailable("PostgreSQL was installed, and its initdb is nowhere under /usr/lib/postgresql.")
    return programs


def _skip(reason: str, command: list[str]) -> int:
    line = "!" * 100
    sys.stderr.write(f"{line}\nNOT RUN on PostgreSQL: {' '.join(command)}\n{reason}\n{line}\n")
    return 1 if os.environ.get("CI") else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
