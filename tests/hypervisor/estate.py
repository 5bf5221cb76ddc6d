"""VMs on lab nodes, and the accounts that must balance whatever has befallen them.

These functions work on the database of the process that they run in: a test's own, or that of a site.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

from django.db import transaction
from django.utils import timezone

import tests.hypervisor.troubled  # noqa: F401 - what workers will import is there where they are forked off
from accounts.actors import Actor
from accounts.models import User
from lab.node import Node as LabNode
from lab.shell import CommandFailed
from nodes.models import Claim, Node
from resources import actions, documents, secrets
from resources import handlers as resource_handlers
from resources.models import LogEntry, SecretKind, VirtualMachine
from resources.queries import find_row
from resources.recount import recount
from resources.states import Status
from snapshots import actions as snapshot_actions
from snapshots import handlers as snapshot_handlers
from snapshots.models import Snapshot
from snapshots.requests import SnapshotBody
from tasks.models import OPEN, Task
from tests.factories import ImageFactory, NodeFactory, UserFactory, VirtualMachineFactory, static_network
from tests.hypervisor.guests import IMAGE
from vmbackends.base import ImageSpec, NodeRef

HERE = Path(__file__).parent
# A node that hangs is told in seconds, and asked again at once.
QUICK = {"connect_s": 2, "keepalive_s": 1, "keepalive_count": 3, "first_backoff_s": 0.1, "longest_backoff_s": 0.5}
# Of the guest that answers no power button and writes to its disk without end.
STUBBORN = ImageSpec(volume="image-debian-11-stubborn.qcow2", ready="cloud-init")
IMAGES = {"debian-12": IMAGE, "debian-11": STUBBORN}
# For a start that libvirt refuses: an interface that is there, and to which no guest can be put.
NO_BRIDGE = "lo"

_OURS = re.compile(r"vm-([0-9a-f]{24})(\S*)")


def move_in(labs: Iterable[tuple[str, str, str]], sizes: Mapping[str, int]) -> None:
    """Rows for a user, the images, which have these sizes, and nodes of these names, URIs and boot ids."""
    UserFactory(username="tenant")
    for os_image, image in IMAGES.items():
        ImageFactory(os_image=os_image, volume=image.volume, ready=image.ready, size_bytes=sizes[os_image])
    for name, uri, boot_id in labs:
        NodeFactory(name=name, uri=uri, boot_id=boot_id, domain_type="qemu", cpu_mode="qemu64", images=tuple(IMAGES))


def hurry() -> None:
    """Let workers that are forked off this process look again sooner: the tests' guests are up or off in a moment."""
    for handlers in (resource_handlers, snapshot_handlers):
        handlers._LOOK_AGAIN_S = 0.2


def sizes(lab: LabNode) -> dict[str, int]:
    """In bytes, of the images that were pushed there."""
    return {os_image: (lab.pool / image.volume).stat().st_size for os_image, image in IMAGES.items()}


def create(node: str, os_image: str = "debian-12") -> str:
    """A VM with an address and a password. Gives its id."""
    user = User.objects.get(username="tenant")
    address = f"198.51.100.{10 + VirtualMachine.objects.count()}"
    config = {"osImage": os_image, "vcpus": 1, "ramMB": 512, "diskGB": 10}
    config |= {"networkConfig": static_network(address, None), "cloudInit": {"hostname": "guest"}}
    vm = VirtualMachineFactory(
        organization=user.organization, owner=user, node=Node.objects.get(name=node), config=config
    )
    secrets.store(vm.id, (SecretKind.HASH, "$6$salt$hash"))
    return vm.id


def ask(verb: str, *vm_ids: str, **how: Any) -> None:
    user = Actor.of(User.objects.get(username="tenant"), via="api")
    for vm_id in vm_ids:
        getattr(actions, verb)(user, vm_id, **how)


def ask_unawares(verb: str, *vm_ids: str, **how: Any) -> None:
    """As who asks before anybody has seen that the node is away."""
    for vm_id in vm_ids:
        with transaction.atomic():  # whoever looks at the node meanwhile writes down afterwards what was seen
            Node.objects.update(online=True)
            ask(verb, vm_id, **how)


def ask_for_snapshot(verb: str, *vm_ids: str) -> None:
    """ "take" one, or "restore" or "remove" the one that there is."""
    user = Actor.of(User.objects.get(username="tenant"), via="api")
    for vm_id in vm_ids:
        if verb == "take":
            snapshot_actions.take(user, vm_id, SnapshotBody(name="one"))
        else:
            getattr(snapshot_actions, verb)(user, vm_id, Snapshot.objects.get(vm_id=vm_id).public_id)


def snapshots(vm_ids: Iterable[str]) -> list[str]:
    """What has become of the one of each that has one."""
    return list(Snapshot.objects.filter(vm_id__in=vm_ids).values_list("status", flat=True))


def status(vm_id: str) -> str:
    return VirtualMachine.objects.get(pk=vm_id).status


def statuses(vm_ids: Iterable[str]) -> list[str]:
    return [status(vm_id) for vm_id in vm_ids]


def health(vm_id: str) -> str:
    user = Actor.of(User.objects.get(username="tenant"), via="api")
    return documents.health(find_row(user, vm_id), timezone.now())


