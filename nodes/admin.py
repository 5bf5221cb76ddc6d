"""Nodes, GPUs, networks and claims in the admin. Every change of a node goes by `nodes.actions`, as the API's do."""

from collections.abc import Callable, Sequence
from typing import Any, cast

from django.contrib import admin, messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.db import transaction
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from unfold.admin import TabularInline
from unfold.decorators import display

from accounts import audit
from accounts.actors import Actor
from accounts.adminbase import ActingAdmin, RecordingAdmin, admin_actor
from accounts.models import User
from accounts.trail import WithHistory
from common import pages
from common.admin import ReadOnlyAdmin
from common.errors import DomainError
from common.validation import parse
from nodes import actions, room, strays
from nodes.forms import GpuForm, NetworkForm, NodeForm, gpu_bodies, image_names
from nodes.models import Claim, Gpu, Image, Network, Node, NodeImage, StrayAddress
from nodes.requests import NodeCreate, NodePatch

# What the audit trail calls the actions that are no updates of a node.
_AUDITED = {"refresh": "node.refresh", "retire": "node.delete"}
_NOT_ASKED = "not asked yet"
_LABELS = {"online": "success", "offline": "danger", "maintenance": "warning", "lost": "danger"}

pages.add("node", Node)
pages.add("network", Network)
pages.add("image", Image, "os_image")


class GpuInline(TabularInline):
    model = Gpu
    form = GpuForm
    fields = ("device_id", "model", "memory_mb", "pci_address", "use")
    extra = 0


class ImageInline(TabularInline):
    model = NodeImage
    fields = ("os_image",)
    extra = 0


class StatusFilter(admin.SimpleListFilter):
    title = "status"
    parameter_name = "status"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Sequence[tuple[str, str]]:
        return [(name, name) for name in _LABELS]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        match self.value():
            case "lost":
                return queryset.filter(lost=True)
            case "maintenance":
                return queryset.filter(lost=False, enabled=False)
            case "online" | "offline" as status:
                return queryset.filter(lost=False, enabled=True, online=status == "online")
        return queryset


