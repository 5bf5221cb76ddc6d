"""gunicorn's worker, which answers problem documents where gunicorn itself would answer with a page of HTML."""

import logging
import socket
from typing import Any

from csp.constants import HEADER
from gunicorn.workers.sync import SyncWorker  # type: ignore[import-untyped]

log = logging.getLogger("aiwm.access")

_DETAILS = {
    414: "The address is too long.",
    431: "The headers are too many or too large.",
    501: "The body has a Transfer-Encoding that this service does not take.",
}


class ProblemWorker(SyncWorker):  # type: ignore[misc] # gunicorn has no types
    """For what is no good HTTP the site is never asked, and where the site falls over it can say nothing any more."""

    def handle_error(self, req: Any, client: socket.socket, addr: Any, exc: BaseException) -> None:
        super().handle_error(req, _Rewritten(client), addr, exc)


class _Rewritten:
    """The client's socket. Which status an error has is gunicorn's to say: of its page that alone is passed on."""

    def __init__(self, client: socket.socket) -> None:
        self._client = client

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    def sendall(self, page: bytes) -> None:
        self._client.sendall(_answer(int(page.split(b" ", 2)[1])))


def _answer(status: int) -> bytes:
    # gunicorn loads this module before it loads the site, and these need the site's settings.
    from aiwm_site.errors import problem
    from aiwm_site.headers import FURTHER, STRICT
    from aiwm_site.logs import request_id_var
    from aiwm_site.middleware import new_request_id

    request_id = new_request_id()
    token = request_id_var.set(request_id)
    try:
        answer = problem("internal" if status == 500 else "malformed", _DETAILS.get(status, ""), status=status)
        log.info("answered before the site was asked: %d", status, extra={"status": status})
    finally:
        request_id_var.reset(token)
    own = {"X-Request-Id": request_id, "Connection": "close", "X-Content-Type-Options": "nosniff", HEADER: STRICT}
    for name, value in {**FURTHER, **own}.items():
        answer[name] = value
    head = f"HTTP/1.1 {status} {answer.reason_phrase}\r\n".encode("latin-1")
    return head + answer.serialize_headers() + b"\r\n\r\n" + answer.content
