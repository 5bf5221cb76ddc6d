"""Snapshots of a VM."""

from collections.abc import Callable
from typing import TypeVar

from django.db import models

from accounts import audit
from accounts.actors import Actor, current_actor
from accounts.models import User
from common.fields import object_id_key
from common.validation import parse
from resources.models import VirtualMachine
from tasks.models import Task

T = TypeVar("T")


class SnapshotStatus(models.TextChoices):
    CREATING = "creating"
    COMPLETED = "completed"
    FAILED = "failed"


class SnapshotManager(models.Manager["Snapshot"]):
    """`vm.snapshots` in a shell can take one; the actions are imported late, because they import the model."""

    def take(self, name: str, description: str = "") -> "Snapshot":
        """Take a snapshot of the VM that this manager belongs to, as the current actor."""
        from snapshots import actions
        from snapshots.requests import MESSAGES, SnapshotBody

        def take(actor: Actor) -> "Snapshot":
            body = parse(SnapshotBody, {"name": name, "description": description}, MESSAGES)
            return actions.take(actor, self._vm().id, body)

        return self._act("create", take)

    def restore(self, name: str) -> Task:
        """Restore the snapshot of this name."""
        from snapshots import actions

        found = self.get(name=name)
        return self._act("restore", lambda actor: actions.restore(actor, found.vm_id, found.public_id), found).task

    def remove(self, name: str) -> Task:
        """Delete the snapshot of this name."""
        from snapshots import actions

        found = self.get(name=name)
        return self._act("delete", lambda actor: actions.remove(actor, found.vm_id, found.public_id), found)

    def _act(self, verb: str, do: Callable[[Actor], T], snapshot: "Snapshot | None" = None) -> T:
        actor, vm = current_actor(), self._vm()
        with audit.attempt(
            actor, f"snapshot.{verb}", object_type="snapshot", object_id=snapshot.id if snapshot else "",
            org_id=vm.organization_id, root_id=vm.id,
        ):  # fmt: skip
            return do(actor)

    def _vm(self) -> VirtualMachine:
        vm: VirtualMachine | None = getattr(self, "instance", None)
        if vm is None:
            raise TypeError('Snapshots belong to a VM: vm.snapshots.take("name").')
        return vm


class Snapshot(models.Model):
    """`config_json` is the VM's config when it was taken: a restore compares the hardware.

    `with_memory`: taken while the VM ran. A deleted snapshot's row is deleted for real, so that its name is free.
    """

    id = object_id_key()
    vm = models.ForeignKey(VirtualMachine, on_delete=models.PROTECT, related_name="snapshots")
    name = models.CharField(max_length=100)
    description = models.CharField(max_length=500, blank=True, default="")
    status = models.CharField(max_length=10, choices=SnapshotStatus.choices, default=SnapshotStatus.CREATING)
    size = models.PositiveBigIntegerField(default=0, help_text="bytes")
    reserved_gb = models.PositiveIntegerField(default=0, help_text="disk room and quota that it holds")
    with_memory = models.BooleanField(default=False)
    config_json = models.TextField()
    error = models.CharField(max_length=1000, blank=True, default="")
    task = models.ForeignKey(Task, null=True, on_delete=models.SET_NULL, related_name="+")
    created_by = models.ForeignKey(User, null=True, on_delete=models.PROTECT, related_name="+")
    created_at = models.DateTimeField()

    objects = SnapshotManager()

    class Meta:
        ordering = ("-created_at", "-id")
        constraints = (models.UniqueConstraint(fields=("vm", "name"), name="snapshot_name_once_a_vm"),)

    def __str__(self) -> str:
        return self.name

    @property
    def public_id(self) -> str:
        return f"snapshot-{self.id}"
