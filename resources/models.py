"""The virtual machine, and what is kept about it: its secret, its log, its metrics, its console tokens."""

from collections.abc import Iterable
from functools import cached_property
from typing import NoReturn

from django.db import models

from accounts.models import Organization, User
from common.fields import ObjectIdField, object_id_key
from common.indexes import PartialIndex
from nodes.models import Node
from resources.config import VirtualMachineConfig
from resources.shell import ShellVerbs
from resources.states import Status
from tasks.models import Task


class VirtualMachineQuerySet(models.QuerySet["VirtualMachine"]):
    """Reads for the shell and the actions. Rows are changed by `resources.actions` alone."""

    def alive(self) -> "VirtualMachineQuerySet":
        return self.filter(deleted_at=None)

    def on(self, node: Node | str) -> "VirtualMachineQuerySet":
        """On this node, given as a row, an id or a name."""
        if isinstance(node, Node):
            return self.filter(node=node)
        return self.filter(models.Q(node_id=node) | models.Q(node__name=node))

    def of(self, organization: Organization | str) -> "VirtualMachineQuerySet":
        """Of this organization, given as a row, an id or a name."""
        if isinstance(organization, Organization):
            return self.filter(organization=organization)
        return self.filter(models.Q(organization_id=organization) | models.Q(organization__name=organization))

    def with_status(self, status: Status) -> "VirtualMachineQuerySet":
        return self.alive().filter(status=status)

    def by_node(self, nodes: Iterable[Node]) -> dict[str, list["VirtualMachine"]]:
        """Those on each of these nodes, by its id, in no order. They share the rows of nodes and organizations: of
        thousands, a copy for each VM is half of what reading them costs."""
        by_id = {node.id: node for node in nodes}
        found: dict[str, list[VirtualMachine]] = {node_id: [] for node_id in by_id}
        for vm in self.filter(node__in=by_id).order_by().prefetch_related("organization"):
            vm.node = by_id[vm.node_id]
            found[vm.node_id].append(vm)
        return found

    def queued(self) -> "VirtualMachineQuerySet":
        return self.with_status(Status.QUEUED)

    def running(self) -> "VirtualMachineQuerySet":
        return self.with_status(Status.RUNNING)

    def stopped(self) -> "VirtualMachineQuerySet":
        return self.with_status(Status.STOPPED)

    def failed(self) -> "VirtualMachineQuerySet":
        return self.with_status(Status.FAILED)

    def delete(self) -> NoReturn:
        raise TypeError("A VM goes by its action: `vm.delete()`, which cleans up its node and gives back its claims.")


def _alive_by(name: str, *fields: str) -> PartialIndex:
    return PartialIndex(fields=fields, name=name, condition=models.Q(deleted_at=None))


class VirtualMachine(ShellVerbs, models.Model):
    """A VM as it should be (config, `desired_on`) and as it was last seen (status, addresses, times).

    `config_json` is the API's `config` document, to the letter; the columns after it are copies for counting
    and searching. `deployed` says that something of it may be on its node; `forgotten`, that something may still have
    been when an operator gave it up with its node. `task` is the one that runs on it.
    """

    id = object_id_key()
    name = models.CharField(max_length=100)
    description = models.CharField(max_length=500, blank=True, default="")
    resource_type = models.CharField(max_length=30, default="virtual-machine")
    # These two need no index of their own: others begin with them.
    organization = models.ForeignKey(Organization, on_delete=models.PROTECT, related_name="vms", db_index=False)
    node = models.ForeignKey(Node, on_delete=models.PROTECT, related_name="vms", db_index=False)
    owner = models.ForeignKey(User, on_delete=models.PROTECT, related_name="vms")
    created_by = models.ForeignKey(User, on_delete=models.PROTECT, related_name="+")
    status = models.CharField(max_length=10, choices=[(s.value, s.value) for s in Status], default=Status.QUEUED)
    config_json = models.TextField()
    os_image = models.CharField("OS image", max_length=40)
    vcpus = models.PositiveIntegerField()
    ram_mb = models.PositiveIntegerField()
    disk_gb = models.PositiveIntegerField()
    gpu_count = models.PositiveSmallIntegerField(default=0)
    mig_count = models.PositiveSmallIntegerField(default=0)
    ip_address = models.CharField(
        "IP address", max_length=15, blank=True, default="", help_text="configured, or seen with DHCP"
    )
    # What was given to it: GPU-0, or GPU-0:1g.5gb:3 (device, profile, start slice).
    allocated_gpu = models.JSONField(default=list)
    snapshots_gb = models.PositiveIntegerField(
        "GB of snapshots", default=0, help_text="disk room and quota that its snapshots hold"
    )
    deployed = models.BooleanField(default=False)
    forgotten = models.BooleanField(default=False, db_default=False)
    desired_on = models.BooleanField(default=False)
    desired_since = models.DateTimeField(null=True)
    node_rebooted = models.BooleanField(default=False, db_default=False)  # since it was last seen, with it on
    started_at = models.DateTimeField(null=True)
    stopped_at = models.DateTimeField(null=True)
    error_message = models.CharField(max_length=1000, blank=True, default="")
    # Why it is in `error`, where reconciliation may put that right by itself: `resources.settle.PASSING`.
    error_reason = models.CharField(max_length=30, blank=True, default="")
    task = models.ForeignKey(Task, null=True, on_delete=models.PROTECT, related_name="+")
    version = models.PositiveIntegerField(default=1)
    created_at = models.DateTimeField()
    updated_at = models.DateTimeField()
    deleted_at = models.DateTimeField(null=True)

    objects = VirtualMachineQuerySet.as_manager()

    class Meta:
        ordering = ("-created_at", "-id")
        indexes = (
            # Of what is not deleted: behind a column that is asked to be null PostgreSQL does not go along an index in
            # its order, and an organization's deleted VMs soon outnumber the others.
            _alive_by("vm_org_created", "organization", "-created_at", "-id"),
            _alive_by("vm_org_updated", "organization", "-updated_at", "-id"),
            _alive_by("vm_org_name", "organization", "name", "id"),
            _alive_by("vm_org_status", "organization", "status", "id"),  # the statistics read it alone
            # Operators' lists, over all organizations.
            _alive_by("vm_created_first", "-created_at", "-id"),
            _alive_by("vm_updated_first", "-updated_at", "-id"),
            _alive_by("vm_by_name", "name", "id"),
            _alive_by("vm_by_status", "status", "id"),
            models.Index(fields=("node", "deleted_at"), name="vm_node"),
        )
        verbose_name = "virtual machine"

    def __str__(self) -> str:
        return self.name

    @cached_property
    def config(self) -> VirtualMachineConfig:
        return VirtualMachineConfig.model_validate_json(self.config_json)

    @property
    def domain_name(self) -> str:
        return f"vm-{self.id}"


