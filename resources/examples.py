"""The examples of the OpenAPI document: one VM with two GPUs, from its creation on."""

from typing import Any

VM_ID = "675b2c3d4e5f6a7b8c9d0e0f"
NODE_ID = "675a1b2c3d4e5f6a7b8c9d0e"
USER_ID = "675a1b2c3d4e5f6a7b8c9d0d"
ORG_ID = "675a1b2c3d4e5f6a7b8c9d0c"
TASK_ID = "task-675b2c3d4e5f6a7b8c9d0e10"

_CREATED_AT = "2025-12-03T10:00:00.000Z"
_STARTED_AT = "2025-12-03T10:05:00.000Z"

CONFIG: dict[str, Any] = {
    "type": "virtual-machine",
    "osImage": "ubuntu-22.04",
    "vcpus": 8,
    "ramMB": 32768,
    "diskGB": 100,
    "gpuConfig": {"enabled": True, "mode": "passthrough", "deviceIds": ["GPU-0", "GPU-1"]},
    "networkConfig": {
        "mode": "bridge-vlan",
        "ipMode": "static",
        "ipAddress": "192.168.100.10",
        "netmask": "255.255.255.0",
        "gateway": "192.168.100.1",
        "vlanId": 100,
    },
    "cloudInit": {
        "hostname": "dev-vm-01",
        "sshPublicKey": "ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAABAQC...",
        "username": "ubuntu",
    },
}

CREATE_REQUEST: dict[str, Any] = {
    "name": "Dev VM Ubuntu 22.04",
    "description": "Development VM with GPU passthrough",
    "resourceType": "virtual-machine",
    "nodeId": NODE_ID,
    "config": CONFIG,
}

MIG_REQUEST: dict[str, Any] = {
    "name": "Inference VM",
    "resourceType": "virtual-machine",
    "nodeId": NODE_ID,
    "config": {
        "type": "virtual-machine",
        "osImage": "debian-12",
        "vcpus": 4,
        "ramMB": 16384,
        "diskGB": 50,
        "gpuConfig": {"enabled": True, "mode": "mig", "migProfile": "1g.5gb"},
        "networkConfig": {"mode": "bridge-vlan", "ipMode": "dhcp"},
    },
}

_QUEUED: dict[str, Any] = {
    "_id": VM_ID,
    **CREATE_REQUEST,
    "status": "queued",
    "owner": {"userId": USER_ID, "orgId": ORG_ID},
    "createdBy": USER_ID,
    "createdAt": _CREATED_AT,
    "updatedAt": _CREATED_AT,
}
_RUNTIME: dict[str, Any] = {
    "id": f"vm-{VM_ID}",
    "endpoint": "192.168.100.10:22",
    "ipAddress": "192.168.100.10",
    "allocatedGPU": ["GPU-0", "GPU-1"],
    "allocatedCPU": 8,
    "allocatedRAM": 32,
    "startedAt": _STARTED_AT,
}
_RUNNING_ACTIONS = ["stop", "restart", "console", "snapshot", "restore"]
_RUNNING: dict[str, Any] = {
    **_QUEUED,
    "status": "running",
    "runtime": _RUNTIME,
    "lastHealthCheck": "2025-12-03T10:30:00.000Z",
    "updatedAt": _STARTED_AT,
}

CREATE: dict[str, Any] = {**_QUEUED, "allowedActions": ["start", "edit", "delete"]}
GET: dict[str, Any] = {**_RUNNING, "allowedActions": _RUNNING_ACTIONS}
PATCH_REQUEST: dict[str, Any] = {"description": None, "config": {"vcpus": 16, "gpuConfig": None}}
PATCH: dict[str, Any] = {
    **{name: value for name, value in CREATE.items() if name != "description"},
    "config": {**{name: value for name, value in CONFIG.items() if name != "gpuConfig"}, "vcpus": 16},
    "updatedAt": "2025-12-03T10:02:00.000Z",
}
LIST: dict[str, Any] = {
    "data": [_RUNNING],
    "pagination": {"total": 1, "page": 1, "limit": 10, "totalPages": 1},
    "statistics": {
        "byStatus": {
            "queued": 2, "deploying": 1, "running": 1, "stopping": 0, "stopped": 2, "failed": 0, "error": 0,
        },
    },
}  # fmt: skip

START: dict[str, Any] = {"success": True, "message": "VM start command sent successfully", "taskId": TASK_ID}
STOP: dict[str, Any] = {**START, "message": "VM stop command sent successfully"}
RESTART: dict[str, Any] = {**START, "message": "VM restart command sent successfully"}
DELETED: dict[str, Any] = {"success": True, "message": "VM deleted successfully"}
DELETING: dict[str, Any] = {**DELETED, "taskId": TASK_ID}

STATUS: dict[str, Any] = {
    "resourceId": VM_ID,
    "_id": VM_ID,
    "status": "running",
    "runtime": {**_RUNTIME, "uptime": 7200},
    "health": "healthy",
    "lastCheck": "2025-12-03T12:05:00.000Z",
    "allowedActions": _RUNNING_ACTIONS,
}

