"""Response bodies."""

from datetime import UTC, datetime
from decimal import Decimal

import orjson
import pytest

from aiwm_site.renderers import OrjsonRenderer


def test_it_writes_json():
    assert (
        OrjsonRenderer().render({"name": "é", "n": [1, 2.5, None, True]})
        == '{"name":"é","n":[1,2.5,null,true]}'.encode()
    )


def test_it_passes_ready_json_through():
    assert OrjsonRenderer().render([orjson.Fragment(b'{"a": 1}')]) == b'[{"a": 1}]'


def test_it_writes_nothing_for_nothing():
    assert OrjsonRenderer().render(None) == b""


def test_it_writes_times_as_the_api_does():
    assert OrjsonRenderer().render(datetime(2025, 12, 3, 10, tzinfo=UTC)) == b'"2025-12-03T10:00:00.000Z"'


def test_it_refuses_what_has_no_form_in_json():
    with pytest.raises(TypeError):
        OrjsonRenderer().render(Decimal("1.5"))
