"""The OpenAPI document is exact: schemathesis tries every operation against the served site, and finds nothing."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.databases import Database
from tests.openapi.world import prepare
from tests.processes.api import Api
from tests.processes.inside import Inside
from tests.processes.sites import Site, free_port, wait_for

HERE = Path(__file__).parent
EXAMPLES = os.environ.get("SCHEMATHESIS_EXAMPLES") or "10"
SEED = "1"
# Coverage, three thousand requests, is of how bodies and parameters are read: for one caller as for another.
PHASES = {"operator": "examples,coverage,fuzzing,stateful", "member": "examples,fuzzing,stateful"}


@pytest.mark.processes
@pytest.mark.one_engine
@pytest.mark.parametrize(("role", "phases"), PHASES.items())
def test_it_finds_nothing(
    site_of: Callable[..., Site], migrated: Database, role: str, phases: str, tmp_path: Path
) -> None:
    port = free_port()
    site = site_of(
        migrated,
        DEBUG=0,
        SECRET_KEY="a-key-for-the-tests-alone-" + "0" * 40,
        ACCESS_TOKEN_MINUTES=60,
        API_RATE=0,
        TOKEN_RATE=0,
        OPEN_VLANS=1,
        LOG_LEVEL="WARNING",
        GUNICORN_LOG_LEVEL="warning",
        WEB_WORKERS=2,
        POLL_SECONDS=1,
        PUBLIC_URL=f"http://127.0.0.1:{port}",
        VM_BACKEND_OPTIONS={"deploy_s": 0, "stop_s": 0, "restore_s": 0, "down": []},
    )
    made = Inside(site)(prepare, role)
    site.start("-m", "gunicorn", "aiwm_site.wsgi", "-c", "gunicorn.conf.py", BIND=f"127.0.0.1:{port}")
    site.manage("worker")
    wait_for(lambda: Api(port).answers("/readyz"), 60, "the site")

    found = subprocess.run(
        [
            Path(sys.executable).with_name("schemathesis"),
            "--config-file", HERE / "schemathesis.toml",
            "run", f"http://127.0.0.1:{port}/schema",
            "--header", f"Authorization: Bearer {made['token']}",
            "--phases", phases, "--max-examples", EXAMPLES, "--seed", SEED, "--no-color", "--warnings", "off",
        ],
        cwd=tmp_path,
        env={
            **os.environ,
            "AIWM_NODE_ID": made["node"],
            "PYTHONPATH": str(HERE.parents[1]),
            "SCHEMATHESIS_HOOKS": "tests.openapi.hooks",
        },
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )  # fmt: skip
    assert found.returncode == 0, found.stdout[-12_000:] + found.stderr[-2000:]
    assert "No issues found" in found.stdout, found.stdout[-3000:]
    assert "Traceback" not in site.output()
