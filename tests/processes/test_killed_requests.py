"""A web process that dies in the middle of a POST with an Idempotency-Key: the same request sent again is done once."""

import os
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from http.client import HTTPException

import pytest

from tests.databases import Database
from tests.factories import vm_config
from tests.processes import rivals
from tests.processes.api import Api
from tests.processes.inside import Inside
from tests.processes.sites import Site, free_port, kill, wait_for

TRIES = 20


@pytest.mark.processes
def test_it_takes_over_a_request_that_died(site_of: Callable[..., Site], migrated: Database) -> None:
    site = site_of(migrated, API_RATE=0, WEB_WORKERS=1, LOG_LEVEL="WARNING", GUNICORN_LOG_LEVEL="error", OPEN_VLANS=1)
    inside = Inside(site)
    made = inside(rivals.prepare)["key"]
    api = Api(free_port(), made["token"])
    web = site.start("-m", "gunicorn", "aiwm_site.wsgi", "-c", "gunicorn.conf.py", BIND=f"127.0.0.1:{api.port}")
    wait_for(lambda: api.answers("/healthz"), 20, "the web server")
    # The password's hash takes a tenth of a second: the moment between the key and what it is for.
    config = vm_config(cloudInit={"password": "correct horse battery staple"})
    body = {"name": "twice", "resourceType": "virtual-machine", "nodeId": made["node"], "config": config}

    headers = _kill_in_the_middle(site, api, body, web.pid)
    wait_for(lambda: api.answers("/healthz"), 20, "another web process")
    early = api.send("POST", "/resources", body, headers)
    assert (early.status, early.json["code"]) == (409, "locked")
    assert inside(rivals.age_keys, 61) == 1
    other = api.send("POST", "/resources", body | {"name": "another"}, headers)
    assert (other.status, other.json["code"]) == (409, "conflict")
    done = api.send("POST", "/resources", body, headers)
    assert (done.status, done.headers.get("Idempotent-Replayed")) == (201, None), done
    again = api.send("POST", "/resources", body, headers)
    assert (again.status, again.headers.get("Idempotent-Replayed"), again.body) == (201, "true", done.body)
    assert site.database.query("SELECT count(*) FROM resources_virtualmachine WHERE name = 'twice'") == [(1,)]
    assert inside(rivals.after, made["node"])["differences"] == []


def _kill_in_the_middle(site: Site, api: Api, body: object, web: int) -> dict[str, str]:
    """Send it, and kill the process that has it when the key is written and the VM is not. Gives the key."""
    for number in range(TRIES):
        headers = {"Idempotency-Key": f"sent-twice-{number}"}
        sent = threading.Thread(target=_send, args=(api, body, headers))
        sent.start()
        give_up = time.monotonic() + 10
        while site.database.query("SELECT count(*) FROM accounts_idempotencykey WHERE status IS NULL") == [(0,)]:
            assert time.monotonic() < give_up
            if not sent.is_alive():
                break
        for pid in _children(web):
            kill(pid)
        sent.join()
        if site.database.query("SELECT count(*) FROM resources_virtualmachine WHERE name = 'twice'") == [(0,)]:
            return headers
        site.database.query("UPDATE resources_virtualmachine SET name = ? WHERE name = 'twice'", ("too late",))
        wait_for(lambda: api.answers("/healthz"), 20, "another web process")
    raise AssertionError("the request was always faster")


def _send(api: Api, body: object, headers: dict[str, str]) -> None:
    with suppress(OSError, HTTPException):  # it is cut off
        api.send("POST", "/resources", body, headers)


def _children(pid: int) -> list[int]:
    with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as listed:
        return [int(child) for child in listed.read().split() if os.path.exists(f"/proc/{child}")]
