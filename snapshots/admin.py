"""Snapshots in the admin: to be looked at, by themselves and below their VM."""

from django.contrib import admin
from django.http import HttpRequest
from django.template.defaultfilters import filesizeformat

from accounts.trail import WithHistory
from common import pages
from common.admin import badge
from common.pages import may_view, moment
from resources.admin import OfVmAdmin
from resources.admin_panels import PANELS, Panel
from resources.models import VirtualMachine
from snapshots.models import Snapshot, SnapshotStatus

pages.add("snapshot", Snapshot)

_BADGES = {
    SnapshotStatus.CREATING.value: "info",
    SnapshotStatus.COMPLETED.value: "success",
    SnapshotStatus.FAILED.value: "danger",
}


@admin.register(Snapshot)
class SnapshotAdmin(WithHistory, OfVmAdmin):
    list_display = ("name", "its_vm", "status_badge", "size_text", "with_memory", "created_by", "created_at")
    list_filter = ("status", "with_memory")
    list_select_related = ("vm", "created_by")
    search_fields = ("name", "description", "=id", "=vm__id", "vm__name")
    search_help_text = "Words of the snapshot or its VM, or an id"
    fieldsets = (
        (None, {"fields": ("public_id", "name", "description", "its_vm", "status_badge", "error")}),
        ("Size", {"fields": ("size_text", "reserved_gb", "with_memory")}),
        ("Origin", {"fields": ("created_by", "created_at", "task", "config_json")}),
    )

    @badge("status", _BADGES, ordering="status")
    def status_badge(self, snapshot: Snapshot) -> str:
        return snapshot.status

    @admin.display(description="size", ordering="size")
    def size_text(self, snapshot: Snapshot) -> str:
        return filesizeformat(snapshot.size)

    @admin.display(description="id")
    def public_id(self, snapshot: Snapshot) -> str:
        return snapshot.public_id


def snapshots_panel(request: HttpRequest, vm: VirtualMachine) -> Panel | None:
    if not may_view(request, "snapshots.snapshot"):
        return None
    rows = [
        (row.name, row.status, filesizeformat(row.size), "yes" if row.with_memory else "no", moment(row.created_at))
        for row in Snapshot.objects.filter(vm=vm)
    ]
    return Panel("Snapshots", ("Name", "Status", "Size", "With memory", "Created (UTC)"), rows)


PANELS.append(snapshots_panel)
