"""Pages of a list: `?page=` and `?limit=`, and the `pagination` member of the answer."""

import re
from collections.abc import Mapping, Set
from dataclasses import dataclass

from django.http import QueryDict

from common.errors import FieldError, ValidationFailed

DEFAULT_LIMIT = 20
MAX_LIMIT = 100
# A page past the end is empty and no error, but its offset must fit the 64 bits of every database.
MAX_PAGE = 2**53 - 1

_NUMBER = re.compile(r"[0-9]{1,16}")


@dataclass(frozen=True)
class Page:
    """`page` counts from 1."""

    page: int = 1
    limit: int = DEFAULT_LIMIT

    @property
    def offset(self) -> int:
        return (self.page - 1) * self.limit

    @property
    def end(self) -> int:
        return self.offset + self.limit


def parse_page(params: Mapping[str, str], allowed: Set[str] = frozenset()) -> Page:
    """The page that a query string asks for. `allowed` names the list's other parameters.

    Raises ValidationFailed with all faults at once: unknown parameters, repeated ones, numbers out of range.
    """
    errors = parameter_faults(params, {"page", "limit"} | allowed)
    page = _number(params, "page", 1, MAX_PAGE, errors)
    limit = _number(params, "limit", DEFAULT_LIMIT, MAX_LIMIT, errors)
    if errors:
        raise ValidationFailed(errors)
    return Page(page, limit)


def parameter_faults(params: Mapping[str, str], known: Set[str]) -> list[FieldError]:
    """The parameters of a query string that are unknown, and those that stand in it twice: each is read once."""
    takes = f"Unknown parameter. This takes {', '.join(sorted(known))}."
    faults = [FieldError(name, "unknown_parameter", takes) for name in params if name not in known]
    if isinstance(params, QueryDict):
        faults += [
            FieldError(name, "repeated", "Give this parameter once.")
            for name in params
            if name in known and len(params.getlist(name)) > 1
        ]
    return faults


def pagination_document(total: int, page: Page) -> dict[str, int]:
    return {"total": total, "page": page.page, "limit": page.limit, "totalPages": -(-total // page.limit)}


def _number(params: Mapping[str, str], name: str, default: int, most: int, errors: list[FieldError]) -> int:
    text = params.get(name)
    if text is None:
        return default
    number = int(text) if _NUMBER.fullmatch(text) else 0
    if 1 <= number <= most:
        return number
    errors.append(FieldError(name, "invalid", f"Must be a whole number from 1 to {most}"))
    return default
