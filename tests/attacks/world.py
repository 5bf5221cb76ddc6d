"""Two organizations on the same nodes, with one of everything each, and who may look at them."""

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from django.utils import timezone
from rest_framework.test import APIClient

from accounts import tokens
from accounts.actors import Actor
from accounts.models import Organization, User
from nodes.models import Node
from resources import actions
from resources.states import Status
from tasks.models import Worker
from tests.attacks.tenant_table import TENANTS, Row
from tests.factories import (
    GpuFactory,
    ImageFactory,
    NetworkFactory,
    NodeFactory,
    OperatorFactory,
    OrganizationFactory,
    SnapshotFactory,
    UserFactory,
    VirtualMachineFactory,
    create_body,
    static_network,
    vm_config,
)
from tests.nodes import bodies as node_bodies

NOTHING = "0123456789abcdef01234567"  # an id that no row has
PASSWORD = "correct-horse-battery"


@dataclass
class World:
    """`objects` are the values of the table's `{names}`, by kind of object. `foreign` is all that names something of
    the other organization: no answer to a tenant may hold it."""

    users: dict[str, User]
    objects: dict[str, dict[str, str]]
    node: Node
    foreign: set[str] = field(default_factory=set)

    def client(self, role: str) -> APIClient:
        client = APIClient(raise_request_exception=False)
        if role != "anonymous":
            client.credentials(HTTP_AUTHORIZATION=f"Bearer {tokens.issue(self.users[role]).access}")
        return client

    def request(self, row: Row, role: str, thing: str) -> dict[str, Any]:
        """What APIClient's `generic` takes, and `data` for its JSON."""
        values = self.objects[thing]
        headers = {}
        if row.header:
            name, _, value = row.header.format(**values).partition("=")
            headers[name] = value
        return {"method": row.method, "path": row.path.format(**values), "headers": headers, "data": self.body(row)}

    def body(self, row: Row) -> dict[str, Any] | None:
        """A good one, where the row takes one."""
        return {
            "POST /auth/token": {"username": self.users["member"].username, "password": PASSWORD},
            "POST /auth/token/refresh": {"refresh": self.refresh},
            "POST /auth/token/revoke": {"refresh": self.refresh},
            "POST /resources/nodes": node_bodies.node(),
            "PATCH /resources/nodes/{node}": {"hostname": "renamed.example.com"},
            "POST /resources/estimate": {"config": vm_config()},
            "POST /resources": create_body(self.node),
            "PATCH /resources/{off}": {"description": "changed"},
            "POST /resources/{on}/stop": {"force": True},
            "POST /resources/{on}/restart": {"force": False},
            "POST /resources/{off}/snapshots": {"name": "another"},
        }.get(f"{row.method} {row.path}")

    @cached_property
    def refresh(self) -> str:
        return tokens.issue(self.users["member"]).refresh


def build() -> World:
    """All rows of it."""
    Worker.objects.create(host="test", pid=1, seen_at=timezone.now())
    node, empty, gone = NodeFactory(), NodeFactory(), NodeFactory(deleted_at=timezone.now())
    GpuFactory(node=node, device_id="GPU-0")
    ImageFactory(os_image="windows-server-2019")  # of which none of these VMs is
    gpu = {"gpuConfig": {"enabled": True, "mode": "passthrough", "deviceIds": ["GPU-0"]}}
    ours, others = OrganizationFactory(name="ours"), OrganizationFactory(name="foreign-organization")
    users = {role: UserFactory(organization=ours, role=role) for role in TENANTS}
    users["member"].set_password(PASSWORD)
    users["member"].save()
    users["operator"] = OperatorFactory(organization=ours)
    stranger = UserFactory(organization=others, username="foreign-user")
    nodes = {"node": node.id, "empty_node": empty.id}
    own = _objects(ours, users["member"], node, "own", "192.168.7.10")
    other = _objects(others, stranger, node, "foreign", "192.168.66.10", **gpu)
    NetworkFactory(vlan_id=666, name="foreign-network", organizations=[others])
    world = World(
        users=users,
        objects={
            "own": {**own, **nodes},
            "other": other,
            "deleted": {**_deleted(ours, users["member"], node), "node": gone.id, "empty_node": gone.id},
            "made-up": dict.fromkeys(("on", "off", "org", "node", "empty_node"), NOTHING)
            | {"domain": f"vm-{NOTHING}", "task": f"task-{NOTHING}", "snap": f"snapshot-{NOTHING}"},
        },
        node=node,
    )
    world.foreign = {*other.values(), stranger.id, "foreign-", "192.168.66.10"}
    return world


def _objects(org: Organization, user: User, node: Node, word: str, address: str, **held: Any) -> dict[str, str]:
    def vm(name: str, status: Status, **config: Any) -> Any:
        return VirtualMachineFactory(
            organization=org, owner=user, node=node, name=f"{word}-{name}", status=status, config=config
        )

    running = vm("running", Status.RUNNING, networkConfig=static_network(address, vlan_id=None), **held)
    stopped = vm("stopped", Status.STOPPED)
    waiting = vm("waiting", Status.QUEUED)
    task = actions.start(Actor.of(user, via="api"), waiting.id)
    snapshot = SnapshotFactory(vm=stopped, name=f"{word}-snapshot")
    return {
        "on": running.id,
        "off": stopped.id,
        "domain": running.domain_name,
        "org": org.id,
        "task": task.public_id,
        "snap": snapshot.public_id,
    }


def _deleted(org: Organization, user: User, node: Node) -> dict[str, str]:
    vm = VirtualMachineFactory(organization=org, owner=user, node=node, status=Status.STOPPED)
    snapshot = SnapshotFactory(vm=vm)
    task = actions.delete(Actor.of(user, via="api"), vm.id)
    return {"on": vm.id, "off": vm.id, "domain": vm.domain_name, "task": task.public_id, "snap": snapshot.public_id}
