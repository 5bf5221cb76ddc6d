"""Changes to organizations and users. Operators make them, in the admin or a shell; each is audited.

Nothing here deletes: a user is switched off, and an organization stays for what its VMs and its trail refer to.
"""

from collections.abc import Collection, Mapping
from typing import Any

from django.contrib.auth.models import Group
from django.db.models import F

from accounts import audit
from accounts.actors import Actor
from accounts.models import LoginFailure, Organization, Role, User
from common.db import atomic
from common.errors import Conflict, Forbidden, NotFound, ValidationFailed

ORGANIZATION_FIELDS = (
    "name", "quota_vms", "quota_vcpus", "quota_ram_mb", "quota_disk_gb", "quota_gpus", "quota_mig_instances",
)  # fmt: skip
USER_FIELDS = (
    "username", "first_name", "last_name", "email", "organization_id", "role", "is_active", "is_staff", "is_superuser",
)  # fmt: skip


@atomic
def add_organization(actor: Actor, org: Organization) -> Organization:
    actor.require_operator()
    org.save(force_insert=True)
    _record(actor, "organization.create", org, {}, _values(org, ORGANIZATION_FIELDS))
    return org


@atomic
def change_organization(actor: Actor, org_id: str, values: Mapping[str, Any]) -> None:
    """Change its name or quotas. A quota below what is in use takes nothing away: it lets nothing more in.

    Raises NotFound.
    """
    actor.require_operator()
    _require_known(values, ORGANIZATION_FIELDS)
    org = Organization.objects.filter(pk=org_id).first()
    if org is None:
        raise NotFound("There is no such organization.")
    before, after = _difference(org, values)
    if after:
        Organization.objects.filter(pk=org_id).update(**after)
        _record(actor, "organization.change", org, before, after)


@atomic
def add_user(actor: Actor, user: User) -> User:
    """Store a new user, whose password is set already."""
    actor.require_operator()
    user.save(force_insert=True)
    _record(actor, "user.create", user, {}, _values(user, USER_FIELDS))
    return user


@atomic
def change_user(actor: Actor, user_id: str, values: Mapping[str, Any]) -> None:
    """Change a user. Switching off ends their refresh tokens for good. Raises NotFound, Conflict, ValidationFailed."""
    actor.require_operator()
    _require_known(values, USER_FIELDS)
    if values.get("role", Role.VIEWER) not in Role.values:
        raise ValidationFailed.of("role", f"Must be one of {', '.join(Role.values)}", "enum")
    user = User.objects.filter(pk=user_id).first()
    if user is None:
        raise NotFound("There is no such user.")
    before, after = _difference(user, values)
    if not after:
        return
    lowered = after.get("is_active") is False or after.get("is_staff") is False
    if user_id == actor.user_id and lowered:
        # So that there is always an operator left.
        raise Conflict("You cannot switch off yourself, or take the operator's rights from yourself.")
    if lowered and actor.user_id is not None and actor.user_id not in _operators_held_still():
        # Nor may two operators switch off each other at the same time.
        raise Forbidden("You are no operator any more.")
    further: dict[str, Any] = {"token_epoch": F("token_epoch") + 1} if after.get("is_active") is False else {}
    User.objects.filter(pk=user_id).update(**after, **further)
    _record(actor, "user.change", user, before, after)


def _operators_held_still() -> set[str]:
    """The ids of all operators, none of whom anybody else can change before this transaction ends."""
    operators = User.objects.select_for_update().filter(is_staff=True, is_active=True).order_by("id")
    return set(operators.values_list("id", flat=True))


def set_role(actor: Actor, user_id: str, role: str) -> None:
    change_user(actor, user_id, {"role": role})


def switch_off(actor: Actor, user_id: str) -> None:
    change_user(actor, user_id, {"is_active": False})


def switch_on(actor: Actor, user_id: str) -> None:
    change_user(actor, user_id, {"is_active": True})


@atomic
def set_password(actor: Actor, user_id: str, password: str) -> None:
    """Set a password, which ends all refresh tokens of the user. Raises NotFound."""
    actor.require_operator()
    user = User.objects.filter(pk=user_id).first()
    if user is None:
        raise NotFound("There is no such user.")
    user.set_password(password)
    user.save(update_fields=["password"])
    record_password(actor, user)


def record_password(actor: Actor, user: User) -> None:
    """Say that the password was changed, where a form of Django's has done it."""
    _record(actor, "user.set_password", user, None, None)


def record_permissions(actor: Actor, user: User, before: Mapping[str, Any], after: Mapping[str, Any]) -> None:
    """Say which groups and permissions were changed, where a form of Django's has done it."""
    if before != after:
        _record(actor, "user.change_permissions", user, before, after)


def record_group(actor: Actor, action: str, group: Group, before: Mapping[str, Any], after: Mapping[str, Any]) -> None:
    """Say what a group allows now, where a form of Django's has changed it."""
    if before != after:
        audit.record(
            actor, action, object_type="group", object_id=str(group.pk), org_id=None, before=before, after=after
        )


@atomic
def clear_lockouts(actor: Actor, keys: Collection[str]) -> int:
    """Let these pairs of user name and address log in again. Gives how many there were."""
    actor.require_operator()
    cleared = 0
    for key in sorted(keys):
        if LoginFailure.objects.filter(key=key).delete()[0]:
            audit.record(actor, "lockout.clear", object_type="lockout", object_id=key, org_id=None)
            cleared += 1
    return cleared


def _difference(row: Organization | User, values: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    after = {name: value for name, value in values.items() if getattr(row, name) != value}
    return {name: getattr(row, name) for name in after}, after


def _values(row: Organization | User, names: Collection[str]) -> dict[str, Any]:
    return {name: getattr(row, name) for name in names}


def _require_known(values: Mapping[str, Any], names: Collection[str]) -> None:
    unknown = sorted(set(values) - set(names))
    if unknown:
        raise ValidationFailed.of(unknown[0], "Unknown field", "unknown_field")


def _record(
    actor: Actor,
    action: str,
    row: Organization | User,
    before: Mapping[str, Any] | None,
    after: Mapping[str, Any] | None,
) -> None:
    org_id = row.organization_id if isinstance(row, User) else row.id
    object_type = action.partition(".")[0]
    audit.record(actor, action, object_type=object_type, object_id=row.id, org_id=org_id, before=before, after=after)
