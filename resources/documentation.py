"""What the OpenAPI document says of each operation below /resources: the arguments of `@extend_schema`.

The errors that an operation shares with others are added by the site; here stand those that are its own.
"""

from typing import Any

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiExample, OpenApiResponse

from common.openapi import (
    IDEMPOTENCY_KEY,
    IF_MATCH,
    IF_NONE_MATCH,
    NOT_MODIFIED,
    OWNING_ORG,
    PAGE,
    answer,
    etag,
    path_id,
    problems,
    query,
    replayed,
    response_header,
)
from common.schemas import OBJECT_ID
from common.schemas import TASK_ID as TASK_ID_PATTERN
from resources import examples, logs
from resources.config import CreateBody
from resources.metrics_history import RANGES
from resources.pricing import EstimateBody
from resources.queries import SORT_FIELDS
from resources.request_schemas import VirtualMachinePatch
from resources.requests import ForceBody
from resources.response_models import (
    Accepted,
    Catalog,
    ConsoleAccess,
    CurrentMetrics,
    Done,
    Estimate,
    EventList,
    Logs,
    MetricsHistory,
    TaskDetails,
    TaskList,
    VirtualMachine,
    VirtualMachineList,
    VirtualMachineStatus,
)
from resources.states import Status

VM = path_id("resource_id", OBJECT_ID, "The VM's id", examples.VM_ID)
TASK_ID = path_id("task_id", TASK_ID_PATTERN, "The task's id", examples.TASK_ID)
_CHANGED_SINCE = "If-Match did not match: the VM was changed since it was read."
ACT = problems(_412=_CHANGED_SINCE)


# VMs

_VMS = ["Virtual machines"]

LIST: dict[str, Any] = {
    "operation_id": "listVirtualMachines",
    "tags": _VMS,
    "summary": "List VMs",
    "description": "Those of one's organization; operators see all. `pagination.total` counts what the filters match, "
    "`statistics` count over the same filters without `status`.",
    "parameters": [
        query(
            "resourceType",
            {"type": "string", "enum": ["virtual-machine"], "default": "virtual-machine"},
            "There is one type.",
        ),
        query(
            "status",
            {"type": "array", "items": {"type": "string", "enum": [str(status) for status in Status]}},
            "One or more, comma-separated.",
        ),
        query("nodeId", {"type": "string", "pattern": OBJECT_ID}, "Those on this node."),
        query(
            "search",
            {"type": "string", "maxLength": 200, "pattern": r"^[^\u0000]*$"},
            "A part of the name, the description or the address, in any case.",
        ),
        *PAGE,
        query(
            "sortBy",
            {"type": "string", "enum": list(SORT_FIELDS), "default": "createdAt"},
            "Ties are broken by id, so that pages never overlap.",
        ),
        query("sortOrder", {"type": "string", "enum": ["asc", "desc"], "default": "desc"}, "The direction."),
        IF_NONE_MATCH,
        etag(200, 304),
    ],
    "responses": {200: answer(VirtualMachineList, "A page of VMs", examples.LIST), **NOT_MODIFIED},
}

CREATE: dict[str, Any] = {
    "operation_id": "createVirtualMachine",
    "tags": _VMS,
    "summary": "Create a VM",
    "description": "Reserves room on the node, quota, GPUs and the address. The status is `queued`; start deploys it.",
    "parameters": [
        IDEMPOTENCY_KEY,
        OWNING_ORG,
        response_header("Location", "The path of the VM.", 201),
        etag(201),
        replayed(201),
    ],
    "request": CreateBody,
    "responses": {201: answer(VirtualMachine, "The VM as it was created", examples.CREATE)},
    "examples": [
        OpenApiExample("Two GPUs and a static address", examples.CREATE_REQUEST, request_only=True),
        OpenApiExample("A MIG instance and DHCP", examples.MIG_REQUEST, request_only=True),
    ],
}

GET: dict[str, Any] = {
    "operation_id": "getVirtualMachine",
    "tags": _VMS,
    "summary": "Get a VM",
    "description": "With what the caller may do to it now.",
    "parameters": [VM, IF_NONE_MATCH, etag(200, 304)],
    "responses": {200: answer(VirtualMachine, "The VM", examples.GET), **NOT_MODIFIED},
}

