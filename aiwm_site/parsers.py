"""Request bodies: JSON by the letter of RFC 8259, and nothing that two readers could read in two ways."""

import json
from collections.abc import Mapping
from math import isinf
from typing import IO, Any, NoReturn

from rest_framework.exceptions import UnsupportedMediaType
from rest_framework.parsers import BaseParser

from common.errors import Malformed

MAX_DEPTH = 50


class StrictJsonParser(BaseParser):
    """A JSON object in UTF-8. An empty body reads as an object without members."""

    media_type = "application/json"

    def parse(
        self, stream: IO[Any], media_type: str | None = None, parser_context: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        _require_utf8(media_type or "")
        return read_object(stream.read())


def read_object(raw: bytes) -> dict[str, Any]:
    """Raises Malformed with what is wrong and where."""
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as e:
        raise Malformed("The body is not UTF-8.") from e
    if not text.strip(" \t\r\n"):
        return {}
    try:
        value = json.loads(
            text, object_pairs_hook=_object, parse_constant=_no_constant, parse_float=_float, parse_int=_int
        )
    except json.JSONDecodeError as e:
        raise Malformed(f"The body is not valid JSON: {e.msg} (line {e.lineno}, column {e.colno}).") from e
    except RecursionError as e:
        raise Malformed(_TOO_DEEP) from e
    if not isinstance(value, dict):
        raise Malformed("The body must be a JSON object.")
    _check(value, 1)
    return value


_TOO_DEEP = f"The body is nested more than {MAX_DEPTH} levels deep."


def _require_utf8(media_type: str) -> None:
    for parameter in media_type.split(";")[1:]:
        name, _, value = parameter.partition("=")
        if name.strip().lower() == "charset" and value.strip().strip('"').lower() not in ("utf-8", "utf8"):
            raise UnsupportedMediaType(media_type)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        seen: set[str] = set()
        twice = next(name for name, _ in pairs if name in seen or seen.add(name))  # type: ignore[func-returns-value]
        raise Malformed(f"The member {json.dumps(twice[:100])} stands more than once in one object.")
    return members


def _no_constant(name: str) -> NoReturn:
    raise Malformed(f"The body is not valid JSON: {name} is no JSON number.")


def _float(digits: str) -> float | int:
    """`8.0` is the count 8: to JSON Schema, a number without a fraction is an integer however it is written."""
    value = float(digits)
    if isinf(value):
        raise Malformed("The body has a number that is too large.")
    return int(value) if value.is_integer() and abs(value) < 2**53 else value


def _int(digits: str) -> int:
    if len(digits) > 100:
        raise Malformed("The body has a number that is too large.")
    return int(digits)


def _check(value: Any, depth: int) -> None:
    """Refuse what parses and cannot be stored: half a surrogate pair, the NUL that PostgreSQL has no place for."""
    if isinstance(value, str):
        if "\0" in value:
            raise Malformed("The body has a NUL character in a text.")
        if not value.isascii() and any("\ud800" <= letter <= "\udfff" for letter in value):
            raise Malformed("The body has half a surrogate pair in a text.")
    elif isinstance(value, dict | list):
        if depth > MAX_DEPTH:
            raise Malformed(_TOO_DEEP)
        if isinstance(value, dict):
            for name in value:
                _check(name, depth)
            value = value.values()
        for item in value:
            _check(item, depth + 1)
