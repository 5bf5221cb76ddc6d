"""Organizations, users and the audit trail in the admin. Each change goes by `accounts.actions`."""

from typing import Any

from django.contrib import admin
from django.contrib.auth.admin import GroupAdmin as DjangoGroupAdmin
from django.contrib.auth.admin import UserAdmin as DjangoUserAdmin
from django.contrib.auth.models import Group
from django.db import transaction
from django.db.models import Model, QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils.decorators import method_decorator
from django.views.decorators.debug import sensitive_post_parameters
from unfold.forms import AdminPasswordChangeForm, UserCreationForm

from accounts import actions, admin_audit, audit, guard  # noqa: F401 - the audit trail's pages
from accounts.adminbase import ActingAdmin, RecordingAdmin, admin_actor
from accounts.forms import LoginForm, UserForm
from accounts.models import IdempotencyKey, LoginFailure, Organization, UsedRefresh, User
from accounts.quotas import NAMES
from accounts.trail import WithHistory
from common import pages
from common.admin import ReadOnlyAdmin
from common.errors import ValidationFailed

admin.site.login_form = LoginForm
admin.site.unregister(Group)

pages.add("organization", Organization)
pages.add("user", User, "username")
pages.add("group", Group)

_POWERS = ("is_staff", "is_superuser", "groups", "user_permissions")


@admin.register(Group)
class GroupAdmin(WithHistory, DjangoGroupAdmin, RecordingAdmin):
    """What staff may do in the admin, by group. Only superusers hand it out."""

    def get_actions(self, request: HttpRequest) -> dict[str, Any]:
        """None: the site's own would delete several at once, and not as `delete_model` does."""
        return {}

    def save_related(self, request: HttpRequest, form: Any, formsets: Any, change: bool) -> None:
        group = form.instance
        before = {"name": form.initial.get("name"), "permissions": _codenames(group)} if change else {}
        super().save_related(request, form, formsets, change)
        after = {"name": group.name, "permissions": _codenames(group)}
        actions.record_group(admin_actor(request), "group.change" if change else "group.create", group, before, after)

    def delete_model(self, request: HttpRequest, obj: Group) -> None:
        before = {"name": obj.name, "permissions": _codenames(obj)}
        actions.record_group(admin_actor(request), "group.delete", obj, before, {})
        super().delete_model(request, obj)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return _is_superuser(request)

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return _is_superuser(request)

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return _is_superuser(request)


@admin.register(Organization)
class OrganizationAdmin(WithHistory, ActingAdmin):
    list_display = ("name", "shown_vms", "shown_vcpus", "shown_ram_mb", "shown_disk_gb", "shown_gpus", "shown_mig")
    search_fields = ("name", "id")
    readonly_fields = ("id", *(f"used_{name}" for name in NAMES), "created_at")
    fieldsets = (
        (None, {"fields": ("name", "id", "created_at")}),
        ("Quota", {"fields": tuple(f"quota_{name}" for name in NAMES)}),
        ("In use", {"fields": tuple(f"used_{name}" for name in NAMES)}),
    )

    # In use, of the quota

    @admin.display(description="VMs", ordering="used_vms")
    def shown_vms(self, org: Organization) -> str:
        return f"{org.used_vms:,} of {org.quota_vms:,}"

    @admin.display(description="CPUs", ordering="used_vcpus")
    def shown_vcpus(self, org: Organization) -> str:
        return f"{org.used_vcpus:,} of {org.quota_vcpus:,} vCPUs"

    @admin.display(description="RAM", ordering="used_ram_mb")
    def shown_ram_mb(self, org: Organization) -> str:
        return f"{org.used_ram_mb / 1024:,g} of {org.quota_ram_mb / 1024:,g} GB"

    @admin.display(description="disk", ordering="used_disk_gb")
    def shown_disk_gb(self, org: Organization) -> str:
        return f"{org.used_disk_gb:,} of {org.quota_disk_gb:,} GB"

    @admin.display(description="GPUs", ordering="used_gpus")
    def shown_gpus(self, org: Organization) -> str:
        return f"{org.used_gpus:,} of {org.quota_gpus:,}"

    @admin.display(description="MIG instances", ordering="used_mig_instances")
    def shown_mig(self, org: Organization) -> str:
        return f"{org.used_mig_instances:,} of {org.quota_mig_instances:,}"

    def save_model(self, request: HttpRequest, obj: Organization, form: Any, change: bool) -> None:
        if change:
            values = {name: form.cleaned_data[name] for name in form.changed_data}
            actions.change_organization(admin_actor(request), obj.id, values)
        else:
            actions.add_organization(admin_actor(request), obj)