PATCH: dict[str, Any] = {
    "operation_id": "updateVirtualMachine",
    "tags": _VMS,
    "summary": "Change a VM",
    "description": "A JSON merge patch: nested objects merge, null removes an optional member, and the whole is "
    "validated. `name` and `description` change at any time; `config` in `queued`, `stopped` and `failed`; `nodeId`, "
    "`osImage` and `cloudInit` in `queued` and `failed`. `diskGB` only grows once the disk exists, and a snapshot of "
    "before it grew can only be deleted then. Hardware and VLAN reach the guest at its next start; an address is "
    "set by cloud-init at its first boot alone, and must be changed inside of a guest that has had it.",
    "parameters": [VM, IF_MATCH, etag(200)],
    "request": VirtualMachinePatch,
    "responses": {200: answer(VirtualMachine, "The VM as it is now", examples.PATCH)},
    "examples": [OpenApiExample("More vCPUs, and no GPU", examples.PATCH_REQUEST, request_only=True)],
}

DELETE: dict[str, Any] = {
    "operation_id": "deleteVirtualMachine",
    "tags": _VMS,
    "summary": "Delete a VM",
    "description": "It is hidden at once. Where something of it may be on its node, a task removes that, and what the "
    "VM holds stays with it until then.",
    "parameters": [VM, IF_MATCH],
    "responses": {
        200: answer(Done, "Nothing of it was on a node: all that it held is free", examples.DELETED),
        202: answer(Accepted, "A task removes it from its node", examples.DELETING),
    },
}

# Life cycle

_LIFECYCLE = ["Life cycle"]
_FORCE = [OpenApiExample("Cut the power at once", {"force": True}, request_only=True)]
_ACT_PARAMETERS = [VM, IF_MATCH, IDEMPOTENCY_KEY, replayed(202)]

START: dict[str, Any] = {
    "operation_id": "startVirtualMachine",
    "tags": _LIFECYCLE,
    "summary": "Start a VM",
    "description": "In `queued`, `stopped` and `failed`. The status is `deploying` until it runs.",
    "parameters": _ACT_PARAMETERS,
    "request": None,
    "responses": {202: answer(Accepted, "A task starts it", examples.START), **ACT},
}

STOP: dict[str, Any] = {
    "operation_id": "stopVirtualMachine",
    "tags": _LIFECYCLE,
    "summary": "Stop a VM",
    "description": "In `running` and `error`. The guest is asked to shut down, and after a time limit the power is "
    "cut; with `force` it is cut at once. The status is `stopping` until it is off.",
    "parameters": _ACT_PARAMETERS,
    "request": ForceBody,
    "responses": {202: answer(Accepted, "A task stops it", examples.STOP), **ACT},
    "examples": _FORCE,
}

RESTART: dict[str, Any] = {
    "operation_id": "restartVirtualMachine",
    "tags": _LIFECYCLE,
    "summary": "Restart a VM",
    "description": "In `running` and `error`. It is stopped as stop does it, and started with its config of now.",
    "parameters": _ACT_PARAMETERS,
    "request": ForceBody,
    "responses": {202: answer(Accepted, "A task restarts it", examples.RESTART), **ACT},
    "examples": _FORCE,
}

# Monitoring

_MONITORING = ["Monitoring"]

STATUS: dict[str, Any] = {
    "operation_id": "getVirtualMachineStatus",
    "tags": _MONITORING,
    "summary": "Get the status of a VM",
    "description": "For polling. `health` is `healthy` where it runs and was seen by one of the last looks at its "
    "node, `unhealthy` in `error`, and `unknown` else.",
    "parameters": [VM],
    "responses": {200: answer(VirtualMachineStatus, "The status", examples.STATUS)},
}

LOGS: dict[str, Any] = {
    "operation_id": "getVirtualMachineLogs",
    "tags": _MONITORING,
    "summary": "Get the log of a VM",
    "description": "What the platform did with it, and what its guest says: the newest lines, oldest first.",
    "parameters": [
        VM,
        query(
            "limit",
            {"type": "integer", "minimum": 1, "maximum": logs.MAX_LIMIT, "default": logs.DEFAULT_LIMIT},
            "How many lines at most.",
        ),
        query("level", {"type": "string", "enum": list(logs.LEVELS)}, "Those of this level."),
        query("since", {"type": "string", "format": "date-time"}, "Those from this time on."),
        query(
            "format",
            {"type": "string", "enum": list(logs.FORMATS), "default": "json"},
            "`text` downloads lines of text.",
        ),
        response_header("Content-Disposition", "With `format=text`.", 200, always=False),
    ],
    "responses": {
        (200, "application/json"): answer(Logs, "The lines", examples.LOGS),
        (200, "text/plain"): answer(OpenApiTypes.STR, "The lines", examples.LOGS_TEXT),
    },
}

