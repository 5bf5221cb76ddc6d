"""From a decoded JSON body to a pydantic model, or to all of its faults at once in the client's own names."""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from math import isfinite
from typing import Any, Self, TypeVar

from pydantic import BaseModel, ConfigDict, ModelWrapValidatorHandler, ValidationError, model_validator
from pydantic_core import InitErrorDetails, PydanticCustomError

from common.errors import FieldError, Malformed, ValidationFailed

CODES = frozenset({"required", "unknown_field", "type", "min", "max", "enum", "pattern", "invalid", "duplicate"})

# A body of a megabyte may hold a hundred thousand unknown fields. Nobody reads an answer ten times as long.
_MOST_FAULTS = 200
_LONGEST_NAME = 100

# What turns the text around it the other way, so that it is read as another than it is: https://trojansource.codes
_TURNING = r"\u202a-\u202e\u2066-\u2069"
# What shows nothing or ends a line, so that two names look like one. Of Unicode's Default_Ignorable_Code_Point all but
# what emoji are made of: https://www.unicode.org/reports/tr44/#Default_Ignorable_Code_Point
_UNSEEN = (
    r"\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u2028-\u202e\u2060-\u206f\u3164\ufeff"
    r"\uffa0\ufff9-\ufffb"
    # No escape for these is known both to pydantic and to all readers of an OpenAPI document.
    "\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e007f"
)
# Emoji, and the scripts that cannot be written without, have joiners: behind what is not of the Latin script.
_JOINED = rf"[^\s\u0000-\u024f{_UNSEEN}][\u200c\u200d]"
_SEEN = rf"(?:[^\p{{Cc}}{_UNSEEN}]|{_JOINED})"

# For a pydantic `pattern`, of names: no control characters (C0, DEL, C1), and nothing that is not seen.
NO_CONTROL = rf"^{_SEEN}*$"
# The same, with something left of it after trimming.
NOT_BLANK = rf"^{_SEEN}*(?:[^\s\p{{Cc}}{_UNSEEN}]|{_JOINED}){_SEEN}*$"
# Of texts: tabs and line ends too, and what is not seen, as text that was copied from elsewhere often has it.
NO_CONTROL_BUT_LINES = rf"^(?:[^\p{{Cc}}{_TURNING}]|[\t\r\n])*$"

Messages = Mapping[tuple[str, str], str]
Model = TypeVar("Model", bound=BaseModel)


class StrictModel(BaseModel):
    """The base of every request body: no field is converted, none dropped, and no input shown in an error."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, hide_input_in_errors=True)


class EmptyBody(StrictModel):
    """Of requests that take nothing: what is sent all the same is an error, and not dropped in silence."""


@dataclass(frozen=True)
class Fault:
    """A rule between fields that is broken. `loc` is the path below the model, by alias."""

    loc: tuple[str | int, ...]
    code: str
    message: str


class CrossCheckedModel(StrictModel):
    """A model with rules between its fields, told together with the faults of the single fields.

    Pydantic's own after-validators do not run where a field is wrong, so the rules look at the raw input.
    """

    @classmethod
    def cross_faults(cls, data: Mapping[str, Any]) -> Iterable[Fault]:
        """The rules between fields that this input breaks. Values may be of any type here."""
        raise NotImplementedError

    @model_validator(mode="wrap")
    @classmethod
    def _check_across(cls, data: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:
        faults = list(cls.cross_faults(data)) if isinstance(data, dict) else []
        try:
            model = handler(data)
        except ValidationError as e:
            if not faults:
                raise
            blamed = {fault.loc for fault in faults}
            single = [_same_again(error) for error in e.errors(include_url=False) if error["loc"] not in blamed]
            raise _together(cls, single + _details(faults)) from e
        if faults:
            raise _together(cls, _details(faults))
        return model


def parse(model_class: type[Model], data: object, messages: Messages | None = None, prefix: str = "") -> Model:
    """The body as a model. Raises ValidationFailed with every fault, or Malformed for what is no object.

    `messages` has words of one's own by (path, code); an index in a path is `*` there. `prefix` is put before
    every path.
    """
    if not isinstance(data, dict):
        raise Malformed("The body must be a JSON object")
    try:
        return model_class.model_validate(data)
    except ValidationError as e:
        raise ValidationFailed(field_errors(e, data, messages or {}, prefix)) from e


def field_errors(error: ValidationError, data: object, messages: Messages, prefix: str = "") -> list[FieldError]:
    """Pydantic's faults as ours, without doubles, in pydantic's order."""
    found: dict[tuple[str, str], FieldError] = {}
    for fault in error.errors(include_url=False):
        names = [prefix] if prefix else []
        names += [str(part)[:_LONGEST_NAME] for part in _without_tags(fault["loc"], data)]
        if fault["type"] in ("union_tag_not_found", "union_tag_invalid"):
            names.append(fault["ctx"]["discriminator"].strip("'"))
        code, message = _described(fault)
        path = ".".join(names)
        general = ".".join("*" if name.isdecimal() else name for name in names)
        message = messages.get((path, code)) or messages.get((general, code)) or message
        found.setdefault((path, code), FieldError(path, code, message))
        if len(found) == _MOST_FAULTS:
            break
    return list(found.values())


def custom_error(code: str, message: str) -> PydanticCustomError:
    """A fault for a validator of one's own to raise, with one of the codes above."""
    assert code in CODES, code
    return PydanticCustomError(code, message)


