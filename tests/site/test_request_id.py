"""Every answer and every log line has the id of its request."""

import re

import pytest

from aiwm_site.logs import current_request_id
from aiwm_site.middleware import new_request_id

pytestmark = pytest.mark.urls("tests.site.urls")


@pytest.mark.parametrize("given", ["abcd1234", "A-b-9" * 10, "0" * 64])
def test_it_takes_an_id_that_has_the_form(client, given):
    assert client.get("/healthz", headers={"X-Request-Id": given})["X-Request-Id"] == given


@pytest.mark.parametrize(
    "given", ["", "short", "0" * 65, "with space", "line\nbreak", "a_underscore", "<script>x</script>", "ä" * 9]
)
def test_it_makes_one_where_the_given_has_not(client, given):
    response = client.get("/healthz", HTTP_X_REQUEST_ID=given)
    assert re.fullmatch("[0-9a-f]{32}", response["X-Request-Id"])


@pytest.mark.parametrize("path", ["/healthz", "/nothing", "/t/crash", "/t/echo", "/t/raises/locked", "/admin/t/crash"])
def test_it_stands_on_every_answer(client, path):
    assert client.get(path, headers={"X-Request-Id": "given-by-me"})["X-Request-Id"] == "given-by-me"


def test_it_is_gone_after_the_request(client):
    client.get("/t/crash")
    assert current_request_id() == "-"


def test_it_makes_ids_that_differ_and_sort_by_time(time_machine):
    time_machine.move_to("2026-01-01T00:00:00Z", tick=False)
    first = {new_request_id() for _ in range(100)}
    time_machine.move_to("2026-01-01T00:00:01Z", tick=False)
    later = new_request_id()
    assert len(first) == 100
    assert max(first) < later
    assert later[12] == "7"
    assert later[16] in "89ab"