LOGS: dict[str, Any] = {
    "resourceId": VM_ID,
    "logs": [
        {"timestamp": _STARTED_AT, "level": "info", "message": "VM started successfully"},
        {
            "timestamp": "2025-12-03T10:05:10.000Z",
            "level": "info",
            "message": "Network interface eth0 configured with IP 192.168.100.10",
        },
    ],
}
LOGS_TEXT = (
    "2025-12-03T10:05:00.000Z INFO  VM started successfully\n"
    "2025-12-03T10:05:10.000Z INFO  Network interface eth0 configured with IP 192.168.100.10\n"
)

METRICS: dict[str, Any] = {
    "resourceId": VM_ID,
    "timestamp": "2025-12-03T12:05:00.000Z",
    "metrics": {
        "cpu": {"usage": 45.2, "cores": 8},
        "memory": {"used": 24576, "total": 32768, "usagePercent": 75.0},
        "disk": {"used": 45, "total": 100, "usagePercent": 45.0},
        "gpu": [
            {
                "deviceId": "GPU-0",
                "utilization": 82.5,
                "memoryUsed": 12288,
                "memoryTotal": 16384,
                "temperature": 68,
            },
            {
                "deviceId": "GPU-1",
                "utilization": 78.3,
                "memoryUsed": 10240,
                "memoryTotal": 16384,
                "temperature": 65,
            },
        ],
        "network": {"rxBytes": 1048576000, "txBytes": 524288000},
    },
}
METRICS_HISTORY: dict[str, Any] = {
    "resourceId": VM_ID,
    "step": 60,
    "points": [
        {
            "timestamp": "2025-12-03T12:04:00.000Z",
            "cpu": 44.8,
            "memory": 74.9,
            "disk": 45.0,
            "gpu": 80.1,
            "rxRate": 145635.2,
            "txRate": 72817.6,
        },
        {
            "timestamp": "2025-12-03T12:05:00.000Z",
            "cpu": 45.2,
            "memory": 75.0,
            "disk": 45.0,
            "gpu": 80.4,
            "rxRate": 146021.0,
            "txRate": None,
        },
    ],
}

CONSOLE: dict[str, Any] = {
    "resourceId": VM_ID,
    "consoleType": "vnc",
    "url": f"wss://aiwm.example.com/console/vm-{VM_ID}?token=xyz123",
    "viewerUrl": f"https://aiwm.example.com/console/view/vm-{VM_ID}#token=xyz123",
    "expiresAt": "2025-12-03T13:05:00.000Z",
}

TASK: dict[str, Any] = {
    "taskId": TASK_ID,
    "resourceId": VM_ID,
    "type": "vm-deploy",
    "status": "running",
    "progress": 40,
    "message": "Creating the disk",
    "error": None,
    "createdBy": USER_ID,
    "createdAt": "2025-12-03T10:04:30.000Z",
    "startedAt": "2025-12-03T10:04:31.000Z",
    "finishedAt": None,
}
TASKS: dict[str, Any] = {"data": [TASK], "pagination": {"total": 1, "page": 1, "limit": 20, "totalPages": 1}}
CANCELLED: dict[str, Any] = {
    **TASK,
    "status": "cancelled",
    "progress": 0,
    "message": "Cancelled before it began",
    "startedAt": None,
    "finishedAt": "2025-12-03T10:04:31.000Z",
}

EVENTS: dict[str, Any] = {
    "data": [
        {
            "eventId": "675a1b2c3d4e5f6a7b8c9d30",
            "timestamp": "2025-12-03T10:06:12.000Z",
            "actor": {"userId": USER_ID, "username": "demo"},
            "via": "api",
            "action": "vm.stop",
            "objectType": "vm",
            "objectId": VM_ID,
            "outcome": "refused",
            "code": "locked",
            "detail": "A task runs on this VM. Wait for it to end.",
            "count": 1,
            "before": None,
            "after": None,
            "requestId": "0192f0c1a2b37c4d8e5f6a7b8c9d0e1f",
        },
        {
            "eventId": "675a1b2c3d4e5f6a7b8c9d2f",
            "timestamp": "2025-12-03T10:04:30.000Z",
            "actor": {"userId": USER_ID, "username": "demo"},
            "via": "api",
            "action": "vm.start",
            "objectType": "vm",
            "objectId": VM_ID,
            "outcome": "done",
            "count": 1,
            "before": {"status": "queued"},
            "after": None,
            "requestId": "0192f0c1a2b37c4d8e5f6a7b8c9d0e1a",
        },
    ],
    "pagination": {"total": 2, "page": 1, "limit": 20, "totalPages": 1},
}

ESTIMATE_REQUEST: dict[str, Any] = {"config": CONFIG}
ESTIMATE: dict[str, Any] = {
    "currency": "USD",
    "hourly": 5.33,
    "monthly": 3890.9,
    "items": [
        {"item": "vcpus", "quantity": 8, "unit": "vCPU", "unitPrice": 0.02, "hourly": 0.16},
        {"item": "ramGB", "quantity": 32, "unit": "GB", "unitPrice": 0.005, "hourly": 0.16},
        {"item": "diskGB", "quantity": 100, "unit": "GB", "unitPrice": 0.0001, "hourly": 0.01},
        {"item": "gpus", "quantity": 2, "unit": "GPU", "unitPrice": 2.5, "hourly": 5},
    ],
}
