"""Twenty requests at the same moment, through real web processes: one wins, and the books are right afterwards.

No worker runs, so that what a start has begun is still there when the others arrive.
"""

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.databases import Database
from tests.factories import static_network, vm_config
from tests.processes import rivals
from tests.processes.api import Answer, Api
from tests.processes.inside import Inside
from tests.processes.sites import Site, free_port, wait_for

pytestmark = pytest.mark.processes

RIVALS = 20
WEB_PROCESSES = 8

Request = Callable[[Api], Answer]


class Arena:
    """A site with as many web processes as it takes for requests to meet."""

    def __init__(self, site: Site) -> None:
        self._inside = Inside(site)
        self._races: dict[str, dict[str, str]] = self._inside(rivals.prepare)
        self._port = free_port()
        site.start("-m", "gunicorn", "aiwm_site.wsgi", "-c", "gunicorn.conf.py", BIND=f"127.0.0.1:{self._port}")
        wait_for(lambda: Api(self._port).answers("/healthz"), 20, "the web server")

    def race(self, name: str) -> "Race":
        return Race(self._races[name], Api(self._port, self._races[name]["token"]), self._after)

    def _after(self, node_id: str) -> Any:
        return self._inside(rivals.after, node_id)


class Race:
    def __init__(self, made: dict[str, str], api: Api, after: Callable[[str], Any]) -> None:
        self.node, self.vm, self.refresh = made["node"], made["vm"], made["refresh"]
        self.api = api
        self._after = after

    def run(self, *requests: Request) -> list[Answer]:
        """Each of these as often as the others, all at once; `RIVALS` of them together."""
        at_once = threading.Barrier(RIVALS)

        def send(number: int) -> Answer:
            at_once.wait()
            return requests[number % len(requests)](self.api)

        with ThreadPoolExecutor(RIVALS) as threads:
            return list(threads.map(send, range(RIVALS)))

    def create(self, **config: Any) -> Request:
        return lambda api: api.post("/resources", self.body(**config))

    def body(self, **config: Any) -> dict[str, Any]:
        kind = "virtual-machine"
        return {"name": "rival", "resourceType": kind, "nodeId": self.node, "config": vm_config(**config)}

    def verb(self, verb: str, **body: Any) -> Request:
        return lambda api: api.post(f"/resources/{self.vm}/{verb}", body or None)

    def vms(self) -> list[dict[str, Any]]:
        """Those on the race's node, after a look at the site's counters."""
        after = self._after(self.node)
        assert after["differences"] == []
        return [vm for vm in after["vms"] if not vm["deleted"]]

    def the_vm(self) -> dict[str, Any]:
        (vm,) = [vm for vm in self._after(self.node)["vms"] if vm["id"] == self.vm]
        self.vms()
        return vm


def told(answers: list[Answer]) -> Counter[str]:
    """How often which answer: the status of what went well, the code of what was refused."""
    return Counter(str(a.status) if a.status < 400 else f"{a.status} {a.json['code']}" for a in answers)


@pytest.fixture(scope="module")
def arena(sites: Callable[..., Site], migrated: Database) -> Iterator[Arena]:
    site = sites(
        migrated,
        DEBUG=0,
        SECRET_KEY="a-key-for-the-tests-alone-" + "0" * 40,
        API_RATE=0,
        TOKEN_RATE=0,
        OPEN_VLANS=1,
        LOG_LEVEL="WARNING",
        WEB_WORKERS=WEB_PROCESSES,
        GUNICORN_LOG_LEVEL="warning",
    )
    yield Arena(site)
    assert "Traceback" not in site.output()


def test_it_gives_one_gpu_to_one(arena: Arena) -> None:
    race = arena.race("gpu")
    gpu = {"enabled": True, "mode": "passthrough", "deviceIds": ["GPU-0"]}
    assert told(race.run(race.create(gpuConfig=gpu))) == {"201": 1, "409 conflict": 19}
    assert len(race.vms()) == 1


def test_it_gives_the_last_mig_slice_to_one(arena: Arena) -> None:
    race = arena.race("mig")
    gpu = {"enabled": True, "mode": "mig", "migProfile": "1g.6gb"}
    assert told(race.run(race.create(gpuConfig=gpu))) == {"201": 1, "409 conflict": 19}
    assert len(race.vms()) == 3


def test_it_gives_one_address_to_one(arena: Arena) -> None:
    race = arena.race("address")
    network = static_network("10.7.0.10")
    assert told(race.run(race.create(networkConfig=network))) == {"201": 1, "409 conflict": 19}
    assert len(race.vms()) == 1


