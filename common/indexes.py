"""An index that leaves out rows which no list shows."""

from typing import Any

from django.db import models


class PartialIndex(models.Index):
    """An `Index` with a condition that may ask for null.

    MongoDB's partial indexes cannot: there it holds all rows, and the condition is looked at in each that it finds.
    Source: https://www.mongodb.com/docs/manual/core/index-partial/
    """

    def get_pymongo_index_model(self, *args: Any, **kwargs: Any) -> Any:
        """What django-mongodb-backend calls in the place of `create_sql`."""
        whole = models.Index(fields=self.fields, name=self.name)
        return whole.get_pymongo_index_model(*args, **kwargs)  # type: ignore[attr-defined]
