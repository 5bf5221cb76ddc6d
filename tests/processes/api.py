"""A small HTTP client: a connection a request, as real clients behind a proxy have it."""

import json
from dataclasses import dataclass
from http.client import HTTPConnection
from typing import Any


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    def __str__(self) -> str:
        return f"{self.status} {self.body[:2000].decode(errors='replace')}"


@dataclass(frozen=True)
class Api:
    """An API on this machine, as the bearer of this token sees it."""

    port: int
    token: str = ""
    timeout_s: float = 30.0

    def get(self, path: str) -> Answer:
        return self.send("GET", path)

    def post(self, path: str, body: object = None) -> Answer:
        return self.send("POST", path, body)

    def send(
        self, method: str, path: str, body: object = None, further_headers: dict[str, str] | None = None
    ) -> Answer:
        headers = {"Connection": "close", **(further_headers or {})}
        if self.token:
            headers["Authorization"] = f"Bearer {self.token}"
        if body is not None:
            headers["Content-Type"] = "application/json"
        connection = HTTPConnection("127.0.0.1", self.port, timeout=self.timeout_s)
        try:
            connection.request(method, path, None if body is None else json.dumps(body), headers)
            response = connection.getresponse()
            return Answer(response.status, dict(response.getheaders()), response.read())
        finally:
            connection.close()

    def answers(self, path: str) -> bool:
        """Whether it can be reached and says 200."""
        try:
            return self.get(path).status == 200
        except OSError:
            return False
