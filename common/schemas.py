"""How the OpenAPI document describes the pydantic models of bodies and answers.

A model that a view names in `@extend_schema` is described as it is read where it is a body, and as it is written
where it is an answer; titles that only repeat a name are left out, and patterns are those that every reader knows.
"""

from typing import Annotated, Any, Literal

from drf_spectacular.drainage import set_override
from drf_spectacular.extensions import OpenApiSerializerExtension
from drf_spectacular.openapi import AutoSchema
from drf_spectacular.plumbing import ResolvedComponent
from drf_spectacular.utils import Direction, extend_schema_serializer
from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

REF = "#/components/schemas/{model}"

OBJECT_ID = "^[0-9a-f]{24}$"
TASK_ID = "^task-[0-9a-f]{24}$"
SNAPSHOT_ID = "^snapshot-[0-9a-f]{24}$"

ObjectId = Annotated[str, Field(pattern=OBJECT_ID)]
TaskId = Annotated[str, Field(pattern=TASK_ID)]
SnapshotId = Annotated[str, Field(pattern=SNAPSHOT_ID)]
Timestamp = Annotated[
    str,
    Field(
        pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{3}Z$",
        json_schema_extra={"format": "date-time"},
    ),
]
Percent = Annotated[float, Field(ge=0, le=100)]
Count = Annotated[int, Field(ge=0)]


@extend_schema_serializer(many=False)  # the answer of a list is one object
class Document(BaseModel):
    """The base of models that describe an answer, in camelCase. What is not described does not stand there."""

    model_config = ConfigDict(extra="forbid", alias_generator=to_camel)


class Pagination(Document):
    total: Count
    page: Annotated[int, Field(ge=1)]
    limit: Annotated[int, Field(ge=1, le=100)]
    total_pages: Count


def absent(**about: Any) -> Any:
    """A member of a Document that may be left out, and is never null."""
    return Field(default=None, **about)


def schema_of(model: type[BaseModel], mode: Literal["validation", "serialization"]) -> dict[str, Any]:
    """JSON Schema 2020-12 of the model, with those that it refers to under `$defs`."""
    schema = model.model_json_schema(mode=mode, ref_template=REF)
    for part in (schema, *schema.get("$defs", {}).values()):
        part.pop("title", None)
        _tidy(part)
    return schema


def known_to_all(pattern: str) -> str:
    """Pydantic's expressions know Unicode's classes, those of most readers of a schema do not."""
    return pattern.replace(r"\p{Cc}", r"\u0000-\u001f\u007f-\u009f")


def _tidy(schema: dict[str, Any]) -> None:
    if "default" in schema and schema["default"] is None:
        del schema["default"]
    if "pattern" in schema:
        schema["pattern"] = known_to_all(schema["pattern"])
    for member in schema.get("properties", {}).values():
        member.pop("title", None)
        _tidy(member)
    for name in ("anyOf", "oneOf", "allOf"):
        for member in schema.get(name, ()):
            _tidy(member)
    for name in ("items", "additionalProperties"):
        if isinstance(schema.get(name), dict):
            _tidy(schema[name])


class BodySchema(OpenApiSerializerExtension):  # type: ignore[no-untyped-call]
    """Bodies of requests, with what an answer would not show, such as a password."""

    target_class = "common.validation.StrictModel"
    match_subclasses = True
    priority = 1  # before the one that drf-spectacular has for every pydantic model
    mode: Literal["validation", "serialization"] = "validation"

    def get_name(self, auto_schema: AutoSchema, direction: Direction) -> str:
        # A part of one model may be named by another: that is the same component, and no collision.
        set_override(self.target, "suppress_collision_warning", True)
        return str(self.target.__name__)

    def map_serializer(self, auto_schema: AutoSchema, direction: Direction) -> dict[str, Any]:
        schema = self.describe()
        for name, part in schema.pop("$defs", {}).items():
            component = ResolvedComponent(  # type: ignore[no-untyped-call]
                name=name, type=ResolvedComponent.SCHEMA, object=name, schema=part
            )
            auto_schema.registry.register_on_missing(component)
        return schema

    def describe(self) -> dict[str, Any]:
        return schema_of(self.target, self.mode)


class DocumentSchema(BodySchema):  # type: ignore[no-untyped-call]
    """Answers, as they are written."""

    target_class = "common.schemas.Document"
    mode = "serialization"