def error(vm_id: str) -> str:
    return VirtualMachine.objects.get(pk=vm_id).error_message


def log(vm_id: str) -> list[str]:
    return list(LogEntry.objects.filter(vm_id=vm_id).order_by("at", "id").values_list("message", flat=True))


def online(node: str) -> bool:
    return Node.objects.get(name=node).online


def open_tasks(vm_ids: Iterable[str] | None = None) -> int:
    tasks = Task.objects.filter(status__in=OPEN)
    return (tasks if vm_ids is None else tasks.filter(subject_id__in=vm_ids)).count()


def newest_tasks(vm_ids: Iterable[str]) -> list[dict[str, Any]]:
    rows = [Task.objects.filter(subject_id=vm_id).latest("created_at") for vm_id in vm_ids]
    return [
        {name: getattr(task, name) for name in ("status", "deaths", "message", "error", "outcome")} for task in rows
    ]


def seconds_taken(vm_ids: Iterable[str]) -> float:
    """By the slowest of their newest tasks, from the request to the end."""
    tasks = [Task.objects.filter(subject_id=vm_id).latest("created_at") for vm_id in vm_ids]
    return max((task.finished_at - task.created_at).total_seconds() for task in tasks if task.finished_at)


def hurried(vm_ids: Iterable[str]) -> list[str]:
    """Their statuses, while nothing of theirs waits for its next try."""
    wait_no_more()
    return statuses(vm_ids)


def wait_no_more() -> None:
    """What was to be tried again some time later is due."""
    Task.objects.filter(status__in=OPEN).update(not_before=None)


def books() -> dict[str, Any]:
    """What the database says is where, and what in it is at odds with itself."""
    vms = VirtualMachine.objects.select_related("node")
    deployed = vms.filter(deployed=True)
    holders = [vm.id for vm in vms if vm.deployed or vm.deleted_at is None]
    return {
        "on": {node.name: [vm.id for vm in deployed if vm.node_id == node.id] for node in Node.objects.all()},
        "without cloud-init": [vm.id for vm in deployed if vm.started_at is None],
        "unsettled": [
            *vms.filter(status__in=(Status.DEPLOYING, Status.STOPPING)).values_list("id", "status"),
            *vms.exclude(task=None).values_list("id", "status"),
            *Task.objects.filter(status__in=OPEN).values_list("type", "message"),
            *Task.objects.exclude(node_slot=None).values_list("type", "node_slot"),
        ],
        "claims": sorted(Claim.objects.values_list("vm_id", flat=True)),
        "holders": sorted(holders),
        "differences": [str(difference) for difference in recount()],
    }


def assert_balanced(labs: Iterable[LabNode], books: dict[str, Any], pool: str = "aiwm") -> None:
    """On a node is nothing but of VMs that are deployed there, nothing is held for nobody, and nothing is under way."""
    assert books["unsettled"] == []
    assert books["differences"] == []
    assert books["claims"] == books["holders"], "each has one address"
    for lab in labs:
        _, domains, volumes = _contents(lab, pool)
        ours = [match for match in map(_OURS.match, [*volumes, *domains]) if match]
        assert {match[1] for match in ours} <= set(books["on"][lab.name]), (volumes, domains)
        seeds = {match[1] for match in ours if match[2].startswith("-seed")}
        assert seeds <= set(books["without cloud-init"]), "a seed has the password"


def expire_leases_of(pid: int) -> None:
    """As if the time had passed for which a worker that is dead or asleep holds its task."""
    long_ago = timezone.now() - timedelta(days=1)
    Task.objects.filter(worker__contains=f":{pid}:", lease_until__isnull=False).update(lease_until=long_ago)


def put_right(lab: LabNode) -> None:
    """Mend whatever a test has done to a node, and take away the VMs that are left there."""
    if not lab.running:
        lab.start()
    try:
        running, domains, volumes = _contents(lab, timeout_s=2)
    except CommandFailed:
        _mend_daemon(lab)
        running, domains, volumes = _contents(lab)
    commands = [f"destroy {name}" for name in running]
    commands += [f"undefine {name} --snapshots-metadata" for name in domains]
    commands += [f"vol-delete {name} aiwm" for name in volumes if _OURS.match(name)]
    if commands:
        lab.virsh("; ".join(commands))


def _contents(lab: LabNode, pool: str = "aiwm", timeout_s: float = 60) -> list[list[str]]:
    """Names: of the domains that run, of all domains, and of the volumes in the pool as it is now."""
    asked = f"list --name; echo ===; list --all --name; echo ===; pool-refresh {pool}; vol-list {pool}"
    said = lab.virsh(asked, timeout_s=timeout_s)
    return [[line.split()[0] for line in part.splitlines() if line.strip()] for part in said.split("===", 2)]


def _mend_daemon(lab: LabNode) -> None:
    if lab.daemon_pid is not None:
        lab.continue_daemon()
    if lab.daemon_pid is not None and not (lab.run_folder / "libvirt-sock").exists():
        lab.kill_daemon()
    if lab.daemon_pid is None:
        lab.start_daemon()


def in_pool(ref: NodeRef, pool: str) -> NodeRef:
    return replace(ref, settings=replace(ref.settings, pool=pool))


def change_node(node: str, **columns: Any) -> None:
    Node.objects.filter(name=node).update(**columns)
