"""Bodies that no client should send, on every route that could read one: refused, and nothing is stored."""

import copy
import itertools
import json
from collections.abc import Iterator
from io import BytesIO
from typing import Any

import pytest

from tests.attacks.database import differences, dump, undone
from tests.attacks.tenant_table import rows
from tests.attacks.world import World, build

pytestmark = pytest.mark.django_db

# Each that could read a body, but for the doubles that differ by X-Org-Id alone.
ROWS = [row for row in rows() if row.method != "GET" and not row.header]
WITH_BODY = [row for row in ROWS if row.method != "DELETE" and not row.path.endswith(("start", "restore", "cancel"))]
WITH_BODY = [row for row in WITH_BODY if not row.path.endswith("}/refresh")]

INDIRECT = "../..%s%n$(id)';--<script>{{7*7}}"

NO_OBJECT = {
    "nothing that is JSON": b"{",
    "a trailing comma": b'{"a": 1,}',
    "two objects": b"{}{}",
    "a list": b"[]",
    "a text": b'"text"',
    "null": b"null",
    "a number": b"0",
    "deep objects": b'{"a":' * 60 + b"1" + b"}" * 60,
    "deep lists": b'{"a":' + b"[" * 20_000 + b"]" * 20_000 + b"}",
    "deep and never closed": b'{"a":' * 100_000,
    "NUL in a text": b'{"name": "a\\u0000b"}',
    "NUL in a name": b'{"a\\u0000b": 1}',
    "NUL between": b'{"a"\x00: 1}',
    "half a surrogate pair": b'{"name": "\\ud83d"}',
    "half a pair in a name": b'{"\\udc00": 1}',
    "half a pair in UTF-8": b'{"name": "\xed\xa0\x80"}',
    "no UTF-8": b'{"name": "\xff\xfe"}',
    "UTF-16": '{"name": "a"}'.encode("utf-16"),
    "NaN": b'{"a": NaN}',
    "Infinity": b'{"a": Infinity}',
    "-Infinity": b'{"a": -Infinity}',
    "a number beyond all": b'{"a": 1e999}',
    "ten thousand digits": b'{"a": ' + b"9" * 10_000 + b"}",
    "a member twice": b'{"name": "a", "name": "b"}',
    "a member twice, once escaped": b'{"name": "a", "n\\u0061me": "b"}',
}
CONTENT_TYPES = (
    "text/plain", "text/json", "application/xml", "application/x-www-form-urlencoded", "multipart/form-data",
    "multipart/form-data; boundary=x", "application/json; charset=utf-16", "application/jsonp", "*/*", "a",
    "\u00e9/\u00e9", "x" * 5_000,
)  # fmt: skip

VALUES: tuple[Any, ...] = (
    None, True, -1, 1.5, 2**63, 10**99, 1e308, "", "8", "x" * 10_000, "\u2028\x1b[2J", "\U0001f600", "\uff11\uff12",
    INDIRECT, [], {}, [[None]], {"$ne": None}, ["x"] * 500,
)  # fmt: skip


def send(world: World, row: Any, body: bytes, content_type: str = "application/json", **environ: Any) -> Any:
    request = world.request(row, "operator", "own")
    return world.client("operator").generic(row.method, request["path"], body, content_type=content_type, **environ)


def assert_refused(answer: Any, *statuses: int) -> None:
    assert answer.status_code in statuses, answer.content[:500]
    assert answer["Content-Type"] == "application/problem+json"
    assert answer.json()["status"] == answer.status_code


def test_it_refuses_what_is_no_json_object():
    world = build()
    before = dump()
    for row, (name, body) in itertools.product(ROWS, NO_OBJECT.items()):
        answer = send(world, row, body)
        assert (answer.status_code, answer.json()["code"]) == (400, "malformed"), (str(row), name)
    assert not differences(before, dump())


def test_it_refuses_other_content_types():
    world = build()
    before = dump()
    for row, content_type in itertools.product(ROWS, CONTENT_TYPES):
        assert_refused(send(world, row, b'{"a": 1}', content_type), 415)
    assert not differences(before, dump())


def test_it_refuses_large_bodies():
    world = build()
    before = dump()
    large = b'{"name": "%s"}' % (b"x" * 5_000_000)
    chunks = {"CONTENT_LENGTH": "", "HTTP_TRANSFER_ENCODING": "chunked", "wsgi.input_terminated": True}
    for row in ROWS:
        assert_refused(send(world, row, large), 413)
        assert_refused(send(world, row, b"", **{"wsgi.input": BytesIO(large), **chunks}), 413)
    assert not differences(before, dump())


def test_it_names_all_unknown_fields_at_every_depth():
    world = build()
    before = dump()
    for row in ROWS:
        good = world.body(row) or {}
        places = [path for path, value in inside(good) if isinstance(value, dict)]
        body = copy.deepcopy(good)
        for path in places:
            at(body, path).update(turbo=True, constructor=None)

        answer = send(world, row, json.dumps(body).encode())

        assert_refused(answer, 400)
        named = {fault["field"] for fault in answer.json()["errors"] if fault["code"] == "unknown_field"}
        assert named == {".".join(map(str, (*path, name))) for path in places for name in ("turbo", "constructor")}
    assert not differences(before, dump())


@pytest.mark.parametrize("row", WITH_BODY, ids=str)
def test_it_survives_any_value_at_any_place(row):
    """Whatever stands where: it is taken, or refused as a fault of the client's, and then nothing is stored."""
    world = build()
    good = world.body(row)
    before = dump()
    looked = {("", 401, "")}  # a failed log-in is counted
    for path, value in itertools.product([path for path, _ in inside(good) if path], VALUES):
        body = copy.deepcopy(good)
        at(body, path[:-1])[path[-1]] = value
        with undone():
            answer = send(world, row, json.dumps(body).encode())
            if answer.status_code >= 300:
                assert_refused(answer, 400, 401, 409)
                # One look for each kind of refusal: it costs more than the request.
                kind = (path, answer.status_code, answer.json()["code"]) if answer.status_code != 401 else ("", 401, "")
                assert kind in looked or not differences(before, dump()), (path, value)
                looked.add(kind)


def inside(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[tuple[Any, ...], Any]]:
    """Each place of a JSON document, with what stands there. Of a list its first entry stands for all."""
    yield path, value
    items = value.items() if isinstance(value, dict) else enumerate(value[:1]) if isinstance(value, list) else ()
    for key, item in items:
        yield from inside(item, (*path, key))


def at(document: Any, path: tuple[Any, ...]) -> Any:
    for key in path:
        document = document[key]
    return document
