"""Runs in a process of a site: what the tried API has in it."""

from typing import Any

from accounts.models import Organization
from accounts.tokens import issue
from tests.factories import GpuFactory, NodeFactory, OperatorFactory, UserFactory

DEVICES = 4  # `tests.openapi.hooks` names them


def prepare(role: str) -> dict[str, str]:
    """A large node with GPUs, and an operator or a member with a large quota."""
    user: Any = OperatorFactory() if role == "operator" else UserFactory()
    Organization.objects.update(quota_vms=10**6, quota_vcpus=10**8, quota_ram_mb=10**12, quota_disk_gb=10**12)
    # The id is that of the document's examples, which must work as they stand.
    node: Any = NodeFactory(id="675a1b2c3d4e5f6a7b8c9d0e", cap_vcpus=10**8, cap_ram_mb=10**12, cap_disk_gb=10**12)
    for number in range(DEVICES):
        GpuFactory(node=node, device_id=f"GPU-{number}")
    return {"token": issue(user).access, "node": node.id}
