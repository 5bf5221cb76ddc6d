"""`manage.py serve`, as somebody who tries AIWM has it: one command, then the guide's requests one after another."""

import os
import re
import signal
from collections.abc import Callable
from typing import Any

import pytest

from tests.guide import GUIDE_BODY
from tests.processes.api import Answer, Api
from tests.processes.sites import Site, free_port, wait_for

NODE = "675a1b2c3d4e5f6a7b8c9d0e"
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")


class Served:
    """A site under `serve`."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.api = Api(free_port())
        self.process = site.manage("serve", "--port", str(self.api.port))
        wait_for(self._is_ready, 120, "the site")

    def _is_ready(self) -> bool:
        assert self.process.poll() is None, self.site.output()[-8000:]
        return self.api.answers("/readyz")

    def log_in(self) -> Api:
        answer = self.api.post("/auth/token", {"username": "demo", "password": "demo"})
        assert answer.status == 200, answer
        return Api(self.api.port, answer.json["access"])

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(20)


@pytest.mark.processes
@pytest.mark.one_engine
def test_it_serves_the_guides_story_and_keeps_it(site_of: Callable[..., Site]) -> None:
    site = site_of(POLL_SECONDS=0.2, VM_BACKEND_OPTIONS={"deploy_s": 0.5, "stop_s": 0.5, "restore_s": 0.5})
    served = Served(site)
    assert served.api.get("/healthz").json == {"status": "ok"}
    assert served.api.get("/readyz").json == {"status": "ready", "checks": {"database": "ok", "workers": "ok"}}
    api = served.log_in()
    _the_guides_story(api)
    kept = expect(201, api.post("/resources", GUIDE_BODY)).json["_id"]
    assert site.output().count("15 VMs written") == 1

    assert served.stop() == 0, site.output()[-8000:]
    assert site.processes() == {}

    # It keeps what it had, and makes nothing anew.
    again = Served(site)
    expect(200, again.log_in().get(f"/resources/{kept}"))
    assert site.output().count("15 VMs written") == 1

    # Where it is killed, nothing of it stays behind.
    os.kill(again.process.pid, signal.SIGKILL)
    again.process.wait(5)
    wait_for(lambda: not site.processes(), 15, "the end of its children")


def _the_guides_story(api: Api) -> None:
    vm = f"/resources/{_create(api)}"
    _start(api, vm)
    _look(api, vm)
    _snapshots(api, vm)
    _restart(api, vm)
    _stop(api, vm)
    _delete(api, vm)


def _create(api: Api) -> str:
    answer = expect(201, api.post("/resources", GUIDE_BODY))
    document = answer.json
    vm_id: str = document["_id"]
    assert answer.headers["Location"] == f"/resources/{vm_id}"
    demo = "675a1b2c3d4e5f6a7b8c9d0d"
    assert {name: document[name] for name in GUIDE_BODY} == GUIDE_BODY
    assert document["status"] == "queued"
    assert document["owner"] == {"userId": demo, "orgId": "675a1b2c3d4e5f6a7b8c9d0c"}
    assert document["createdBy"] == demo
    assert TIME.fullmatch(document["createdAt"])
    assert TIME.fullmatch(document["updatedAt"])
    listed = expect(200, api.get("/resources?resourceType=virtual-machine&status=queued&page=1&limit=10")).json
    assert vm_id in [row["_id"] for row in listed["data"]]
    assert listed["pagination"]["limit"] == 10
    assert listed["statistics"]["byStatus"]["queued"] == listed["pagination"]["total"]
    return vm_id


def _start(api: Api, vm: str) -> None:
    _ask(api, f"{vm}/start", "VM start command sent successfully")
    status = _until(api, vm, "deploying", "running")
    vm_id = vm.rsplit("/", 1)[1]
    assert status["resourceId"] == vm_id
    assert status["health"] == "healthy"
    assert TIME.fullmatch(status["lastCheck"])
    assert status["runtime"]["uptime"] >= 0
    runtime = expect(200, api.get(vm)).json["runtime"]
    assert TIME.fullmatch(runtime.pop("startedAt"))
    assert runtime == {
        "id": f"vm-{vm_id}",
        "endpoint": "192.168.100.10:22",
        "ipAddress": "192.168.100.10",
        "allocatedGPU": ["GPU-0", "GPU-1"],
        "allocatedCPU": 8,
        "allocatedRAM": 32,
    }


def _look(api: Api, vm: str) -> None:
    """Logs, metrics and console."""
    said = [line["message"] for line in expect(200, api.get(f"{vm}/logs")).json["logs"]]
    assert "VM started successfully" in said
    metrics = expect(200, api.get(f"{vm}/metrics")).json["metrics"]
    assert metrics["cpu"]["cores"] == 8
    assert metrics["memory"]["total"] == 32768
    assert metrics["disk"]["total"] == 100
    assert [gpu["deviceId"] for gpu in metrics["gpu"]] == ["GPU-0", "GPU-1"]
    assert metrics["network"].keys() == {"rxBytes", "txBytes"}
    console = expect(200, api.get(f"{vm}/console"))
    vm_id = vm.rsplit("/", 1)[1]
    assert console.headers["Cache-Control"] == "no-store"
    assert console.json["consoleType"] == "vnc"
    assert re.fullmatch(rf"wss?://[^/]+/console/vm-{vm_id}\?token=[\w-]{{20,}}", console.json["url"])
    assert TIME.fullmatch(console.json["expiresAt"])


def _snapshots(api: Api, vm: str) -> None:
    asked = {"name": "Before GPU Driver Update", "description": "Snapshot before updating NVIDIA drivers"}
    snapshot = expect(201, api.post(f"{vm}/snapshots", asked)).json
    assert {name: snapshot[name] for name in asked} == asked
    assert snapshot["status"] == "completed"
    assert snapshot["size"] > 0
    assert expect(200, api.get(f"{vm}/snapshots")).json["snapshots"] == [snapshot]
    of_it = f"{vm}/snapshots/{snapshot['snapshotId']}"
    answer = _ask(api, f"{of_it}/restore", "Snapshot restore initiated")
    assert answer["estimatedTime"] == 160
    assert expect(200, api.get(f"{vm}/status")).json["status"] == "running"
    _await_task(api, answer["taskId"])
    _await_task(api, expect(202, api.send("DELETE", of_it)).json["taskId"])
    assert expect(200, api.get(f"{vm}/snapshots")).json["snapshots"] == []


def _restart(api: Api, vm: str) -> None:
    _ask(api, f"{vm}/restart", "VM restart command sent successfully")
    _until(api, vm, "deploying", "running")


def _stop(api: Api, vm: str) -> None:
    _ask(api, f"{vm}/stop", "VM stop command sent successfully")
    status = _until(api, vm, "stopping", "stopped")
    assert status["runtime"]["uptime"] == 0
    assert TIME.fullmatch(expect(200, api.get(vm)).json["runtime"]["stoppedAt"])


def _delete(api: Api, vm: str) -> None:
    assert _free_gpus(api) == ["GPU-2", "GPU-3"]
    answer = expect(202, api.send("DELETE", vm)).json
    assert answer["success"] is True
    assert answer["message"] == "VM deleted successfully"
    expect(404, api.get(vm))
    _await_task(api, answer["taskId"])
    assert _free_gpus(api) == ["GPU-0", "GPU-1", "GPU-2", "GPU-3"]


def _free_gpus(api: Api) -> list[str]:
    gpus = expect(200, api.get(f"/resources/nodes/{NODE}")).json["gpus"]
    return [gpu["deviceId"] for gpu in gpus if gpu["available"]]


def _ask(api: Api, path: str, message: str) -> dict[str, Any]:
    answer = expect(202, api.post(path)).json
    assert answer["success"] is True
    assert answer["message"] == message
    assert re.fullmatch(r"task-[0-9a-f]{24}", answer["taskId"])
    return dict(answer)


def _until(api: Api, vm: str, while_at_it: str, then: str) -> dict[str, Any]:
    """Poll as the guide's page does; between the two statuses there is no other."""

    def status() -> dict[str, Any] | None:
        document = expect(200, api.get(f"{vm}/status")).json
        assert document["status"] in (while_at_it, then), document
        return document if document["status"] == then else None

    return dict(wait_for(status, 20, f"{then} of {vm}"))


def _await_task(api: Api, task_id: str) -> None:
    def ended() -> bool:
        task = expect(200, api.get(f"/resources/tasks/{task_id}")).json
        assert task["status"] in ("pending", "running", "succeeded"), task
        return task["status"] == "succeeded"

    wait_for(ended, 20, task_id)


def expect(status: int, answer: Answer) -> Answer:
    assert answer.status == status, answer
    return answer
