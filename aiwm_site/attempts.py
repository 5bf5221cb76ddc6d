"""Refused requests of the API in the audit trail: who tried what on which object, by the route and the answer.

An attempt on what belongs to another organization, which the caller is told does not exist, is kept under that
organization. What truly does not exist is nobody's, and not kept; nor is a faulty request that only reads.
"""

import logging
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from django import db
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.http import HttpRequest
from django.urls import ResolverMatch
from rest_framework.permissions import SAFE_METHODS
from rest_framework.request import Request

from accounts import audit
from accounts.actors import Actor, Via, stranger
from accounts.adminbase import admin_actor
from accounts.authentication import AnotherOrganization, SwitchedOff
from accounts.models import Organization
from common.addresses import client_address, counted_as
from common.errors import TokenExpired
from common.ids import is_object_id, strip_prefix
from nodes.models import Node
from resources.models import VirtualMachine
from snapshots.models import Snapshot
from tasks.models import Task

log = logging.getLogger(__name__)

# Routes that change nothing, whatever their method.
_READING = frozenset({"estimate"})
# Refused there are log-ins, which `accounts.logins` has written already.
_LOGIN = "token"
# What a client does wrong again and again without meaning an object; `throttled` has a row of its own.
_NOT_KEPT = frozenset({"throttled", "method_not_allowed", "internal", "not_ready"})
# What of a refused reading is kept: the console is opened by a GET, and who opens it is read again.
_KEPT_OF_READING = frozenset({"forbidden", "not_found", "action_not_allowed", "unsupported", "token_not_valid"})
# Of rows chosen in a list of the admin so many are kept one by one.
_MOST_CHOSEN = 20
_ACTION_NAME = re.compile(r"[a-z_]{1,30}")
_ROW_KEY = re.compile(r"[0-9a-f]{24}|[0-9a-f]{64}")

_VERBS = {"GET": "read", "HEAD": "read", "OPTIONS": "read", "POST": "create", "PUT": "update", "PATCH": "update",
          "DELETE": "delete"}  # fmt: skip


@dataclass(frozen=True)
class Target:
    """What was to be read or changed. `org_id` is its owner, None for what belongs to no organization."""

    type: str
    id: str = ""
    org_id: str | None = None
    root_id: str | None = None


def record(exc: Exception, problem: Mapping[str, Any], request: Request) -> None:
    """Keep that this request was answered with this problem, if it is of those that are kept. Raises nothing."""
    match = request.resolver_match
    if match is None or problem["code"] in _NOT_KEPT:
        return
    # Not `request.user`, which would log in a second time where that has just failed.
    actor = exc.actor if isinstance(exc, SwitchedOff) else getattr(request, "_user", None)
    if isinstance(actor, Actor):
        try:
            _of_actor(actor, exc, problem, request, match)
        except db.Error:
            log.exception("a refusal could not be recorded", extra={"route": match.url_name})
    elif problem["status"] == 401 and match.url_name != _LOGIN and not isinstance(exc, TokenExpired):
        _of_stranger(problem, request._request)


def record_page(request: HttpRequest, problem: Mapping[str, Any]) -> None:
    """Keep that a page of the admin was refused with this problem, or what was to be done there. Raises nothing."""
    match = request.resolver_match
    if match is None:
        return
    try:
        actor = admin_actor(request) if request.user.is_authenticated else _stranger(request, "admin")
        tried = _tried_on_page(request, match)
    except db.Error:
        log.exception("a refusal could not be recorded", extra={"route": match.url_name})
        return
    for action, target in tried:
        audit.refused(
            actor,
            action,
            code=problem["code"],
            detail=problem["detail"],
            object_type=target.type,
            object_id=target.id,
            org_id=target.org_id,
        )


def record_unread(request: HttpRequest, problem: Mapping[str, Any]) -> None:
    """Keep that a change was refused before anybody looked at whose it is. Raises nothing."""
    if request.method not in SAFE_METHODS:
        _of_stranger(problem, request, "request")


def _of_actor(actor: Actor, exc: Exception, problem: Mapping[str, Any], request: Request, match: ResolverMatch) -> None:
    route, code = str(match.url_name), problem["code"]
    reads = request.method in SAFE_METHODS or route in _READING
    if reads and code not in _KEPT_OF_READING:
        return
    target = _organization(exc.org_id) if isinstance(exc, AnotherOrganization) else _target(route, match.kwargs)
    if code == "not_found" and (target.org_id is None or actor.sees(target.org_id)):
        return
    audit.refused(
        actor,
        action_of(route, str(request.method)),
        code=code,
        detail=problem["detail"],
        object_type=target.type,
        object_id=target.id,
        org_id=target.org_id if target.id else actor.org_id,
        root_id=target.root_id,
    )


