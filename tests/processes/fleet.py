"""Runs in a process of a site: VMs that are started, stopped, restarted and deleted, one after another each."""

import time
from typing import Any

from accounts.tokens import issue
from nodes.models import Claim
from resources.models import LogEntry, VirtualMachine
from resources.recount import recount
from tasks.models import Task
from tests.factories import GpuFactory, NodeFactory, UserFactory, create_body, static_network, vm_config
from tests.processes.api import Api

# What is done with each VM, the next when the one before has ended.
PLANS = (
    ("start", "stop"),
    ("start", "restart"),
    ("start", "stop", "delete"),
    ("start",),
    ("start", "stop", "start"),
    ("start", "restart", "stop"),
)
_POLL_S = 0.05


def token() -> str:
    """An access token of a new user."""
    return issue(UserFactory()).access


def drive(port: int, bearer: str, count: int, seconds: float) -> dict[str, list[str]]:
    """Create so many VMs over the API and carry their plans out. Gives each VM's plan."""
    api = Api(port, bearer)
    nodes = NodeFactory.create_batch(3)
    for node in nodes:
        GpuFactory(node=node, device_id="GPU-0")
    plans: dict[str, list[str]] = {}
    for number in range(count):
        gpu = {"enabled": True, "mode": "mig", "migProfile": "1g.5gb"} if number % 4 == 0 else {"enabled": False}
        config = vm_config(networkConfig=static_network(f"10.1.0.{10 + number}"), gpuConfig=gpu)
        body = create_body(nodes[number % len(nodes)], name=f"vm {number}", config=config)
        created = api.post("/resources", body)
        assert created.status == 201, created
        plans[created.json["_id"]] = list(PLANS[number % len(PLANS)])
    waiting = {vm_id: list(plan) for vm_id, plan in plans.items()}
    give_up = time.monotonic() + seconds
    while waiting:
        if time.monotonic() > give_up:
            raise TimeoutError(f"not done: {waiting}; {list(Task.objects.filter(finished_at=None).values())}")
        for vm_id in VirtualMachine.objects.filter(pk__in=waiting, task=None).values_list("id", flat=True):
            if waiting[vm_id]:
                _do(api, vm_id, waiting[vm_id].pop(0))
            else:
                del waiting[vm_id]
        time.sleep(_POLL_S)
    return plans


def _do(api: Api, vm_id: str, verb: str) -> None:
    path = f"/resources/{vm_id}"
    answer = api.send("DELETE", path) if verb == "delete" else api.post(f"{path}/{verb}")
    assert answer.status == 202, answer


def report() -> dict[str, Any]:
    """What stands in the database when all is over."""
    return {
        "vms": {
            vm.id: {
                "status": vm.status,
                "desired_on": vm.desired_on,
                "deployed": vm.deployed,
                "deleted": vm.deleted_at is not None,
                "task": vm.task_id,
                "version": vm.version,
                "error": vm.error_message,
                "log": list(LogEntry.objects.filter(vm=vm).order_by("at", "id").values_list("message", flat=True)),
                "tasks": [_task(task) for task in Task.objects.filter(subject_id=vm.id).order_by("created_at", "id")],
                "claims": Claim.objects.filter(vm_id=vm.id).count(),
            }
            for vm in VirtualMachine.objects.all()
        },
        "tasks": Task.objects.count(),
        "deaths": sum(Task.objects.values_list("deaths", flat=True)),
        "differences": [str(difference) for difference in recount()],
    }


def _task(task: Task) -> dict[str, Any]:
    assert task.started_at is not None
    return {
        "type": task.type,
        "status": task.status,
        "error": task.error,
        "outcome": task.outcome,
        "slot": task.node_slot,
        "lease": task.lease_until and task.lease_until.isoformat(),
        "created": task.created_at.isoformat(),
        "started": task.started_at.isoformat(),
        "finished": task.finished_at and task.finished_at.isoformat(),
    }
