"""Consoles of VMs: a token that opens one, who may have it, and when it is dead."""

import hashlib
import secrets
from datetime import timedelta
from typing import Any
from urllib.parse import urlencode, urlsplit

from django.conf import settings
from django.db.models import F, Q
from django.utils import timezone

from accounts import audit
from accounts.actors import Actor
from accounts.models import User
from common.db import atomic
from common.errors import ActionNotAllowed, Forbidden
from common.times import isoformat
from resources.models import ConsoleToken
from resources.queries import find_vm
from resources.states import Action, allowed_actions, said, statuses_allowing

CONSOLE_STATUSES = statuses_allowing(Action.CONSOLE)
# That the VM has not been started anew since the token was given.
_SAME_RUN = Q(vm__started_at=F("vm_started_at")) | Q(vm__started_at=None, vm_started_at=None)


@atomic
def open_console(actor: Actor, vm_id: str) -> dict[str, Any]:
    """A new token of this caller for this VM, and where to use it.

    The VM is held, so that a stop at the same moment comes after the token, and closes it, or before, and there is
    none. Raises Forbidden for a viewer, ActionNotAllowed where the VM has no screen to show, NotFound.
    """
    vm = find_vm(actor, vm_id, hold=True)
    actor.require_write()
    if actor.user_id is None:
        raise Forbidden("Only a user may open a console.")
    if vm.status not in CONSOLE_STATUSES:
        allowed = allowed_actions(vm.status, has_task=vm.task_id is not None, may_write=True)
        raise ActionNotAllowed(
            f"A VM that {said(vm.status)} has no console. "
            f"It has one when it {' or '.join(map(said, CONSOLE_STATUSES))}.",
            vm.status,
            allowed,
        )
    token = secrets.token_urlsafe(32)
    expires_at = timezone.now() + timedelta(minutes=settings.CONSOLE_MINUTES)
    ConsoleToken.objects.create(
        digest=_digest(token), vm_id=vm.id, vm_started_at=vm.started_at, user_id=actor.user_id, expires_at=expires_at
    )
    audit.record(actor, "vm.console", object_type="vm", object_id=vm.id, org_id=vm.organization_id)
    return {
        "resourceId": vm.id,
        "consoleType": "vnc",
        "url": f"{socket_origin()}/console/{vm.domain_name}?{urlencode({'token': token})}",
        "viewerUrl": f"{settings.PUBLIC_URL}/console/view/{vm.domain_name}#{urlencode({'token': token})}",
        "expiresAt": isoformat(expires_at),
    }


def socket_origin() -> str:
    """`wss://` and what stands behind `https://` in PUBLIC_URL; `ws://` where that is http."""
    public = urlsplit(settings.PUBLIC_URL)
    return f"{'wss' if public.scheme == 'https' else 'ws'}://{public.netloc}{public.path}"


def valid_token(token: str) -> ConsoleToken | None:
    """The session that this token opens, if it does so now: asked at each connect, and every few seconds after.

    It reads the database each time, so that a session ends when its VM stops or its user loses access.
    """
    session = (
        ConsoleToken.objects.select_related("vm")
        .filter(digest=_digest(token), expires_at__gt=timezone.now())
        .filter(_SAME_RUN, vm__deleted_at=None, vm__status__in=CONSOLE_STATUSES)
        .first()
    )
    if session is None:
        return None
    user = User.objects.filter(pk=session.user_id, is_active=True).first()
    if user is None:
        return None
    actor = Actor.of(user, via="api")
    return session if actor.may_write and actor.sees(session.vm.organization_id) else None


def close_consoles(*vm_ids: str) -> None:
    """End all sessions of these VMs."""
    ConsoleToken.objects.filter(vm_id__in=vm_ids).delete()


def purge() -> None:
    """Remove what has expired."""
    ConsoleToken.objects.filter(expires_at__lte=timezone.now()).delete()


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