@admin.register(Node)
class NodeAdmin(WithHistory, ActingAdmin):
    form = NodeForm
    audited_change = "update"
    inlines = (GpuInline, ImageInline)
    list_display = ("named", "condition", "vcpus", "ram", "disk", "seen")
    list_filter = (StatusFilter, "enabled", "segment")
    search_fields = ("name", "hostname", "=id")
    search_help_text = "A name, a host name or an id"
    actions = ("refresh", "maintenance_on", "maintenance_off", "mark_lost", "mark_found", "retire")
    as_it_is = (
        "shown_status", "vcpus", "ram", "disk", "guests", "guests_can_have", "versions", "boot_id",
        "last_seen", "created_at", "updated_at",
    )  # fmt: skip
    readonly_fields = (*as_it_is, "unaccounted")
    fieldsets = (
        (None, {"fields": ("name", "hostname", "uri", "segment", "enabled", "seen_version")}),
        ("Capacity", {"fields": ("cap_vcpus", "vcpu_overcommit", "cap_ram_mb", "cap_disk_gb")}),
        ("VMs", {"fields": ("pool", "bridge", "untagged_bridge", "openvswitch", "domain_type", "cpu_mode")}),
        ("As it is", {"fields": as_it_is}),
    )

    def get_fieldsets(self, request: HttpRequest, obj: Node | None = None) -> Any:
        fieldsets = super().get_fieldsets(request, obj)
        if obj is None or not any(strays.sentences(obj)):
            return fieldsets
        return (*fieldsets, ("What the last look at it tells", {"fields": ("unaccounted",)}))

    @display(description="status", label=_LABELS)  # type: ignore[untyped-decorator] # unfold has no types
    def shown_status(self, node: Node) -> str:
        return node.status

    @admin.display(description="status")
    def condition(self, node: Node) -> SafeString:
        return pages.lines(pages.badge_of(node.status, _LABELS[node.status]), *strays.summary(node))

    @admin.display(description="seen there")
    def unaccounted(self, node: Node) -> SafeString:
        sentences = ((sentence,) for sentence in strays.sentences(node))
        return format_html('<ul class="sentences">{}</ul>', format_html_join("", "<li>{}</li>", sentences))

    @admin.display(description="name", ordering="name")
    def named(self, node: Node) -> SafeString:
        return pages.lines(pages.cut(node.name), pages.cut(node.hostname), f"segment {node.segment}")

    @admin.display(description="last seen (UTC)", ordering="last_seen")
    def seen(self, node: Node) -> str:
        return pages.moment(node.last_seen)

    @admin.display(description="promised vCPUs", ordering="used_vcpus")
    def vcpus(self, node: Node) -> str:
        return f"{node.used_vcpus:,} of {room.capacity(node).vcpus:,}"

    @admin.display(description="promised RAM", ordering="used_ram_mb")
    def ram(self, node: Node) -> str:
        return f"{round(node.used_ram_mb / 1024, 2):,g} of {round(node.cap_ram_mb / 1024, 2):,g} GB"

    @admin.display(description="promised disk", ordering="used_disk_gb")
    def disk(self, node: Node) -> str:
        return f"{node.used_disk_gb:,} of {node.cap_disk_gb:,} GB"

    @admin.display(description="guests come up as")
    def guests(self, node: Node) -> str:
        return " ".join(filter(None, (node.probed_domain_type, node.probed_cpu_mode))) or _NOT_ASKED

    @admin.display(description="guests can have")
    def guests_can_have(self, node: Node) -> str:
        if node.capabilities is None:
            return _NOT_ASKED
        return ", ".join(node.capabilities).upper() or "neither UEFI nor TPM"

    @admin.display(description="versions")
    def versions(self, node: Node) -> str:
        return ", ".join(f"{name} {version}" for name, version in sorted(node.hypervisor.items())) or _NOT_ASKED

    # Forms

    def save_model(self, request: HttpRequest, obj: Node, form: Any, change: bool) -> None:
        """All of it is saved at once, with the GPUs and images: see `save_related`."""

    def save_related(self, request: HttpRequest, form: Any, formsets: Any, change: bool) -> None:
        body = form.body()
        for formset in formsets:
            formset.save(commit=False)  # writes nothing; what the admin's own history says is read off it
            if formset.model is Gpu:
                body["gpus"] = gpu_bodies(formset.forms)
            else:
                body["osImages"] = image_names(formset.forms)
        actor = admin_actor(request)
        if change:
            seen = form.cleaned_data["seen_version"]
            actions.update(actor, form.instance.pk, parse(NodePatch, body), None if seen is None else [seen])
        else:
            form.instance.pk = actions.create(actor, parse(NodeCreate, body)).pk

    # Actions on chosen nodes. Each shows what it will do, and does it when that is posted.

    def has_retire_permission(self, request: HttpRequest) -> bool:
        return cast(User, request.user).has_perm("nodes.delete_node")

    @admin.action(description="Ask it what it has", permissions=("change",))
    def refresh(self, request: HttpRequest, queryset: QuerySet[Node]) -> HttpResponse | None:
        question = "Shall a worker ask these nodes what they have, and write it down?"
        return self._confirmed(request, queryset, "refresh", "Ask", question, actions.refresh)

    @admin.action(description="Put in maintenance", permissions=("change",))
    def maintenance_on(self, request: HttpRequest, queryset: QuerySet[Node]) -> HttpResponse | None:
        question = "Put these nodes in maintenance? They take no new VMs; those on them are left as they are."
        return self._confirmed(
            request, queryset, "maintenance_on", "Put in maintenance", question,
            lambda actor, node_id: actions.set_maintenance(actor, node_id, on=True),
        )  # fmt: skip

    @admin.action(description="End maintenance", permissions=("change",))
    def maintenance_off(self, request: HttpRequest, queryset: QuerySet[Node]) -> HttpResponse | None:
        question = "End the maintenance of these nodes? They take new VMs again."
        return self._confirmed(
            request, queryset, "maintenance_off", "End maintenance", question,
            lambda actor, node_id: actions.set_maintenance(actor, node_id, on=False),
        )  # fmt: skip

    @admin.action(description="Mark lost", permissions=("change",))
    def mark_lost(self, request: HttpRequest, queryset: QuerySet[Node]) -> HttpResponse | None:
        question = (
            "Are these nodes lost, so that they will not come back as they were? Their VMs will be in error and "
            "their tasks fail. Be sure that the machines are off."
        )
        return self._confirmed(
            request, queryset, "mark_lost", "Mark lost", question,
            lambda actor, node_id: actions.mark_lost(actor, node_id, lost=True),
        )  # fmt: skip

    @admin.action(description="Take back that it is lost", permissions=("change",))
    def mark_found(self, request: HttpRequest, queryset: QuerySet[Node]) -> HttpResponse | None:
        question = "Are these nodes back? They stay in maintenance until you end it; compare their domains first."
        return self._confirmed(
            request, queryset, "mark_found", "They are back", question,
            lambda actor, node_id: actions.mark_lost(actor, node_id, lost=False),
        )  # fmt: skip

    @admin.action(description="Delete", permissions=("retire",))
    def retire(self, request: HttpRequest, queryset: QuerySet[Node]) -> HttpResponse | None:
        question = "Delete these nodes? One with VMs on it is refused."
        return self._confirmed(request, queryset, "retire", "Delete", question, actions.delete)

    def _confirmed(
        self,
        request: HttpRequest,
        queryset: QuerySet[Node],
        action: str,
        verb: str,
        question: str,
        do: Callable[[Actor, str], object],
    ) -> HttpResponse | None:
        if request.POST.get("confirmed") != "yes":
            context = {
                **self.admin_site.each_context(request),
                "title": verb,
                "opts": self.opts,
                "verb": verb,
                "question": question,
                "action": action,
                "queryset": queryset,
                "action_checkbox_name": ACTION_CHECKBOX_NAME,
                "form_url": request.get_full_path(),
            }
            return TemplateResponse(request, "admin/confirm_action.html", context)
        done = []
        for node in queryset:
            actor = admin_actor(request)
            try:
                with audit.attempt(actor, _AUDITED.get(action, "node.update"), object_type="node", object_id=node.pk):
                    do(actor, node.pk)
                done.append(node.name)
            except DomainError as e:
                self.message_user(request, f"{node.name}: {e.message}", messages.ERROR)
        if done:
            self.message_user(request, f"{verb}: {', '.join(done)}", messages.SUCCESS)
        return None


