"""Running programs, with what they said in the error when they fail."""

import subprocess
from collections.abc import Mapping
from pathlib import Path


class CommandFailed(Exception):
    """A program ended with another status than 0. The message names it and holds what it wrote to stderr."""


def run(
    *argv: str | Path,
    timeout_s: float = 60,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    stdin: int = subprocess.DEVNULL,
) -> str:
    """What the program wrote to stdout. Raises CommandFailed, also where it is missing or takes longer."""
    try:
        done = subprocess.run(argv, capture_output=True, check=False, timeout=timeout_s, cwd=cwd, env=env, stdin=stdin)
    except FileNotFoundError as e:
        raise CommandFailed(f"There is no program {argv[0]}.") from e
    except subprocess.TimeoutExpired as e:
        raise CommandFailed(f"{_line(argv)} took longer than {timeout_s:g} s.") from e
    if done.returncode:
        said = (done.stderr or done.stdout).decode(errors="replace").strip()
        raise CommandFailed(f"{_line(argv)} ended with {done.returncode}: {said[-2000:]}")
    return done.stdout.decode(errors="replace")


def _line(argv: tuple[str | Path, ...]) -> str:
    return " ".join(str(word) for word in argv)
