"""`manage.py check --deploy` with the settings that docs/production.env.example shows."""

import os
import re
import secrets
import subprocess
import sys
from pathlib import Path

import pytest

from tests.processes.sites import REPOSITORY

pytestmark = [pytest.mark.processes, pytest.mark.one_engine]

SHOWN = REPOSITORY / "docs" / "production.env.example"
LINE = re.compile(r"([A-Z_]+)=(\S*)")


def shown() -> dict[str, str]:
    """Each line that is no comment, read as systemd and container engines read it."""
    lines = [line for line in SHOWN.read_text().splitlines() if line and not line.startswith("#")]
    pairs = [LINE.fullmatch(line) for line in lines]
    assert all(pairs), lines
    return {pair[1]: pair[2] for pair in pairs if pair}


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """The shown settings, with the places of this machine in place of those of a production's."""
    found = {name: value.replace("/etc/aiwm", str(tmp_path)) for name, value in shown().items()}
    found["AIWM_VAR"] = str(tmp_path)
    for name in ("secret_key", "secrets_key", "metrics_token"):
        (tmp_path / name).write_text(secrets.token_urlsafe(48) + "\n")
    (tmp_path / "database_url").write_text(f"sqlite:///{tmp_path}/production.sqlite3\n")
    return found


def manage(environment: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "manage.py", *arguments],
        cwd=REPOSITORY,
        env={"PATH": os.environ["PATH"], **environment},
        capture_output=True,
        text=True,
        timeout=120,
    )


def check(environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    assert manage(environment, "migrate", "-v0").returncode == 0
    return manage(environment, "check", "--deploy", "--fail-level", "WARNING")


def test_the_shown_settings_are_clean(environment):
    done = check(environment)
    assert done.returncode == 0, done.stderr
    assert "no issues (1 silenced)" in done.stdout + done.stderr


def test_it_still_says_what_is_silenced_where_nothing_is(environment):
    del environment["SILENCED_CHECKS"]
    done = check(environment)
    assert done.returncode == 1
    assert set(re.findall(r"\((\S+\.[WE]\d+)\)", done.stderr)) == {"aiwm.W001"}


def test_every_shown_setting_is_one_that_is_read():
    known = set(re.findall(r'env\.\w+\(\s*"([A-Z_]+)"', (REPOSITORY / "aiwm_site" / "settings.py").read_text()))
    assert {name.removesuffix("_FILE") for name in shown()} <= known
