"""The admin of VMs: an inventory to look at, and the verbs that operators have. Rows are changed by actions alone."""

import json
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from django.contrib import admin, messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.contrib.admin.utils import unquote
from django.core.exceptions import PermissionDenied
from django.db.models import OuterRef, Q, QuerySet, Subquery
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.html import format_html
from django.utils.http import urlencode
from django.utils.safestring import SafeString
from unfold.enums import ActionVariant

from accounts.adminbase import admin_actor
from accounts.models import User
from accounts.trail import WithHistory
from common import pages
from common.admin import ReadOnlyAdmin, badge, button
from resources.admin_actions import (
    DELETE,
    FORCE_STOP,
    FORGET,
    RESTART,
    START,
    STOP,
    VERBS,
    Verb,
    possible_verbs,
    preview,
    run,
)
from resources.admin_panels import change_url, panels_of
from resources.models import ConsoleToken, LogEntry, MetricsHour, VirtualMachine
from resources.states import LOOKS

# Each VM of a batch is a transaction of its own, within one request.
LARGEST_BATCH = 100

_FILTERS = "_changelist_filters"  # as Django's admin names them

_GO, _CARE, _DANGER = ActionVariant.SUCCESS, ActionVariant.WARNING, ActionVariant.DANGER

# unfold's colours of a badge, by those of `resources.states`.
_BADGES = {"gray": "default", "blue": "info", "green": "success", "orange": "warning", "red": "danger"}
_STATUS_BADGES = {status.value: _BADGES[look.color] for status, look in LOOKS.items()}
_LEVEL_BADGES = {"debug": "default", "info": "info", "warning": "warning", "error": "danger"}


pages.add("vm", VirtualMachine)


class DeletedFilter(admin.SimpleListFilter):
    """Deleted VMs are out of sight unless they are asked for."""

    title = "deleted"
    parameter_name = "deleted"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("cleaning", "Being cleaned up"), ("gone", "Deleted and gone"), ("all", "All, deleted or not")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        match self.value():
            case "cleaning":
                return queryset.filter(deleted_at__isnull=False, deployed=True)
            case "gone":
                return queryset.filter(deleted_at__isnull=False, deployed=False)
            case "all":
                return queryset
            case _:
                return queryset.filter(deleted_at=None)

    def choices(self, changelist: Any) -> Iterator[Any]:
        first, *others = super().choices(changelist)
        yield {**first, "display": "No"}
        yield from others


class GpuFilter(admin.SimpleListFilter):
    title = "GPU"
    parameter_name = "gpu"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("yes", "Yes"), ("no", "No")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        has_gpu = Q(gpu_count__gt=0) | Q(mig_count__gt=0)
        match self.value():
            case "yes":
                return queryset.filter(has_gpu)
            case "no":
                return queryset.exclude(has_gpu)
            case _:
                return queryset


def _list_action(verb: Verb) -> Callable[..., Any]:
    """The verb for the VMs that are ticked in the list: it leads to the page that asks once more."""

    def ask(model_admin: "VirtualMachineAdmin", request: HttpRequest, vms: QuerySet[VirtualMachine]) -> Any:
        return model_admin.ask_selected(request, verb, vms)

    ask.__name__ = verb.name  # the value of the option in the list's menu
    made: Callable[..., Any] = admin.action(description=f"{verb.title} selected VMs", permissions=[verb.permission])(
        ask
    )
    return made


