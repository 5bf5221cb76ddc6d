"""Model fields that every app uses."""

from typing import Any

from django.db import models

from common.ids import new_object_id


class ObjectIdField(models.CharField):  # type: ignore[type-arg]  # Django makes no generics of its fields
    """A 24-digit hex id: `varchar(24)` on SQL.

    Never `char(24)`: PostgreSQL's bulk insert casts arrays to `char[]` there and cuts each id to one letter.
    """

    description = "ObjectId"

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs["max_length"] = 24
        super().__init__(*args, **kwargs)

    def deconstruct(self) -> tuple[str, str, list[Any], dict[str, Any]]:
        name, path, args, kwargs = super().deconstruct()
        del kwargs["max_length"]
        return name, path, list(args), dict(kwargs)


def object_id_key() -> ObjectIdField:
    """The primary key of a model: column `_id`, made here and not by the database."""
    return ObjectIdField(primary_key=True, default=new_object_id, editable=False, db_column="_id")
