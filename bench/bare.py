"""What the API is compared with: plain Django views that do the same reads and writes, and nothing else.

They are written as one would who wants them fast: tuples instead of model objects on reads, orjson both ways, the
stored config decoded and encoded again with the rest, times left to orjson. The writes are single ORM statements in
one transaction, those that the API makes. They know the caller beforehand and check nothing: no token, role, rate,
schema, quota, ETag or log-in. They stand below the same middleware, so that what is compared is the way from the URL
to the answer.
"""

from typing import Any

import orjson
from django.db import transaction
from django.db.models import Count, F
from django.http import HttpRequest, HttpResponse
from django.urls import path
from django.utils import timezone
from django.views.decorators.csrf import csrf_exempt

from accounts.models import AuditEntry, Organization, User
from nodes.models import Claim, Node
from resources.documents import COLUMNS
from resources.models import LogEntry, VirtualMachine
from resources.states import Status
from tasks.models import Task

_user: User


def urls(user: User) -> list[Any]:
    """The paths of the bare views, which serve this user alone."""
    global _user
    _user = user
    return [
        path("bare", list_vms),
        path("bare/create", create),
        path("bare/<str:vm_id>", get),
        path("bare/<str:vm_id>/start", start),
    ]


def list_vms(request: HttpRequest) -> HttpResponse:
    vms = VirtualMachine.objects.filter(deleted_at=None, organization_id=_user.organization_id)
    counted = dict(vms.order_by().values_list("status").annotate(number=Count("*")))
    limit = int(request.GET["limit"])
    page = vms.order_by("-created_at", "-id").values_list(*COLUMNS)[:limit]
    return _json(
        {
            "data": [_document(*row) for row in page],
            "pagination": {"total": sum(counted.values()), "page": 1, "limit": limit},
            "statistics": {"byStatus": counted},
        }
    )


def get(request: HttpRequest, vm_id: str) -> HttpResponse:
    vms = VirtualMachine.objects.filter(deleted_at=None, organization_id=_user.organization_id, pk=vm_id)
    return _json(_document(*vms.values_list(*COLUMNS).get()))


@csrf_exempt
def create(request: HttpRequest) -> HttpResponse:
    body = orjson.loads(request.body)
    config = body["config"]
    network = config["networkConfig"]
    now = timezone.now()
    with transaction.atomic():
        Organization.objects.filter(pk=_user.organization_id).update(
            used_vms=F("used_vms") + 1,
            used_vcpus=F("used_vcpus") + config["vcpus"],
            used_ram_mb=F("used_ram_mb") + config["ramMB"],
            used_disk_gb=F("used_disk_gb") + config["diskGB"],
        )
        node = Node.objects.get(pk=body["nodeId"])
        Node.objects.filter(pk=node.pk).update(
            used_vcpus=F("used_vcpus") + config["vcpus"],
            used_ram_mb=F("used_ram_mb") + config["ramMB"],
            used_disk_gb=F("used_disk_gb") + config["diskGB"],
        )
        vm = VirtualMachine.objects.create(
            name=body["name"], description=body["description"], organization_id=_user.organization_id, owner=_user,
            created_by=_user, node=node, config_json=orjson.dumps(config).decode(), os_image=config["osImage"],
            vcpus=config["vcpus"], ram_mb=config["ramMB"], disk_gb=config["diskGB"], ip_address=network["ipAddress"],
            created_at=now, updated_at=now,
        )  # fmt: skip
        key = f"ip:{node.segment}:{network['vlanId']}:{network['ipAddress']}"
        Claim.objects.create(key=key, vm_id=vm.id, org_id=vm.organization_id)
        LogEntry.objects.create(vm=vm, at=now, level="info", message="VM created")
        _audit(vm, "vm.create", after=body)
    owner = {"userId": _user.id, "orgId": vm.organization_id}
    document = {"_id": vm.id, **body, "status": vm.status, "owner": owner, "createdBy": _user.id}
    return _json({**document, "createdAt": now, "updatedAt": now}, status=201)


@csrf_exempt
def start(request: HttpRequest, vm_id: str) -> HttpResponse:
    now = timezone.now()
    with transaction.atomic():
        vm = VirtualMachine.objects.select_related("node").get(
            deleted_at=None, organization_id=_user.organization_id, pk=vm_id
        )
        task = Task.objects.create(
            type="vm-deploy", subject_id=vm.id, node_id=vm.node_id, org_id=vm.organization_id, created_by=_user.id,
            payload={"from": vm.status, "was_on": vm.desired_on},
        )  # fmt: skip
        VirtualMachine.objects.filter(pk=vm.id, version=vm.version).update(
            task=task, version=F("version") + 1, updated_at=now, status=Status.DEPLOYING, desired_on=True,
            desired_since=now, deployed=True, error_message="", error_reason="",
        )  # fmt: skip
        LogEntry.objects.create(vm=vm, at=now, level="info", message="VM start requested")
        _audit(vm, "vm.start", before={"status": vm.status})
    return _json({"success": True, "taskId": f"task-{task.id}"}, status=202)


def _audit(vm: VirtualMachine, action: str, **what: Any) -> None:
    AuditEntry.objects.create(
        actor_id=_user.id, actor_name=_user.username, org_id=vm.organization_id, via="api", action=action,
        object_type="vm", object_id=vm.id, **what,
    )  # fmt: skip


def _document(
    vm_id: str, name: str, description: str, resource_type: str, node_id: str, status: str, config_json: str,
    owner_id: str, org_id: str, created_by: str, started_at: Any, stopped_at: Any, ip_address: str, os_image: str,
    vcpus: int, ram_mb: int, allocated_gpu: Any, error_message: str, task_id: Any, version: int, created_at: Any,
    updated_at: Any, last_seen: Any, online: Any,
) -> dict[str, Any]:  # fmt: skip
    document = {
        "_id": vm_id,
        "name": name,
        "description": description,
        "resourceType": resource_type,
        "nodeId": node_id,
        "status": status,
        "config": orjson.loads(config_json),
        "owner": {"userId": owner_id, "orgId": org_id},
        "createdBy": created_by,
        "createdAt": created_at,
        "updatedAt": updated_at,
    }
    if started_at is not None:
        document["runtime"] = {
            "id": f"vm-{vm_id}",
            "endpoint": f"{ip_address}:22",
            "ipAddress": ip_address,
            "allocatedGPU": allocated_gpu,
            "allocatedCPU": vcpus,
            "allocatedRAM": ram_mb / 1024,
            "startedAt": started_at,
        }
        document["lastHealthCheck"] = last_seen
    return document


def _json(data: Any, status: int = 200) -> HttpResponse:
    return HttpResponse(orjson.dumps(data, option=orjson.OPT_UTC_Z), status=status, content_type="application/json")