class SecretKind(models.TextChoices):
    HASH = "hash"  # crypt(3), for Linux
    SEALED = "sealed"  # encrypted with SECRETS_KEY, for Windows, which needs it in clear once


class VmSecret(models.Model):
    """The password of a VM that has not been deployed yet. Read by the deploy step alone, wiped after it."""

    vm = models.OneToOneField(VirtualMachine, on_delete=models.PROTECT, primary_key=True, related_name="secret")
    kind = models.CharField(max_length=6, choices=SecretKind.choices)
    value = models.TextField()

    def __str__(self) -> str:
        return f"secret of {self.vm_id}"


class LogEntry(models.Model):
    """A line of what the platform did with a VM, as `GET /resources/:id/logs` shows it."""

    id = object_id_key()
    vm = models.ForeignKey(VirtualMachine, on_delete=models.PROTECT, related_name="log")
    at = models.DateTimeField()
    level = models.CharField(max_length=7)
    message = models.CharField(max_length=1000)

    class Meta:
        ordering = ("at", "id")
        indexes = (models.Index(fields=("vm", "-at", "-id"), name="log_of_vm"),)
        verbose_name_plural = "log entries"

    def __str__(self) -> str:
        return self.message


class GuestConsole(models.Model):
    """The newest lines of a guest's serial console: `[seconds since 1970, text]`, oldest first, as last read on its
    node, where all of it had `size_bytes`."""

    vm = models.OneToOneField(VirtualMachine, on_delete=models.PROTECT, primary_key=True, related_name="guest_console")
    lines = models.JSONField(default=list)
    size_bytes = models.PositiveBigIntegerField()

    def __str__(self) -> str:
        return f"console of {self.vm_id}"


class MetricsHour(models.Model):
    """The samples of one VM in one hour, packed: `points` is a list of rows, oldest first, a minute apart.

    A row is `[second of the hour, cpu %, memory %, disk GB, gpu %, rx bytes, tx bytes]`, null where unknown.
    """

    id = object_id_key()
    vm = models.ForeignKey(VirtualMachine, on_delete=models.PROTECT, related_name="metrics_hours")
    hour = models.DateTimeField(db_index=True)
    points = models.JSONField(default=list)
    averaged = models.BooleanField(default=False)
    latest = models.JSONField(null=True, help_text="the last whole sample of this hour, as the API shows it")

    class Meta:
        ordering = ("vm", "hour")
        constraints = (models.UniqueConstraint(fields=("vm", "hour"), name="metrics_once_an_hour"),)
        verbose_name_plural = "metrics hours"

    def __str__(self) -> str:
        return f"{self.vm_id} {self.hour:%Y-%m-%d %H}h"


class ConsoleToken(models.Model):
    """A console session that was asked for. The token itself is shown once; this keeps its SHA-256.

    `vm_started_at` is the VM's `started_at` of then: it is for this run of the VM and for no later one.
    """

    digest = models.CharField(primary_key=True, max_length=64)
    vm = models.ForeignKey(VirtualMachine, on_delete=models.PROTECT, related_name="+")
    vm_started_at = models.DateTimeField(null=True)
    user_id = ObjectIdField()
    created_at = models.DateTimeField(auto_now_add=True)
    expires_at = models.DateTimeField(db_index=True)

    def __str__(self) -> str:
        return f"console of {self.vm_id}"