@admin.register(VirtualMachine)
class VirtualMachineAdmin(WithHistory, ReadOnlyAdmin):
    list_display = (
        "name_and_address", "status_and_task", "owned_by", "placed_on", "hardware", "created",
    )  # fmt: skip
    list_filter = ("status", DeletedFilter, GpuFilter, "node", "organization", "os_image")
    list_select_related = ("organization", "node", "task")
    search_fields = ("name", "description", "ip_address", "=id")
    search_help_text = "Words of the name or description, an address, or an id"
    actions = [_list_action(verb) for verb in VERBS]
    actions_detail = ("vm_start", "vm_stop", "vm_force_stop", "vm_restart", "vm_delete", "vm_forget")
    change_form_outer_after_template = "admin/resources/panels.html"
    fieldsets = (
        (None, {"fields": ("name", "description", "status_badge", "error_message", "running_task", "deleted_at")}),
        ("Place", {"fields": ("id", "organization", "owner", "created_by", "node", "domain_name", "deployed")}),
        ("Hardware", {"fields": ("os_image", "size", "gpus", "ip_address", "snapshots_gb")}),
        ("Times", {"fields": ("created_at", "updated_at", "started_at", "stopped_at", "desired_on", "version")}),
        ("Config", {"fields": ("config_document",)}),
    )

    # What is shown

    @admin.display(description="name", ordering="name")
    def name_and_address(self, vm: VirtualMachine) -> SafeString:
        return pages.lines(pages.cut(vm.name), vm.ip_address)

    @admin.display(description="status", ordering="status")
    def status_and_task(self, vm: VirtualMachine) -> SafeString:
        return pages.lines(self.status_badge(vm), self.running_task(vm) if vm.task else "")

    @admin.display(description="organization", ordering="organization__name")
    def owned_by(self, vm: VirtualMachine) -> SafeString:
        return pages.cut(vm.organization.name)

    @admin.display(description="node", ordering="node__name")
    def placed_on(self, vm: VirtualMachine) -> SafeString:
        return pages.cut(vm.node.name)

    @admin.display(description="image and size", ordering="vcpus")
    def hardware(self, vm: VirtualMachine) -> SafeString:
        return pages.lines(vm.os_image, self.size(vm), vm.allocated_gpu and self.gpus(vm))

    @admin.display(description="created (UTC)", ordering="created_at")
    def created(self, vm: VirtualMachine) -> SafeString:
        return pages.lines(f"{vm.created_at:%Y-%m-%d}", f"{vm.created_at:%H:%M}")

    @admin.display(description="status")
    def status_badge(self, vm: VirtualMachine) -> SafeString:
        return pages.badge_of(vm.status, _STATUS_BADGES[vm.status])

    @admin.display(description="size")
    def size(self, vm: VirtualMachine) -> str:
        return f"{vm.vcpus} vCPU, {vm.ram_mb / 1024:g} GB, {vm.disk_gb} GB"

    @admin.display(description="GPUs")
    def gpus(self, vm: VirtualMachine) -> str:
        return ", ".join(vm.allocated_gpu) or "-"

    @admin.display(description="task")
    def running_task(self, vm: VirtualMachine) -> str | SafeString:
        if vm.task is None:
            return "-"
        return format_html(
            '<a href="{}" class="text-link">{} {} %</a>',
            change_url("tasks_task", vm.task.id), vm.task.type, vm.task.progress,
        )  # fmt: skip

    @admin.display(description="libvirt domain")
    def domain_name(self, vm: VirtualMachine) -> str:
        return vm.domain_name

    @admin.display(description="config")
    def config_document(self, vm: VirtualMachine) -> SafeString:
        document = json.dumps(json.loads(vm.config_json), indent=2, ensure_ascii=False)
        return format_html('<pre class="overflow-x-auto whitespace-pre-wrap">{}</pre>', document)

    def get_search_results(self, request: HttpRequest, queryset: Any, search_term: str) -> tuple[Any, bool]:
        found: tuple[Any, bool] = super().get_search_results(request, queryset, search_term.strip().removeprefix("vm-"))
        return found

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        vm = self.get_object(request, unquote(object_id))
        seen = vm is not None and self.has_view_permission(request, vm)
        context = {**(extra_context or {}), "panels": panels_of(request, vm) if seen else []}
        answer: HttpResponse = super().change_view(request, object_id, form_url, context)
        return answer

    # Who may: Django's permissions. What an action asks of its actor comes on top of them.

    def has_operate_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return request.user.has_perm("resources.change_virtualmachine")

    def has_remove_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return request.user.has_perm("resources.delete_virtualmachine")

    def may(self, request: HttpRequest, verb: Verb) -> bool:
        allowed: bool = getattr(self, f"has_{verb.permission}_permission")(request)
        return allowed

    def get_actions_detail(self, request: HttpRequest, object_id: Any) -> list[Any]:
        """The buttons of a VM's page: those that it allows now."""
        vm = _find(unquote(str(object_id)))
        possible = {f"vm_{verb.name}" for verb in possible_verbs(vm)} if vm else set()
        allowed: list[Any] = super().get_actions_detail(request, object_id)
        return [button for button in allowed if button.method.original_function_name in possible]

    # The verbs, for one VM: a GET asks, a POST does it

    @button("Start", "start", "operate", "play_arrow", _GO)
    def vm_start(self, request: HttpRequest, object_id: str) -> HttpResponse:
        return self._one(request, START, object_id)

    @button("Stop", "stop", "operate", "stop")
    def vm_stop(self, request: HttpRequest, object_id: str) -> HttpResponse:
        return self._one(request, STOP, object_id)

    @button("Force stop", "force_stop", "operate", "power_off", _CARE)
    def vm_force_stop(self, request: HttpRequest, object_id: str) -> HttpResponse:
        return self._one(request, FORCE_STOP, object_id)

    @button("Restart", "restart", "operate", "restart_alt")
    def vm_restart(self, request: HttpRequest, object_id: str) -> HttpResponse:
        return self._one(request, RESTART, object_id)

    # In place of Django's own page at this address, which would remove the row.
    @button("Delete", "delete", "remove", "delete", _DANGER)
    def vm_delete(self, request: HttpRequest, object_id: str) -> HttpResponse:
        return self._one(request, DELETE, object_id)

    @button("Forget", "forget", "remove", "link_off", _DANGER)
    def vm_forget(self, request: HttpRequest, object_id: str) -> HttpResponse:
        return self._one(request, FORGET, object_id)

    def _one(self, request: HttpRequest, verb: Verb, object_id: str) -> HttpResponse:
        vm = _find(unquote(object_id))
        if vm is None:
            raise Http404
        page = change_url("resources_virtualmachine", vm.id)
        if request.method == "POST":
            self._run(request, verb, [vm.id])
            return HttpResponseRedirect(page)
        return self._ask(request, verb, [vm], back=page, post_to=request.path)

    # The verbs, for those ticked in the list

    def get_urls(self) -> list[URLPattern]:
        run = self.admin_site.admin_view(self.run_selected)
        own = [path("selected/<slug:name>/", run, name="resources_virtualmachine_selected")]
        return [*own, *super().get_urls()]

    def ask_selected(self, request: HttpRequest, verb: Verb, vms: QuerySet[VirtualMachine]) -> HttpResponse | None:
        """The page between the list and the doing. It posts the ids elsewhere, and not to the list again: there a
        VM that no longer matches the list's filters would be left out in silence."""
        found = list(vms.select_related("node", "organization")[: LARGEST_BATCH + 1])
        if len(found) > LARGEST_BATCH:
            self.message_user(request, f"Choose {LARGEST_BATCH} VMs at most at a time.", messages.ERROR)
            return None
        post_to = reverse("admin:resources_virtualmachine_selected", args=(verb.name,))
        filters = urlencode({_FILTERS: request.GET.urlencode()})
        return self._ask(request, verb, found, back=request.get_full_path(), post_to=f"{post_to}?{filters}")

    def run_selected(self, request: HttpRequest, name: str) -> HttpResponse:
        verb = next((verb for verb in VERBS if verb.name == name), None)
        if verb is None:
            raise Http404
        if not self.may(request, verb):
            raise PermissionDenied
        if request.method == "POST":
            vm_ids = request.POST.getlist(ACTION_CHECKBOX_NAME)
            if len(vm_ids) > LARGEST_BATCH:
                self.message_user(request, f"Choose {LARGEST_BATCH} VMs at most at a time.", messages.ERROR)
            else:
                self._run(request, verb, vm_ids)
        filters = request.GET.get(_FILTERS, "")
        return HttpResponseRedirect(f"{reverse('admin:resources_virtualmachine_changelist')}?{filters}")

    def _ask(
        self, request: HttpRequest, verb: Verb, vms: Sequence[VirtualMachine], *, back: str, post_to: str
    ) -> HttpResponse:
        previews = [preview(verb, vm) for vm in vms]
        context = {
            **self.admin_site.each_context(request),
            "title": f"{verb.title}: are you sure?",
            "opts": self.opts,
            "media": self.media,
            "verb": verb,
            "previews": previews,
            "possible": sum(each.possible for each in previews),
            "checkbox_name": ACTION_CHECKBOX_NAME,
            "back": back,
            "post_to": post_to,
        }
        return TemplateResponse(request, "admin/resources/confirm.html", context)

    def _run(self, request: HttpRequest, verb: Verb, vm_ids: Sequence[str]) -> None:
        for outcome in run(verb, admin_actor(request), vm_ids):
            level = messages.SUCCESS if outcome.ok else messages.ERROR
            self.message_user(request, f"{outcome.name}: {outcome.text}", level)


