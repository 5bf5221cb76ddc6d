"""Log lines: one JSON object a line, and nothing in them that a token could be read from."""

import json
import logging

import pytest

from aiwm_site.logs import JsonFormatter, PlainFormatter, RefusalFilter, RequestIdFilter, request_id_var
from tests.factories import UserFactory

pytestmark = pytest.mark.urls("tests.site.urls")


def line_of(message="hello", *args, extra=None, exc_info=None, level=logging.INFO) -> dict:
    record = logging.getLogger("some.where").makeRecord(
        "some.where", level, "file.py", 1, message, args, exc_info, extra=extra
    )
    RequestIdFilter().filter(record)
    line = JsonFormatter().format(record)
    assert len(line.splitlines()) == 1
    return json.loads(line)


def access_lines(caplog) -> list[logging.LogRecord]:
    return [record for record in caplog.records if record.name == "aiwm.access"]


def test_it_writes_one_object_a_line(time_machine):
    time_machine.move_to("2026-01-02T03:04:05.678Z", tick=False)
    assert line_of("hello %s", "you", extra={"node": "worker-01"}) == {
        "time": "2026-01-02T03:04:05.678Z",
        "level": "INFO",
        "logger": "some.where",
        "message": "hello you",
        "requestId": "-",
        "node": "worker-01",
    }


@pytest.mark.parametrize(("status_code", "told"), [(403, False), (404, False), (500, True)])
def test_a_refusal_has_no_traceback(status_code, told):
    record = logging.makeLogRecord({"status_code": status_code, "exc_info": (KeyError, KeyError("a"), None)})
    RefusalFilter().filter(record)
    assert ("exception" in json.loads(JsonFormatter().format(record))) == told


def test_the_site_logs_no_traceback_of_a_refusal(settings):
    assert "refusals" in settings.LOGGING["handlers"]["stderr"]["filters"]


def test_it_names_the_request():
    token = request_id_var.set("abcd1234")
    try:
        assert line_of()["requestId"] == "abcd1234"
    finally:
        request_id_var.reset(token)


@pytest.mark.parametrize("break_", ["\n", "\r\n", "\x0b", "\x85", "\u2028", "\x1b[2J"])
def test_it_cannot_be_made_to_forge_a_line(break_):
    forged = f'x{break_}{{"level": "INFO", "message": "all is well"}}'
    line = line_of("%s", forged, extra={"name_of_vm": forged})
    assert line["message"] == forged
    assert line["name_of_vm"] == forged


def test_it_has_the_traceback_in_the_same_line():
    try:
        raise ValueError("wrong")
    except ValueError as e:
        line = line_of(exc_info=(type(e), e, e.__traceback__))
    assert line["exception"].startswith("Traceback")
    assert "ValueError: wrong" in line["exception"]


def test_it_lets_no_extra_take_the_place_of_a_standard_member():
    line = line_of(extra={"level": "none", "time": 0, "requestId": "x"})
    assert (line["level"], line["extra_level"], line["requestId"]) == ("INFO", "none", "-")


def test_it_bears_what_is_no_json():
    assert "object" in line_of(extra={"thing": object()})["thing"]


def test_it_drops_the_objects_that_django_attaches(rf):
    assert "request" not in line_of(extra={"request": rf.get("/"), "status_code": 500})


def test_it_writes_one_line_a_request(client, caplog):
    caplog.set_level(logging.INFO)
    client.get("/t/raises/conflict?token=very-secret", headers={"X-Request-Id": "abcd1234"})
    (record,) = access_lines(caplog)
    assert record.getMessage() == "GET /t/raises/conflict 409"
    assert (record.method, record.path, record.status, record.user_id) == ("GET", "/t/raises/conflict", 409, None)
    assert record.duration_ms >= 0
    assert "very-secret" not in JsonFormatter().format(record)


@pytest.mark.parametrize(("path", "lines"), [("/nothing", 1), ("/t/raises/locked", 1), ("/t/crash", 2)])
@pytest.mark.parametrize("debug", [False, True])
def test_it_says_each_thing_once_and_with_the_id(client, settings, caplog, debug, path, lines):
    settings.DEBUG = debug
    caplog.handler.addFilter(RequestIdFilter())
    client.get(path, headers={"X-Request-Id": "abcd1234"})
    assert [record.request_id for record in caplog.records] == ["abcd1234"] * lines


def test_it_escapes_the_path(client, caplog):
    caplog.set_level(logging.INFO)
    client.get("/x%0aforged%1b[2J")
    assert access_lines(caplog)[0].path == "/x%0Aforged%1B%5B2J"


@pytest.mark.django_db
def test_it_reads_no_session_for_a_log_line(client, caplog, django_assert_num_queries):
    client.force_login(UserFactory())
    caplog.set_level(logging.INFO)
    with django_assert_num_queries(0):
        client.get("/healthz")
    assert access_lines(caplog)[-1].user_id is None


@pytest.mark.django_db
def test_it_names_the_user_of_the_api(client_of, caplog):
    user = UserFactory()
    caplog.set_level(logging.INFO)
    client_of(user).get("/auth/me")
    assert access_lines(caplog)[-1].user_id == user.id


def test_for_eyes_it_says_behind_the_message_what_that_does_not():
    extra = {"node": "worker-01", "port": 3305}
    record = logging.getLogger("some.where").makeRecord(
        "some.where", logging.INFO, "file.py", 1, "node out of reach at %s", (3305,), None, extra=extra
    )
    RequestIdFilter().filter(record)
    line = PlainFormatter().format(record)
    assert line.endswith("INFO    some.where [-] node out of reach at 3305 node='worker-01'")
