"""Forty clients at once want the same few GPUs, MIG instances and addresses.

`LOAD_SECONDS=5 pytest tests/processes/test_load.py` is enough for a first look, and more seconds find more.
"""

import os
import random
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import pytest

from tests.databases import Database
from tests.processes.api import Answer, Api
from tests.processes.inside import Inside
from tests.processes.sites import Site, free_port, wait_for
from tests.processes.tenants import left, prepare

SECONDS = float(os.environ.get("LOAD_SECONDS") or 20)
CLIENTS = 40
ORGANIZATIONS = 4
ADDRESSES = 25
PROFILES = ("1g.5gb", "1g.10gb", "2g.10gb", "3g.20gb", "4g.20gb", "7g.40gb", "1g.6gb", "2g.12gb", "4g.24gb")

# Whoever comes second is told so; anything else is a fault of ours.
REFUSALS = {"conflict", "quota_exceeded", "locked", "not_found", "precondition_failed"}


@dataclass
class Tenant:
    """An organization's VMs, shared by its clients: they patch and delete each other's."""

    api: Api
    nodes: dict[str, int]
    vms: list[str] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def pick(self, chance: random.Random) -> str | None:
        with self.lock:
            return chance.choice(self.vms) if self.vms else None

    def add(self, vm_id: str) -> None:
        with self.lock:
            self.vms.append(vm_id)

    def drop(self, vm_id: str) -> None:
        with self.lock:
            if vm_id in self.vms:
                self.vms.remove(vm_id)


class Client:
    """Creates, patches and deletes until the time is up. `seen` counts its answers, `wrong` keeps the bad ones."""

    def __init__(self, tenant: Tenant, number: int) -> None:
        self._tenant = tenant
        self._chance = random.Random(number)
        self.seen: Counter[str] = Counter()
        self.wrong: list[str] = []

    def run(self, until: float) -> None:
        while time.monotonic() < until:
            vm_id = self._tenant.pick(self._chance)
            chosen = self._chance.random()
            if vm_id is None or chosen < 0.45:
                self._create()
            elif chosen < 0.75:
                self._patch(vm_id)
            else:
                self._delete(vm_id)

    def _create(self) -> None:
        node = self._chance.choice(list(self._tenant.nodes))
        config = {
            "type": "virtual-machine",
            "osImage": "ubuntu-22.04",
            "vcpus": self._chance.randint(1, 4),
            "ramMB": 2048,
            "diskGB": 20,
            "gpuConfig": self._gpu(node),
            "networkConfig": self._network(),
        }
        body = {"name": "load", "resourceType": "virtual-machine", "nodeId": node, "config": config}
        answer = self._note("create", 201, self._tenant.api.post("/resources", body))
        if answer.status == 201:
            self._tenant.add(answer.json["_id"])

    def _patch(self, vm_id: str) -> None:
        node = self._chance.choice(list(self._tenant.nodes))
        network = {"ipAddress": None, "netmask": None, "gateway": None} | self._network()
        changes: dict[str, Any] = self._chance.choice(
            (
                {"config": {"networkConfig": network}},
                {"config": {"vcpus": self._chance.randint(1, 8), "ramMB": 1024 * self._chance.randint(1, 8)}},
                {"nodeId": node, "config": {"gpuConfig": self._gpu_patch(node)}},
                {"nodeId": node, "config": {"gpuConfig": self._gpu_patch(node), "networkConfig": network}},
            )
        )
        self._note("patch", 200, self._tenant.api.send("PATCH", f"/resources/{vm_id}", changes))

    def _delete(self, vm_id: str) -> None:
        answer = self._note("delete", 200, self._tenant.api.send("DELETE", f"/resources/{vm_id}"))
        if answer.status in (200, 404):
            self._tenant.drop(vm_id)

    def _gpu(self, node: str) -> dict[str, Any]:
        match self._chance.randrange(4):
            case 0:
                return {"enabled": False}
            case 1:
                devices = [f"GPU-{number}" for number in range(self._tenant.nodes[node])]
                chosen = self._chance.sample(devices, self._chance.randint(1, 2))
                return {"enabled": True, "mode": "passthrough", "deviceIds": chosen}
            case _:
                return {"enabled": True, "mode": "mig", "migProfile": self._chance.choice(PROFILES)}

    def _gpu_patch(self, node: str) -> dict[str, Any]:
        return {"mode": None, "deviceIds": None, "migProfile": None} | self._gpu(node)

    def _network(self) -> dict[str, Any]:
        if self._chance.random() < 0.3:
            return {"mode": "bridge-vlan", "ipMode": "dhcp"}
        address = f"10.2.0.{10 + self._chance.randrange(ADDRESSES)}"
        return {
            "mode": "bridge-vlan",
            "ipMode": "static",
            "ipAddress": address,
            "netmask": "255.255.255.0",
            "gateway": "10.2.0.1",
        }

    def _note(self, verb: str, good: int, answer: Answer) -> Answer:
        if answer.status == good:
            self.seen[verb] += 1
        elif 400 <= answer.status < 500 and answer.json["code"] in REFUSALS:
            self.seen[answer.json["code"]] += 1
        else:
            self.wrong.append(f"{verb}: {answer}")
        return answer


@pytest.mark.processes
def test_it_gives_nothing_to_two_at_once(site_of: Callable[..., Site], migrated: Database) -> None:
    site = site_of(
        migrated,
        DEBUG=0,
        SECRET_KEY="a-key-for-the-tests-alone-" + "0" * 40,
        API_RATE=0,
        OPEN_VLANS=1,
        LOG_LEVEL="WARNING",
        WEB_WORKERS=4,
        GUNICORN_LOG_LEVEL="warning",
    )
    inside = Inside(site)
    made = inside(prepare, ORGANIZATIONS)
    port = free_port()
    site.start("-m", "gunicorn", "aiwm_site.wsgi", "-c", "gunicorn.conf.py", BIND=f"127.0.0.1:{port}")
    wait_for(lambda: Api(port).answers("/healthz"), 20, "the web server")

    tenants = [Tenant(Api(port, token), made["nodes"]) for token in made["tokens"]]
    clients = [Client(tenants[number % ORGANIZATIONS], number) for number in range(CLIENTS)]
    watcher = site.begin("tests.processes.tenants:watch", SECONDS + 1)
    until = time.monotonic() + SECONDS
    with ThreadPoolExecutor(CLIENTS) as threads:
        for running in [threads.submit(client.run, until) for client in clients]:
            running.result()

    seen: Counter[str] = sum((client.seen for client in clients), Counter())
    assert [wrong for client in clients for wrong in client.wrong] == [], site.output()[-8000:]
    assert all(seen[name] for name in ("create", "patch", "delete", "conflict", "quota_exceeded")), seen
    watched = watcher.answer(SECONDS + 60)
    assert watched["looks"] > 2
    assert watched["found"] == []

    _delete_all(tenants)
    assert set(inside(left).values()) == {0}


def _delete_all(tenants: list[Tenant]) -> None:
    for tenant in tenants:
        listed = tenant.api.get("/resources?limit=100").json["data"]
        assert {vm["_id"] for vm in listed} == set(tenant.vms)
        for vm in listed:
            assert tenant.api.send("DELETE", f"/resources/{vm['_id']}").status == 200
