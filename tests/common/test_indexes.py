from django.db.models import Index, Q

from common.indexes import PartialIndex


def test_on_mongodb_a_partial_index_holds_all_rows(monkeypatch):
    monkeypatch.setattr(Index, "get_pymongo_index_model", lambda index, *given: (index, given), raising=False)
    partial = PartialIndex(fields=("-at", "id"), name="of_those", condition=Q(gone_at=None))
    index, given = partial.get_pymongo_index_model("model", "editor")
    assert (index.name, index.fields, index.condition) == ("of_those", ["-at", "id"], None)
    assert given == ("model", "editor")
