"""Links between pages of the admin. Tasks and the audit trail name rows by kind and key: what a kind is, an app's admin
says, so that the apps below it can lead there."""

from datetime import datetime
from typing import Any

from django.contrib.admin.utils import quote
from django.core.exceptions import ValidationError
from django.db import DataError
from django.db.models import Model, OuterRef, QuerySet, Subquery
from django.http import HttpRequest
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

_LONGEST_KEY = 8
_SHORT_KEY = 6

# By kind: the model, and its column with what people call a row.
_KINDS: dict[str, tuple[type[Model], str]] = {}


def add(kind: str, model: type[Model], name: str = "name") -> None:
    """Say that rows of this kind have pages in the admin."""
    _KINDS[kind] = (model, name)


def kind_of(model: type[Model]) -> str | None:
    return next((kind for kind, (known, _) in _KINDS.items() if known is model), None)


def may_view(request: HttpRequest, model: str) -> bool:
    """Whether Django's permissions let the user view (or change) this model, named `app.model`."""
    app, _, name = model.partition(".")
    return any(request.user.has_perm(f"{app}.{verb}_{name}") for verb in ("view", "change"))


def with_names(request: HttpRequest, rows: QuerySet[Any], **columns: str) -> QuerySet[Any]:
    """The rows with `name_of_<kind>`, the name of what the column of each kind holds the key of. What the user may not
    view has none."""
    names = {}
    for kind, column in columns.items():
        if kind in _KINDS and may_view(request, _KINDS[kind][0]._meta.label_lower):
            model, name = _KINDS[kind]
            names[f"name_of_{kind}"] = Subquery(model._base_manager.filter(pk=OuterRef(column)).values(name)[:1])
    named: QuerySet[Any] = rows.annotate(**names)
    return named


def link(kind: str, key: str, text: str, title: str = "") -> SafeString:
    """To the page of this row, or the text alone where rows of this kind have none."""
    if kind not in _KINDS:
        return cut(text, title)
    model, _ = _KINDS[kind]
    url = reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_change", args=(quote(key),))
    return format_html('<a href="{}" class="text-link cut" title="{}">{}</a>', url, title or text, text)


def named_in(row: Any, kind: str, key: str | None) -> str | SafeString | None:
    """A link by the name that `with_names` has found, else None."""
    name = getattr(row, f"name_of_{kind}", None)
    return link(kind, key, name) if key and name else None


def named(request: HttpRequest, kind: str, key: str | None) -> str | SafeString:
    """A link by the row's name, or the key alone where there is no such row or none that the user may view."""
    name = name_of(request, kind, key) if key else None
    return link(kind, key, name) if key and name else key or "-"


def name_of(request: HttpRequest, kind: str, key: str) -> str | None:
    """None where there is no such row, or none that the user may view."""
    model, name = _KINDS.get(kind, (None, ""))
    if model is None or not may_view(request, model._meta.label_lower):
        return None
    try:
        row = model._base_manager.filter(pk=key).first()
    except (ValueError, OverflowError, ValidationError, DataError):  # no key of this model
        return None
    return str(getattr(row, name)) if row else None


def short(key: str) -> str:
    """The end of a key, which differs where those of one minute begin alike."""
    return key if len(key) <= _LONGEST_KEY else key[-_SHORT_KEY:]


def cut(text: str, title: str = "") -> SafeString:
    """A name in one line, which may be longer than its column has room for."""
    return format_html('<span class="cut" title="{}">{}</span>', title or text, text)


def lines(first: object, *others: object) -> SafeString:
    """A cell of several lines: what is looked for, and smaller what belongs to it."""
    below = format_html_join("", '<span class="second-line">{}</span>', ((other,) for other in others if other))
    return format_html('<span class="lines">{}{}</span>', first, below)


def badge_of(text: str, color: str) -> SafeString:
    """unfold's badge, where something else stands in the same cell."""
    return render_to_string("unfold/helpers/label.html", {"text": text, "type": color})


def moment(at: datetime | None) -> str:
    """To the second, in UTC, which a column says in its title."""
    return f"{at:%Y-%m-%d %H:%M:%S}" if at else "-"