@admin.register(User)
class UserAdmin(WithHistory, ActingAdmin, DjangoUserAdmin):  # type: ignore[type-arg] # no generic when it runs
    form = UserForm
    add_form = UserCreationForm
    change_password_form = AdminPasswordChangeForm
    list_display = ("username", "email", "organization", "role", "is_staff", "is_active", "last_login")
    list_filter = ("role", "is_staff", "is_active", "organization")
    list_select_related = ("organization",)
    search_fields = ("username", "email", "first_name", "last_name", "id")
    autocomplete_fields = ("organization",)
    filter_horizontal = ()
    fieldsets = (
        (None, {"fields": ("username", "password", "id")}),
        ("Person", {"fields": ("first_name", "last_name", "email")}),
        ("Organization", {"fields": ("organization", "role", "is_active")}),
        ("Operator", {"fields": _POWERS}),
        ("Times", {"fields": ("last_login", "date_joined")}),
    )
    add_fieldsets = (
        (None, {"fields": ("username", "email", "organization", "role", "usable_password", "password1", "password2")}),
    )

    def get_readonly_fields(self, request: HttpRequest, obj: Model | None = None) -> tuple[str, ...]:
        # Or staff who may change users could make operators of themselves and of others.
        return ("id", "last_login", "date_joined", *(() if _is_superuser(request) else _POWERS))

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        above = isinstance(obj, User) and (obj.is_superuser or obj.is_staff) and obj != request.user
        if above and not _is_superuser(request):
            return False
        return bool(super().has_change_permission(request, obj))

    def save_model(self, request: HttpRequest, obj: User, form: Any, change: bool) -> None:
        if change:
            values = {
                "organization_id" if name == "organization" else name: getattr(
                    obj, "organization_id" if name == "organization" else name
                )
                for name in form.changed_data
                if name not in ("groups", "user_permissions", "password")
            }
            actions.change_user(admin_actor(request), obj.id, values)
        else:
            actions.add_user(admin_actor(request), obj)

    def save_related(self, request: HttpRequest, form: Any, formsets: Any, change: bool) -> None:
        before = _permissions(form.instance)
        super().save_related(request, form, formsets, change)
        actions.record_permissions(admin_actor(request), form.instance, before, _permissions(form.instance))

    @method_decorator(sensitive_post_parameters())
    def user_change_password(self, request: HttpRequest, id: str, form_url: str = "") -> HttpResponse:  # noqa: A002
        with transaction.atomic():
            before = User.objects.filter(pk=id).first()
            response: HttpResponse = super().user_change_password(request, id, form_url)
            after = User.objects.filter(pk=id).first()
            changed = before is not None and after is not None and before.password != after.password
            if after is not None and changed:
                actions.record_password(admin_actor(request), after)
        if after is not None and request.method == "POST" and not changed:
            audit.refused(
                admin_actor(request), "user.set_password", code=ValidationFailed.code, detail="It is not allowed",
                object_type="user", object_id=after.id, org_id=after.organization_id,
            )  # fmt: skip
        return response


@admin.register(LoginFailure)
class LoginFailureAdmin(ReadOnlyAdmin):
    """Deleting a row here, which asks for confirmation, lets that pair log in again."""

    actions = ()  # with the site's own, which asks before it deletes

    list_display = ("key", "failures", "last_at", "locked_until")
    search_fields = ("key",)
    search_help_text = "A user name and an address with a space between: only a digest of the two is stored."

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[LoginFailure], search_term: str
    ) -> tuple[QuerySet[LoginFailure], bool]:
        username, _, address = search_term.strip().rpartition(" ")
        if username:
            return queryset.filter(key=guard.key_of(username, address)), False
        found: tuple[QuerySet[LoginFailure], bool] = super().get_search_results(request, queryset, search_term)
        return found

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return isinstance(request.user, User) and request.user.has_perm("accounts.delete_loginfailure")

    def delete_model(self, request: HttpRequest, obj: LoginFailure) -> None:
        actions.clear_lockouts(admin_actor(request), [obj.key])

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[LoginFailure]) -> None:
        actions.clear_lockouts(admin_actor(request), list(queryset.values_list("key", flat=True)))


@admin.register(UsedRefresh)
class UsedRefreshAdmin(ReadOnlyAdmin):
    list_display = ("jti", "expires_at")
    search_fields = ("jti",)


@admin.register(IdempotencyKey)
class IdempotencyKeyAdmin(ReadOnlyAdmin):
    list_display = ("key", "status", "created_at")
    search_fields = ("key",)
    # Not the answers: they are their users' own.
    fields = ("key", "status", "headers", "created_at")


def _is_superuser(request: HttpRequest) -> bool:
    return isinstance(request.user, User) and request.user.is_superuser


def _codenames(group: Group) -> list[str]:
    return sorted(group.permissions.values_list("codename", flat=True))


def _permissions(user: User) -> dict[str, list[str]]:
    return {
        "groups": sorted(user.groups.values_list("name", flat=True)),
        "user_permissions": sorted(user.user_permissions.values_list("codename", flat=True)),
    }
