"""TOKEN_RATE and API_RATE where several processes answer."""

import pytest

from tests.processes.api import Api
from tests.processes.sites import free_port, wait_for

pytestmark = pytest.mark.processes

LIMIT = 40


def take(times: int) -> int:
    """How many of so many log-ins from one address are let through, in this process."""
    from accounts.throttling import _take

    return sum([_take("minute:10.0.0.1", LIMIT) for _ in range(times)])


def test_of_log_ins_in_many_processes_exactly_so_many_are_let_through(site_of, migrated):
    site = site_of(migrated)
    calls = [site.begin("tests.processes.test_rates:take", 25) for _ in range(4)]
    assert sum(call.answer() for call in calls) == LIMIT


def test_all_workers_of_a_server_count_a_users_requests_together(site_of, migrated):
    site = site_of(migrated, API_RATE=LIMIT, WEB_WORKERS=4)
    assert site.manage("seed_demo", "-v0").wait(60) == 0, site.output()
    port = free_port()
    site.start("-m", "gunicorn", "-c", "gunicorn.conf.py", BIND=f"127.0.0.1:{port}")
    wait_for(lambda: Api(port).answers("/healthz"), 40, "the site")
    log_in = Api(port).post("/auth/token", {"username": "demo", "password": "demo"})
    api = Api(port, log_in.json["access"])

    def minute() -> list[int]:
        return [api.get("/auth/me").status for _ in range(2 * LIMIT)]

    statuses = minute()
    if statuses.count(200) > LIMIT:  # a minute ended in the middle
        statuses = minute()
    assert statuses.count(200) <= LIMIT
    assert statuses[-1] == 429