METRICS: dict[str, Any] = {
    "operation_id": "getVirtualMachineMetrics",
    "tags": _MONITORING,
    "summary": "Get what a VM uses now",
    "description": "One that does not run has zeros and its last known disk. What cannot be known is absent, and "
    "`unavailable` says why.",
    "parameters": [VM],
    "responses": {200: answer(CurrentMetrics, "A sample", examples.METRICS)},
}

METRICS_HISTORY: dict[str, Any] = {
    "operation_id": "getVirtualMachineMetricsHistory",
    "tags": _MONITORING,
    "summary": "Get what a VM used",
    "description": "Averages of each step of the time asked for, the oldest first.",
    "parameters": [VM, query("range", {"type": "string", "enum": list(RANGES), "default": "1h"}, "How far back.")],
    "responses": {200: answer(MetricsHistory, "The points of a chart", examples.METRICS_HISTORY)},
}

EVENTS: dict[str, Any] = {
    "operation_id": "listVirtualMachineEvents",
    "tags": _MONITORING,
    "summary": "List what was done to a VM",
    "description": "Changes of it and its snapshots with who made them, and what was refused, the newest first. "
    "Operators also see from which address, and what users of other organizations tried.",
    "parameters": [VM, *PAGE],
    "responses": {200: answer(EventList, "A page of events", examples.EVENTS)},
}

CONSOLE: dict[str, Any] = {
    "operation_id": "openVirtualMachineConsole",
    "tags": _MONITORING,
    "summary": "Open the console of a VM",
    "description": "In `running` and `error`, for those who may change it. Each call gives a new token, good until "
    "`expiresAt`, or until the VM stops or the user loses access.",
    "parameters": [VM, response_header("Cache-Control", "`no-store`", 200)],
    "responses": {
        200: answer(ConsoleAccess, "Where the console is", examples.CONSOLE),
        **problems(_409="The VM has no console in this status."),
    },
}

# Tasks

_TASKS = ["Tasks"]

TASKS: dict[str, Any] = {
    "operation_id": "listTasks",
    "tags": _TASKS,
    "summary": "List tasks",
    "description": "Those of one's organization, the newest first; operators see all.",
    "parameters": PAGE,
    "responses": {200: answer(TaskList, "A page of tasks", examples.TASKS)},
}

TASKS_OF_VM: dict[str, Any] = {
    "operation_id": "listTasksOfVirtualMachine",
    "tags": _TASKS,
    "summary": "List the tasks of a VM",
    "description": "The newest first.",
    "parameters": [VM, *PAGE],
    "responses": {200: answer(TaskList, "A page of tasks", examples.TASKS)},
}

TASK: dict[str, Any] = {
    "operation_id": "getTask",
    "tags": _TASKS,
    "summary": "Get a task",
    "description": "It stays readable when its VM is deleted.",
    "parameters": [TASK_ID],
    "responses": {200: answer(TaskDetails, "The task", examples.TASK)},
}

TASK_CANCEL: dict[str, Any] = {
    "operation_id": "cancelTask",
    "tags": _TASKS,
    "summary": "Cancel a task",
    "description": "One that no worker has begun. The VM is as it was before it was asked for.",
    "parameters": [TASK_ID, IDEMPOTENCY_KEY, replayed(200)],
    "request": None,
    "responses": {200: answer(TaskDetails, "The task as it ended", examples.CANCELLED)},
}

# What a form needs

_FORMS = ["Catalogue"]

CATALOG: dict[str, Any] = {
    "operation_id": "getCatalog",
    "tags": _FORMS,
    "summary": "Get what a form needs",
    "description": "OS images and the nodes that have them, MIG profiles, limits, defaults, statuses with their looks "
    "and actions, and prices.",
    "responses": {200: OpenApiResponse(Catalog, "The catalogue")},
}

ESTIMATE: dict[str, Any] = {
    "operation_id": "estimateCost",
    "tags": _FORMS,
    "summary": "Estimate what a VM would cost",
    "description": "By the hour, and by the month of 730 hours. Nothing is reserved.",
    "parameters": [IDEMPOTENCY_KEY, replayed(200)],
    "request": EstimateBody,
    "responses": {200: answer(Estimate, "The price", examples.ESTIMATE)},
    "examples": [OpenApiExample("Two GPUs", examples.ESTIMATE_REQUEST, request_only=True)],
}
