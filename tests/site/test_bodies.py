"""Request bodies: strict JSON, of limited size."""

from io import BytesIO

import pytest
from django.test import RequestFactory

from aiwm_site.middleware import BodyLimitMiddleware
from aiwm_site.parsers import MAX_DEPTH, read_object

pytestmark = [pytest.mark.django_db, pytest.mark.urls("tests.site.urls")]


def post(client, body, content_type="application/json", path="/t/echo", **headers):
    return client.generic("POST", path, body, content_type=content_type, **headers)


def test_it_reads_an_object(client):
    body = '{"a": [1, -2.5e3, "é\\u00e9\\ud83d\\ude00", true, null, {"b": {}}]}'
    assert post(client, body).json() == {"got": {"a": [1, -2500.0, "éé😀", True, None, {"b": {}}]}}


@pytest.mark.parametrize("body", ["", " \r\n\t"])
def test_it_reads_an_empty_body_as_an_empty_object(client, body):
    assert post(client, body).json() == {"got": {}}


def test_it_wants_no_content_type_where_there_is_no_body(client):
    assert post(client, "", content_type="").json() == {"got": {}}


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"{", "line 1, column 2"),
        (b'{"a": 1,}', "not valid JSON"),
        (b"{'a': 1}", "not valid JSON"),
        (b'{"a": 1} x', "Extra data"),
        (b'{"a": 01}', "not valid JSON"),
        (b'{"a": "\n"}', "control character"),
        (b"[1]", "must be a JSON object"),
        (b'"text"', "must be a JSON object"),
        (b"null", "must be a JSON object"),
        (b"7", "must be a JSON object"),
        (b'{"a": 1, "a": 2}', 'member "a" stands more than once'),
        (b'{"x": {"a": 1, "\\u0061": 2}}', 'member "a" stands more than once'),
        (b'{"\\ud800": 1, "\\ud800": 2}', "more than once"),
        (b'{"a": NaN}', "NaN"),
        (b'{"a": -Infinity}', "-Infinity"),
        (b'{"a": 1e999}', "too large"),
        (b'{"a": -1e999}', "too large"),
        (b'{"a": ' + b"9" * 5000 + b"}", "too large"),
        (b'{"a": "\\ud800"}', "surrogate"),
        (b'{"\\udc00x": 1}', "surrogate"),
        (b'{"a": ["b\\u0000"]}', "NUL"),
        (b'{"a\\u0000": 1}', "NUL"),
        (b'{"a": "\xff"}', "not UTF-8"),
        (b'{"a": "\xed\xa0\x80"}', "not UTF-8"),
        ('{"a": 1}'.encode("utf-16"), "not UTF-8"),
        (b'\xef\xbb\xbf{"a": 1}', "not valid JSON"),
        (b'{"a":' * MAX_DEPTH + b"{}" + b"}" * MAX_DEPTH, "nested"),
        (b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}", "nested"),
    ],
)
def test_it_refuses_what_is_no_json_object(client, body, words):
    response = post(client, body)
    assert response.status_code == 400
    problem = response.json()
    assert problem["code"] == "malformed"
    assert words in problem["detail"]


def test_it_reads_as_deep_as_it_says(client):
    assert post(client, '{"a":' * (MAX_DEPTH - 1) + "{}" + "}" * (MAX_DEPTH - 1)).status_code == 200


@pytest.mark.parametrize(
    "content_type",
    [
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "application/xml",
        "application/json; charset=latin-1",
        "nonsense",
        "*/*",
        "application/*",
        "a/b;" + "c" * 500,
        "",
    ],
)
def test_it_takes_json_alone(client, content_type):
    response = post(client, '{"a": 1}', content_type)
    assert response.status_code == 415
    assert response.json()["code"] == "unsupported_media_type"


@pytest.mark.parametrize("content_type", ["application/json; charset=utf-8", 'application/json; charset="UTF-8"'])
def test_it_takes_the_charset_that_json_has(client, content_type):
    assert post(client, '{"a": 1}', content_type).status_code == 200


def test_it_takes_a_body_up_to_the_limit(client, settings):
    body = b'{"a": "%s"}' % (b"x" * (settings.MAX_BODY_BYTES - 9))
    assert len(body) == settings.MAX_BODY_BYTES
    assert post(client, body).status_code == 200


def test_it_refuses_a_larger_one_before_reading_it(settings):
    class Unread:
        def read(self, *args):
            raise AssertionError("the body was read")

    request = RequestFactory().post("/t/echo", CONTENT_LENGTH=str(settings.MAX_BODY_BYTES + 1))
    request._stream = Unread()
    response = BodyLimitMiddleware(lambda request: pytest.fail("it was let through"))(request)
    assert response.status_code == 413
    assert response.data["code"] == "too_large"


@pytest.mark.parametrize("length", ["1000001", "9" * 5000])
def test_it_answers_too_large_on_any_path(client, length):
    for path in ("/t/echo", "/nothing", "/auth/token"):
        response = client.generic("POST", path, b"{}", content_type="application/json", CONTENT_LENGTH=length)
        assert response.status_code == 413
        assert response.json()["code"] == "too_large"


def chunked(client, body, **environ):
    return client.generic(
        "POST", "/t/echo", b"", CONTENT_TYPE="application/json", CONTENT_LENGTH="", HTTP_TRANSFER_ENCODING="chunked",
        **{"wsgi.input": BytesIO(body), "wsgi.input_terminated": True, **environ},
    )  # fmt: skip


def test_it_reads_a_body_that_comes_in_chunks(client):
    assert chunked(client, b'{"force": true}').json() == {"got": {"force": True}}


def test_it_stops_reading_chunks_at_the_limit(client, settings):
    endless = BytesIO(b"x" * (settings.MAX_BODY_BYTES * 3))
    response = chunked(client, b"", **{"wsgi.input": endless})
    assert response.status_code == 413
    assert endless.tell() == settings.MAX_BODY_BYTES + 1


def test_it_never_takes_chunks_that_it_cannot_read_for_an_empty_body(client):
    response = chunked(client, b'{"force": true}', **{"wsgi.input_terminated": False})
    assert response.status_code == 400
    assert response.json()["code"] == "malformed"


@pytest.mark.django_db
def test_it_leaves_the_admin_its_own_limit(client, settings):
    settings.MAX_BODY_BYTES = 10
    assert client.post("/admin/t/refuse", {"a": "x" * 100}).status_code == 403


def test_it_answers_nothing_with_nothing(client):
    response = client.delete("/t/echo")
    assert response.status_code == 204
    assert response.content == b""


@pytest.mark.parametrize(
    ("written", "read"), [(b"8.0", 8), (b"8e0", 8), (b"8.5", 8.5), (b"-0.0", 0), (b"1e300", 1e300)]
)
def test_it_reads_a_number_without_a_fraction_as_a_count(written, read):
    value = read_object(b'{"n": ' + written + b"}")["n"]
    assert (value, type(value)) == (read, type(read))
