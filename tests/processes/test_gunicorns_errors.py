"""What gunicorn answers without asking the site is a problem document, as every error is."""

import json
import logging
import re
import socket
from http.client import HTTPResponse

import pytest

from aiwm_site.errors import KINDS
from aiwm_site.gunicorn_worker import ProblemWorker
from tests.processes.api import Api
from tests.processes.sites import free_port, wait_for

pytestmark = [pytest.mark.processes, pytest.mark.one_engine]


@pytest.fixture(scope="module")
def served(sites, migrated):
    """The site and its port."""
    site, port = sites(migrated, WEB_WORKERS=1), free_port()
    site.start("-m", "gunicorn", "aiwm_site.wsgi", "-c", "gunicorn.conf.py", BIND=f"127.0.0.1:{port}")
    wait_for(lambda: Api(port).answers("/healthz"), 40, "the site")
    return site, port


def send(port: int, request: bytes):
    with socket.create_connection(("127.0.0.1", port), timeout=20) as client:
        client.sendall(request)
        answer = HTTPResponse(client)
        answer.begin()
        return answer, answer.read()


HOST = b"Host: localhost\r\n"


@pytest.mark.parametrize(
    ("request_", "status", "detail"),
    [
        (b"GET /resources?search=" + b"x" * 5000 + b" HTTP/1.1\r\n" + HOST + b"\r\n", 414, "The address is too long."),
        (
            b"GET /resources HTTP/1.1\r\n" + HOST + b"Cookie: " + b"x" * 9000 + b"\r\n\r\n",
            431,
            "The headers are too many or too large.",
        ),
        (
            b"POST /auth/token HTTP/1.1\r\n" + HOST + b"Content-Length: many\r\n\r\n",
            400,
            "The request cannot be understood.",
        ),
        (b"nonsense\r\n\r\n", 400, "The request cannot be understood."),
        (
            b"POST /auth/token HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: rot13\r\n\r\n",
            501,
            "The body has a Transfer-Encoding that this service does not take.",
        ),
    ],
    ids=["long address", "long headers", "no length", "nonsense", "odd encoding"],
)
def test_what_is_no_good_http_is_told_in_a_problem_document(served, request_, status, detail):
    site, port = served
    answer, body = send(port, request_)

    assert answer.status == status
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert int(answer.headers["Content-Length"]) == len(body)
    assert answer.headers["Connection"] == "close"
    assert answer.headers["Cache-Control"] == "no-store"
    document = json.loads(body)
    assert document == {
        "type": "urn:aiwm:error:malformed",
        "title": KINDS["malformed"].title,
        "status": status,
        "detail": detail,
        "code": "malformed",
        "requestId": answer.headers["X-Request-Id"],
    }
    assert re.fullmatch("[0-9a-f]{32}", document["requestId"])
    wait_for(lambda: document["requestId"] in site.output(), 5, "its line in the log")


def test_what_falls_over_outside_of_the_site_is_an_internal_error():
    worker = ProblemWorker.__new__(ProblemWorker)
    worker.log = logging.getLogger("tests")
    ours, theirs = socket.socketpair()
    with ours, theirs:
        worker.handle_error(None, ours, ("127.0.0.1", 1), RuntimeError("a secret"))
        answer = HTTPResponse(theirs)
        answer.begin()
        document = json.loads(answer.read())

    assert (answer.status, document["status"], document["code"]) == (500, 500, "internal")
    assert document["requestId"] == answer.headers["X-Request-Id"]
    assert "secret" not in str(document)