@admin.register(Gpu)
class GpuAdmin(ReadOnlyAdmin):
    """To be looked at; a GPU is changed on its node's page."""

    list_display = ("device_id", "node", "model", "memory_mb", "pci_address", "use", "present", "stray_domain")
    list_filter = ("use", "present", "model", "node")
    list_select_related = ("node",)
    search_fields = ("device_id", "model", "pci_address", "node__name", "=id")


@admin.register(StrayAddress)
class StrayAddressAdmin(ReadOnlyAdmin):
    """To be looked at: what workers see on nodes."""

    list_display = ("address", "vlan_id", "domain", "node")
    list_filter = ("node",)
    list_select_related = ("node",)
    search_fields = ("address", "domain", "node__name")


@admin.register(Image)
class ImageAdmin(WithHistory, ReadOnlyAdmin):
    """To be looked at: `manage.py images` changes them, where their files are."""

    list_display = ("os_image", "size", "disk", "firmware", "device_model", "tpm", "ready", "updated_at")
    search_fields = ("os_image", "volume", "sha256", "=id")

    @admin.display(description="file")
    def size(self, image: Image) -> str:
        return f"{image.size_bytes / 1024**2:,.0f} MB"

    @admin.display(description="least disk")
    def disk(self, image: Image) -> str:
        return f"{image.least_disk_gb:,} GB"


@admin.register(Claim)
class ClaimAdmin(ReadOnlyAdmin):
    """To be looked at; claims are taken and given back with what VMs do."""

    list_display = ("key", "vm_id", "org_id", "created_at")
    search_fields = ("key", "=vm_id", "=org_id")
    search_help_text = "An address, or an id of a GPU, VM or organization"
    show_full_result_count = False
    ordering = ("key",)


@admin.register(Network)
class NetworkAdmin(WithHistory, RecordingAdmin):
    form = NetworkForm
    audited_change = "update"
    list_display = ("name", "segment", "vlan_id", "subnet", "gateway", "whose")
    list_filter = ("segment",)
    search_fields = ("name", "=vlan_id", "subnet", "organizations__name")
    filter_horizontal = ("organizations",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        networks: QuerySet[Any] = super().get_queryset(request)
        return networks.prefetch_related("organizations")

    @admin.display(description="organizations")
    def whose(self, network: Network) -> str:
        return ", ".join(organization.name for organization in network.organizations.all()) or "open to all"

    def save_related(self, request: HttpRequest, form: Any, formsets: Any, change: bool) -> None:
        super().save_related(request, form, formsets, change)
        network = form.instance
        before = form.initial if change else None
        self._record(request, "network.update" if change else "network.create", network, before, _summary(network))
        if not Node.objects.filter(segment=network.segment).exists():
            segments = sorted(set(Node.objects.values_list("segment", flat=True)))
            messages.warning(
                request,
                f"No node is of the segment {network.segment}, so that no VM can be on this network. Segments of "
                f"nodes: {', '.join(segments) or 'none'}.",
            )

    def delete_model(self, request: HttpRequest, obj: Network) -> None:
        self._record(request, "network.delete", obj, _summary(obj), None)
        super().delete_model(request, obj)

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[Network]) -> None:
        with transaction.atomic():  # which Django opens for the page of one, and not for this
            for network in queryset:
                self.delete_model(request, network)

    def _record(self, request: HttpRequest, action: str, network: Network, before: Any, after: Any) -> None:
        audit.record(
            admin_actor(request), action, object_type="network", object_id=network.pk, org_id=None, before=before,
            after=after,
        )  # fmt: skip


def _summary(network: Network) -> dict[str, Any]:
    return {
        "segment": network.segment,
        "vlan_id": network.vlan_id,
        "name": network.name,
        "subnet": network.subnet,
        "gateway": network.gateway,
        "organizations": [organization.name for organization in network.organizations.order_by("name")],
    }