def test_it_gives_the_last_room_of_a_node_to_one(arena: Arena) -> None:
    race = arena.race("room")
    assert told(race.run(race.create())) == {"201": 1, "409 conflict": 19}
    assert len(race.vms()) == 1


def test_it_gives_the_last_of_a_quota_to_one(arena: Arena) -> None:
    race = arena.race("quota")
    assert told(race.run(race.create())) == {"201": 1, "409 quota_exceeded": 19}
    assert len(race.vms()) == 1


def test_it_does_once_what_has_one_idempotency_key(arena: Arena) -> None:
    race = arena.race("key")
    answers = race.run(
        lambda api: api.send("POST", "/resources", race.body(), {"Idempotency-Key": "the-very-same-request"})
    )
    assert told(answers).keys() <= {"201", "409 locked"}
    created = [answer for answer in answers if answer.status == 201]
    assert len([answer for answer in created if "Idempotent-Replayed" not in answer.headers]) == 1
    assert len({answer.body for answer in created}) == 1
    assert len(race.vms()) == 1


def test_it_rotates_a_refresh_token_once(arena: Arena) -> None:
    race = arena.race("refresh")
    answers = race.run(lambda api: Api(api.port).post("/auth/token/refresh", {"refresh": race.refresh}))
    assert told(answers) == {"200": 1, "401 token_not_valid": 19}


def test_it_starts_a_vm_once(arena: Arena) -> None:
    race = arena.race("start")
    answers = race.run(race.verb("start"))
    assert told(answers) == {"202": 1, "409 locked": 19}
    (vm,) = race.vms()
    assert vm["tasks"] == [("vm-deploy", "pending")]
    assert {a.json["taskId"] for a in answers} == {f"task-{vm['task']}"}


def test_it_deletes_or_starts_and_never_both(arena: Arena) -> None:
    race = arena.race("delete")
    answers = told(race.run(race.verb("start"), lambda api: api.send("DELETE", f"/resources/{race.vm}")))
    vm = race.the_vm()
    if vm["deleted"]:
        assert answers == {"200": 1, "404 not_found": 19}
        assert vm["tasks"] == []
    else:
        assert answers == {"202": 1, "409 locked": 19}
        assert vm["tasks"] == [("vm-deploy", "pending")]


def test_it_patches_before_a_start_or_not_at_all(arena: Arena) -> None:
    race = arena.race("patch")
    answers = told(race.run(race.verb("start"), _more_vcpus(race)))
    assert answers["202"] == 1
    assert answers.keys() <= {"202", "200", "409 locked"}
    assert answers["409 locked"] >= 9  # the other starts
    vm = race.the_vm()
    assert vm["vcpus"] == (4 if answers["200"] else 2)
    assert vm["tasks"] == [("vm-deploy", "pending")]


def test_it_lets_one_through_that_names_the_version(arena: Arena) -> None:
    race = arena.race("version")
    answers = told(
        race.run(
            lambda api: api.send("POST", f"/resources/{race.vm}/start", None, {"If-Match": '"1"'}),
            _more_vcpus(race, {"If-Match": '"1"'}),
        )
    )
    assert answers["412 precondition_failed"] == 19
    assert answers["200"] + answers["202"] == 1
    vm = race.the_vm()
    assert vm["version"] == 2
    assert vm["vcpus"] == (4 if answers["200"] else 2)


def test_it_takes_every_edit_that_names_no_version(arena: Arena) -> None:
    race = arena.race("edits")
    names = iter([f"name {number}" for number in range(RIVALS)])
    answers = told(race.run(lambda api: api.send("PATCH", f"/resources/{race.vm}", {"name": next(names)})))
    assert answers == {"200": RIVALS}
    assert race.the_vm()["version"] == 1 + RIVALS


def test_it_takes_a_snapshot_of_one_name_once(arena: Arena) -> None:
    race = arena.race("snapshot")
    assert told(race.run(race.verb("snapshots", name="the same"))) == {"201": 1, "409 conflict": 19}
    assert race.the_vm()["snapshots"] == 1


def test_it_cancels_a_task_once(arena: Arena) -> None:
    race = arena.race("cancel")
    task_id = race.verb("start")(race.api).json["taskId"]
    answers = told(race.run(lambda api: api.post(f"/resources/tasks/{task_id}/cancel")))
    assert answers == {"200": 1, "409 conflict": 19}
    vm = race.the_vm()
    assert (vm["status"], vm["task"], vm["tasks"]) == ("queued", None, [("vm-deploy", "cancelled")])


def _more_vcpus(race: Race, headers: dict[str, str] | None = None) -> Request:
    return lambda api: api.send("PATCH", f"/resources/{race.vm}", {"config": {"vcpus": 4}}, headers)