def _of_stranger(problem: Mapping[str, Any], request: HttpRequest, action: str = "authenticate") -> None:
    actor = _stranger(request, "api")
    audit.refused(actor, action, code=problem["code"], detail=problem["detail"], object_type="service")


def _stranger(request: HttpRequest, via: Via) -> Actor:
    return stranger(via, counted_as(client_address(request)), str(getattr(request, "request_id", "")))


def action_of(route: str, method: str) -> str:
    """The name that the audit trail has for what a route does: `vm.update` for PATCH on `vm`, `vm.start` for
    `vm-start`, `snapshot.create` for POST on `snapshots`."""
    noun, _, verb = route.partition("-")
    if not verb and method == "POST":
        noun = noun.removesuffix("s")
    return f"{noun}.{verb or _VERBS.get(method, method.lower())}"


# What a route's arguments name: the narrowest first. Deleted rows count, for they are still somebody's.

Find = Callable[[str], Target | None]


def _snapshot(public_id: str) -> Target | None:
    rows = Snapshot.objects.filter(pk=strip_prefix(public_id, "snapshot") or "")
    row = rows.values_list("id", "vm__organization_id", "vm_id").first()
    return Target("snapshot", *row) if row else None


def _task(public_id: str) -> Target | None:
    rows = Task.objects.filter(pk=strip_prefix(public_id, "task") or "")
    row = rows.values_list("id", "org_id", "subject_id").first()
    return Target("task", *row) if row else None


def _vm(vm_id: str) -> Target | None:
    if not is_object_id(vm_id):
        return None
    row = VirtualMachine.objects.filter(pk=vm_id).values_list("id", "organization_id").first()
    return Target("vm", *row) if row else None


def _organization(org_id: str) -> Target:
    known = is_object_id(org_id) and Organization.objects.filter(pk=org_id).exists()
    return Target("organization", org_id, org_id) if known else Target("organization")


def _node(node_id: str) -> Target | None:
    known = is_object_id(node_id) and Node._base_manager.filter(pk=node_id).exists()
    return Target("node", node_id) if known else None


_FINDERS: Mapping[str, Find] = {"snapshot_id": _snapshot, "task_id": _task, "resource_id": _vm, "node_id": _node}


def _target(route: str, arguments: Mapping[str, Any]) -> Target:
    for name, find in _FINDERS.items():
        found = find(str(arguments[name])) if name in arguments else None
        if found is not None:
            return found
    return Target(route.partition("-")[0].removesuffix("s"))


def _tried_on_page(request: HttpRequest, match: ResolverMatch) -> list[tuple[str, Target]]:
    """What a page was asked for and of which object: of a list's action its name, and each row that was chosen."""
    route = str(match.url_name or "page")
    if request.method == "POST" and route.endswith("_changelist") and "action" in request.POST:
        return [(f"{target.type}.{_action_of_list(request)}", target) for target in _chosen(request, route)]
    return [(f"admin.{route}", _target_of_page(route, str(match.kwargs.get("object_id", ""))))]


def _action_of_list(request: HttpRequest) -> str:
    names = [name for name in request.POST.getlist("action") if _ACTION_NAME.fullmatch(name)]
    return names[0] if names else "unknown"


def _chosen(request: HttpRequest, route: str) -> Iterable[Target]:
    keys = [key for key in request.POST.getlist(ACTION_CHECKBOX_NAME) if _ROW_KEY.fullmatch(key)][:_MOST_CHOSEN]
    kind = route.split("_")[1]
    if kind == "virtualmachine":
        return [_vm(key) or Target("vm") for key in keys] or [Target("vm")]
    return [Target(kind, key) for key in keys] or [Target(kind)]


def _target_of_page(route: str, object_id: str) -> Target:
    """Of a route as Django's admin names it: `<app>_<model>_<page>`."""
    vm = _vm(object_id) if route.startswith("resources_virtualmachine_") else None
    if vm is not None:
        return vm
    words = route.split("_")
    return Target(words[1] if len(words) > 2 else "page", object_id if is_object_id(object_id) else "")
