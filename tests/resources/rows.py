"""Rows of VMs for tests of single functions, in whatever state a test wants, without acting on them: none holds a
claim or room, so that several may have one address."""

import json
from datetime import UTC, datetime
from typing import Any

from django.utils import timezone

from resources.models import VirtualMachine
from resources.states import Status
from tests.factories import NodeFactory, UserFactory, static_network, vm_config

STARTED = datetime(2025, 12, 3, 10, 5, tzinfo=UTC)


def config_of(**changes: Any) -> dict[str, Any]:
    sizes = {"vcpus": 8, "ramMB": 32_768, "diskGB": 100}
    return vm_config(**{**sizes, "networkConfig": static_network("192.168.100.10"), **changes})


def vm_row(status: Status = Status.RUNNING, config: dict[str, Any] | None = None, **columns: Any) -> VirtualMachine:
    """A VM of `user` on `node`, both made unless given. Running ones run since `STARTED`."""
    user = columns.pop("user", None) or UserFactory()
    config = config or config_of()
    was_deployed = status not in (Status.QUEUED, Status.FAILED)
    return VirtualMachine.objects.create(
        **{
            "name": "Dev VM",
            "organization": user.organization,
            "owner": user,
            "created_by": user,
            "node": columns.pop("node", None) or NodeFactory(),
            "status": status,
            "config_json": json.dumps(config),
            "os_image": config["osImage"],
            "vcpus": config["vcpus"],
            "ram_mb": config["ramMB"],
            "disk_gb": config["diskGB"],
            "deployed": was_deployed,
            "desired_on": status == Status.RUNNING,
            "desired_since": STARTED if was_deployed else None,
            "started_at": STARTED if was_deployed else None,
            "created_at": timezone.now(),
            "updated_at": timezone.now(),
            **columns,
        }
    )
