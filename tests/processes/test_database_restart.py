"""The database cuts everybody off, as when it is restarted: requests go on being answered, and tasks being done."""

from collections.abc import Callable

import pytest

from tests.databases import Database, server_url
from tests.processes.api import Api
from tests.processes.inside import Inside
from tests.processes.rivals import prepare
from tests.processes.sites import Site, free_port, wait_for

CUT_OFF = """
    SELECT pg_terminate_backend(pid) FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid()
"""


@pytest.mark.processes
@pytest.mark.skipif(not server_url(), reason="SQLite has no server to restart")
def test_it_goes_on_when_the_database_has_cut_everybody_off(site_of: Callable[..., Site], migrated: Database) -> None:
    site = site_of(
        migrated,
        WEB_WORKERS=2,
        LOG_LEVEL="WARNING",
        GUNICORN_LOG_LEVEL="warning",
        VM_BACKEND_OPTIONS={"deploy_s": 0.1, "stop_s": 0.1},
    )
    made = Inside(site)(prepare)["start"]
    api = Api(free_port(), made["token"])
    site.start("-m", "gunicorn", "aiwm_site.wsgi", "-c", "gunicorn.conf.py", BIND=f"127.0.0.1:{api.port}")
    worker = site.manage("worker")
    wait_for(lambda: api.answers("/readyz"), 30, "the site")

    for verb, status in (("start", "running"), ("stop", "stopped")):
        site.database.query(CUT_OFF)
        answers = [api.get("/resources") for _ in range(6)]
        assert [answer.status for answer in answers] == [200] * 6, site.output()[-4000:]
        assert api.post(f"/resources/{made['vm']}/{verb}").status == 202
        vm = f"/resources/{made['vm']}/status"
        wait_for(lambda vm=vm, status=status: api.get(vm).json["status"] == status, 30, f"the VM to be {status}")
    assert worker.poll() is None
