"""What `manage.py vm` is made of: which VM is meant, and how a fault reads."""

from collections.abc import Sequence

from django.core.management.base import CommandError
from django.db.models import Q

from accounts import audit, cli
from accounts.actors import Actor
from accounts.authentication import owning_org
from accounts.models import Organization
from common.errors import DomainError, NotFound
from common.ids import is_object_id
from resources.models import VirtualMachine
from resources.queries import visible

# Which one is meant


def find_vm(actor: Actor, reference: str, also_deleted: bool = False) -> VirtualMachine:
    """A VM by its id or by a name that only one has, of those that the actor sees; `also_deleted` is for operators, who
    may mean one that is being removed, by its id."""
    vms = visible(actor).select_related("node", "organization")
    vm_id = reference.removeprefix("vm-")
    if is_object_id(vm_id):
        everywhere = VirtualMachine.objects.select_related("node", "organization")
        by_id = (everywhere if also_deleted and actor.is_operator else vms).filter(pk=vm_id).first()
        if by_id is not None:
            return by_id
        _keep_attempt(actor, vm_id)
    named = list(vms.filter(name=reference).order_by("id")[:6])
    if not named:
        raise CommandError(f"There is no VM {reference!r}.")
    if len(named) > 1:
        ids = "".join(f"\n  {vm.id}  {vm.status}, {vm.organization}, on {vm.node}" for vm in named)
        raise CommandError(f"Several VMs are named {reference!r}. Name one by its id:{ids}")
    return named[0]


def _keep_attempt(actor: Actor, vm_id: str) -> None:
    """Somebody else's VM is not found, and that it was asked for is kept."""
    org_id = VirtualMachine.objects.filter(pk=vm_id).exclude(organization_id=actor.org_id).values_list(
        "organization_id", flat=True
    ).first()  # fmt: skip
    if org_id is not None:
        audit.refused(
            actor, "vm.find", code=NotFound.code, detail="There is no such VM", object_type="vm", object_id=vm_id,
            org_id=org_id,
        )  # fmt: skip


def find_vms(actor: Actor, references: Sequence[str], also_deleted: bool = False) -> list[VirtualMachine]:
    """Each of them once. Nothing is done to any where one is not found."""
    found = (find_vm(actor, reference, also_deleted) for reference in references)
    return list({vm.id: vm for vm in found}.values())


def find_org(actor: Actor, reference: str | None) -> str:
    """The id of the organization that will own what the actor creates: their own, or for an operator another."""
    if reference is None:
        return actor.org_id
    organization = Organization.objects.filter(Q(pk=reference) | Q(name=reference)).first()
    owner: str = owning_org(actor, organization.id if organization else reference)
    return owner


# How a fault reads

# The options of `vm create` by the API's field paths.
OPTIONS = {
    "name": "--name",
    "description": "--description",
    "nodeId": "--node",
    "config.osImage": "--image",
    "config.vcpus": "--vcpus",
    "config.ramMB": "--ram-gb or --ram-mb",
    "config.diskGB": "--disk-gb",
    "config.gpuConfig.deviceIds": "--gpu",
    "config.gpuConfig.migProfile": "--mig",
    "config.networkConfig.ipAddress": "--ip",
    "config.networkConfig.netmask": "--netmask",
    "config.networkConfig.gateway": "--gateway",
    "config.networkConfig.vlanId": "--vlan",
    "config.cloudInit.hostname": "--hostname",
    "config.cloudInit.username": "--username",
    "config.cloudInit.sshPublicKey": "--ssh-key-file",
    "config.cloudInit.password": "--password-stdin",
}


def in_words(error: DomainError) -> str:
    """As `accounts.cli` says it, with the options that the fields come from."""
    return cli.in_words(error, OPTIONS)