def _together(model_class: type[BaseModel], details: list[InitErrorDetails]) -> ValidationError:
    return ValidationError.from_exception_data(model_class.__name__, details, hide_input=True)


def _details(faults: Iterable[Fault]) -> list[InitErrorDetails]:
    return [
        InitErrorDetails(type=custom_error(fault.code, fault.message), loc=fault.loc, input=None) for fault in faults
    ]


def _same_again(error: Any) -> InitErrorDetails:
    return InitErrorDetails(
        type=PydanticCustomError(error["type"], error["msg"], error.get("ctx")), loc=error["loc"], input=error["input"]
    )


def _without_tags(loc: tuple[str | int, ...], data: object) -> list[str | int]:
    """The path without the tags that pydantic puts in for a member of a union: they stand nowhere in the input."""
    path: list[str | int] = []
    for place, part in enumerate(loc):
        last = place == len(loc) - 1
        if isinstance(data, dict):
            if not last and (part not in data or data.get("type") == part):
                continue
            data = data.get(part)
        elif isinstance(data, list | tuple) and isinstance(part, int) and part < len(data):
            data = data[part]
        path.append(part)
    return path


def _number(context: Mapping[str, Any], name: str) -> str:
    value = context[name]
    return f"{value:,}" if isinstance(value, int) else str(value)


def _choices(context: Mapping[str, Any]) -> str:
    choices = re.findall(r"'([^']*)'", str(context.get("expected", context.get("expected_tags", ""))))
    return f"Must be {choices[0]}" if len(choices) == 1 else f"Must be one of {', '.join(choices)}"


Describe = Callable[[Mapping[str, Any]], str]

# Source: https://docs.pydantic.dev/latest/errors/validation_errors/
_KNOWN: dict[str, tuple[str, str | Describe]] = {
    "missing": ("required", "This field is required"),
    "extra_forbidden": ("unknown_field", "Unknown field"),
    "int_type": ("type", "Must be a number"),
    "float_type": ("type", "Must be a number"),
    "finite_number": ("type", "Must be a number"),
    "string_type": ("type", "Must be text"),
    "bool_type": ("type", "Must be true or false"),
    "list_type": ("type", "Must be a list"),
    "tuple_type": ("type", "Must be a list"),
    "dict_type": ("type", "Must be an object"),
    "model_type": ("type", "Must be an object"),
    "model_attributes_type": ("type", "Must be an object"),
    "datetime_type": ("type", "Must be a time"),
    "greater_than_equal": ("min", lambda context: f"Must be at least {_number(context, 'ge')}"),
    "greater_than": ("min", lambda context: f"Must be more than {_number(context, 'gt')}"),
    "less_than_equal": ("max", lambda context: f"Must be at most {_number(context, 'le')}"),
    "less_than": ("max", lambda context: f"Must be less than {_number(context, 'lt')}"),
    "string_too_short": ("min", lambda context: f"Must have at least {_number(context, 'min_length')} characters"),
    "string_too_long": ("max", lambda context: f"Must have at most {_number(context, 'max_length')} characters"),
    "too_short": ("min", lambda context: f"Must have at least {_number(context, 'min_length')} entries"),
    "too_long": ("max", lambda context: f"Must have at most {_number(context, 'max_length')} entries"),
    "literal_error": ("enum", _choices),
    "enum": ("enum", _choices),
    "union_tag_invalid": ("enum", _choices),
    "union_tag_not_found": ("required", "This field is required"),
    "string_pattern_mismatch": ("pattern", "Has a wrong format or characters that are not allowed"),
    "string_unicode": ("invalid", "Must be valid Unicode text"),
}


def _is_fraction(value: object) -> bool:
    return isinstance(value, float) and isfinite(value) and not value.is_integer()


def _described(fault: Any) -> tuple[str, str]:
    kind, context = fault["type"], fault.get("ctx", {})
    if kind in CODES and "expected" not in context:  # pydantic has a kind "enum" too
        return kind, fault["msg"]
    if kind == "int_type" and _is_fraction(fault["input"]):
        return "type", "Must be a whole number"
    code, message = _KNOWN.get(kind, ("invalid", "Invalid value"))
    is_null = code in ("type", "enum") and fault["input"] is None and fault["loc"] and isinstance(fault["loc"][-1], str)
    is_empty = kind in ("string_too_short", "too_short") and context["min_length"] == 1
    if is_null or is_empty:
        return "required", "This field is required"
    return code, message if isinstance(message, str) else message(context)
