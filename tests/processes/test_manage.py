"""`manage.py` where the environment has no good settings: one line, and not a traceback."""

import os
import subprocess
import sys

import pytest

from tests.processes.sites import REPOSITORY

pytestmark = [pytest.mark.processes, pytest.mark.one_engine]


def manage(*arguments, **environment):
    return subprocess.run(
        [sys.executable, "manage.py", *arguments],
        cwd=REPOSITORY,
        env={"PATH": os.environ["PATH"], **environment},
        capture_output=True,
        text=True,
        timeout=120,
    )


@pytest.mark.parametrize("command", [("vm", "list"), ("migrate",)])
def test_it_says_in_one_line_that_a_fresh_shell_has_no_key(command):
    done = manage(*command)
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith("Wrong settings: SECRET_KEY")
    assert "DEBUG=1" in done.stderr


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DEBUG", "maybe"),
        ("API_RATE", "many"),
        ("DATABASE_URL", "mysqlx://root:hunter2@db"),
        ("DATABASE_URL", "sqlite:////proc/no/aiwm.sqlite3"),
        ("SECRET_KEY_FILE", "/no"),
    ],
)
def test_it_names_a_setting_that_is_wrong(name, value):
    done = manage("vm", "list", **{"DEBUG": "1", name: value})
    assert done.returncode == 1
    assert done.stderr.startswith(f"Wrong settings: {name}")
    assert done.stderr.count("\n") == 1
    assert "hunter2" not in done.stderr


def test_it_keeps_the_traceback_of_what_is_not_for_the_environment_to_mend(tmp_path):
    code = "from django.core.exceptions import ImproperlyConfigured\nraise ImproperlyConfigured('ours')\n"
    (tmp_path / "broken.py").write_text(code)
    done = manage("shell", "-c", "import broken", DEBUG="1", AIWM_VAR=str(tmp_path), PYTHONPATH=str(tmp_path))
    assert "Traceback" in done.stderr


def test_it_shows_where_it_came_from_to_who_asks():
    assert "Traceback" in manage("migrate", "--traceback").stderr


def test_ctrl_c_is_no_fault():
    done = manage("shell", "-c", "raise KeyboardInterrupt", DEBUG="1")
    assert (done.returncode, done.stderr) == (130, "Stopped.\n")


@pytest.mark.parametrize(
    ("arguments", "environment", "said"),
    [
        (("--port", "70000"), {}, "CommandError: There is no port 70000: they are from 1 to 65535."),
        ((), {"PORT": "web"}, "manage.py serve: error: argument --port: invalid int value: 'web'"),
    ],
)
def test_serve_names_a_port_that_there_is_not(arguments, environment, said):
    done = manage("serve", *arguments, DEBUG="1", **environment)
    assert done.returncode
    assert done.stderr.splitlines()[-1] == said