def _find(vm_id: str) -> VirtualMachine | None:
    return VirtualMachine.objects.select_related("node", "organization").filter(pk=vm_id).first()


class OfVmAdmin(ReadOnlyAdmin):
    """Of rows that belong to a VM, which is named with a link."""

    list_select_related: tuple[str, ...] = ("vm",)

    @admin.display(description="VM", ordering="vm__name")
    def its_vm(self, row: Any) -> SafeString:
        return pages.link("vm", row.vm_id, row.vm.name)


@admin.register(LogEntry)
class LogEntryAdmin(OfVmAdmin):
    list_display = ("at", "level_badge", "its_vm", "message")
    list_filter = ("level",)
    ordering = ("-at", "-id")
    search_fields = ("=vm__id", "message")
    search_help_text = "The id of a VM, or words of the message"
    fields = ("at", "level", "its_vm", "message")

    @badge("level", _LEVEL_BADGES, ordering="level")
    def level_badge(self, entry: LogEntry) -> str:
        return entry.level


@admin.register(MetricsHour)
class MetricsHourAdmin(OfVmAdmin):
    list_display = ("hour", "its_vm", "samples", "averaged")
    list_filter = ("averaged",)
    ordering = ("-hour", "vm")
    search_fields = ("=vm__id", "vm__name")
    search_help_text = "The id or the name of a VM"
    fields = ("its_vm", "hour", "averaged", "samples", "latest", "points")

    @admin.display(description="samples")
    def samples(self, row: MetricsHour) -> int:
        return len(row.points)


@admin.register(ConsoleToken)
class ConsoleTokenAdmin(OfVmAdmin):
    """Who may see which screen, until when. The key of a row is the token's digest, so that a row has no page."""

    list_display = ("its_vm", "username", "created_at", "expires_at")
    list_display_links = None
    ordering = ("-created_at",)
    search_fields = ("=vm__id", "vm__name", "=user_id")
    search_help_text = "The id or the name of a VM, or the id of a user"
    fields = ("its_vm", "created_at", "expires_at")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        name = User.objects.filter(pk=OuterRef("user_id")).values("username")
        rows: QuerySet[Any] = super().get_queryset(request).annotate(username=Subquery(name))
        return rows

    @admin.display(description="user")
    def username(self, token: Any) -> str:
        return str(token.username or token.user_id)

    def change_view(self, request: HttpRequest, object_id: str, *args: Any, **kwargs: Any) -> HttpResponse:
        raise Http404

    def history_view(self, request: HttpRequest, object_id: str, *args: Any, **kwargs: Any) -> HttpResponse:
        raise Http404
