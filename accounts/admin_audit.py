"""The audit trail in the admin: who did or tried what, on what, and what it changed."""

import json
from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.template.loader import render_to_string
from django.utils.html import format_html
from django.utils.safestring import SafeString

from accounts.models import AuditEntry, Outcome
from accounts.trail import AboutFilter
from common import pages
from common.admin import ReadOnlyAdmin

_COLORS = {Outcome.DONE: "success", Outcome.REFUSED: "danger"}


@admin.register(AuditEntry)
class AuditEntryAdmin(ReadOnlyAdmin):
    list_display = ("when", "actor", "action", "result", "about", "organization", "origin")
    list_filter = (AboutFilter, "outcome", "via", "object_type")
    search_fields = ("actor_name", "action", "object_id", "request_id")
    search_help_text = "An actor, an action, or the id of an object or a request"
    date_hierarchy = "at"

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        return pages.with_names(request, super().get_queryset(request), organization="org_id")

    # The list

    @admin.display(description="when (UTC)", ordering="at")
    def when(self, entry: AuditEntry) -> str:
        return pages.moment(entry.at)

    @admin.display(ordering="actor_name")
    def actor(self, entry: AuditEntry) -> SafeString:
        return pages.cut(entry.actor_name)

    @admin.display(description="outcome", ordering="outcome")
    def result(self, entry: AuditEntry) -> SafeString:
        return pages.lines(self.badge(entry), entry.code, f"{entry.count:,} times" if entry.count > 1 else "")

    @admin.display(description="object", ordering="object_type")
    def about(self, entry: AuditEntry) -> str | SafeString:
        if not entry.object_id:
            return entry.object_type
        text = f"{entry.object_type} {pages.short(entry.object_id)}"
        return pages.link(entry.object_type, entry.object_id, text, entry.object_id)

    @admin.display(ordering="org_id")
    def organization(self, entry: AuditEntry) -> str | SafeString:
        return pages.named_in(entry, "organization", entry.org_id) or pages.short(entry.org_id or "-")

    @admin.display(description="from", ordering="via")
    def origin(self, entry: AuditEntry) -> SafeString:
        return pages.lines(entry.via, entry.address and pages.cut(entry.address))

    @admin.display(description="outcome")
    def badge(self, entry: AuditEntry) -> SafeString:
        return pages.badge_of(entry.outcome, _COLORS[Outcome(entry.outcome)])

    # The page of one

    def get_object(self, request: HttpRequest, object_id: str, from_field: str | None = None) -> Any:
        entry = super().get_object(request, object_id, from_field)
        if entry is not None:
            entry.named = partial(pages.named, request)
        return entry

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        outcome = ["at", "badge"]
        if obj and obj.outcome == Outcome.REFUSED:
            outcome += ["code", "detail", "count"]
        what = ["action", "object_link", "organization_link"]
        if obj and obj.root_id not in ("", obj.object_id):
            what.insert(2, "part_of")
        sets = [
            (None, {"fields": outcome}),
            ("Who", {"fields": ("actor_link", "actors_organization", "via", "address", "request_id")}),
            ("What", {"fields": what}),
        ]
        if obj and (obj.before or obj.after):
            sets.append(("Change", {"fields": ("change",)}))
        return sets

    @admin.display(description="actor")
    def actor_link(self, entry: Any) -> Any:
        named = entry.named("user", entry.actor_id)
        return entry.actor_name if named in (entry.actor_id, "-") else named

    @admin.display(description="actor's organization")
    def actors_organization(self, entry: Any) -> Any:
        return entry.named("organization", entry.actor_org_id)

    @admin.display(description="object")
    def object_link(self, entry: Any) -> SafeString:
        return format_html("{} {}", entry.object_type, entry.named(entry.object_type, entry.object_id))

    @admin.display(description="part of")
    def part_of(self, entry: Any) -> Any:
        return entry.named("vm", entry.root_id)

    @admin.display(description="organization")
    def organization_link(self, entry: Any) -> Any:
        return entry.named("organization", entry.org_id)

    @admin.display(description="change")
    def change(self, entry: AuditEntry) -> SafeString:
        before, after = dict(_leaves(entry.before)), dict(_leaves(entry.after))
        rows = [(path, before.get(path, ""), after.get(path, "")) for path in {**before, **after}]
        context = {"rows": rows, "has_before": bool(before), "has_after": bool(after)}
        return render_to_string("admin/accounts/change.html", context)


def _leaves(document: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """What stands in a document, by the path to it: `config.vcpus`."""
    if isinstance(document, Mapping) and document:
        for name, part in document.items():
            yield from _leaves(part, f"{path}.{name}".strip("."))
    elif path and document is not None:
        yield path, document if isinstance(document, str) else json.dumps(document, ensure_ascii=False)
