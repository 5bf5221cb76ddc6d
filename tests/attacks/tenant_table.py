"""Who gets which answer: every route and method of the API, for every role, on every kind of object.

Each cell is a status. On what is one's own organization's each role has a column; on what is another's (`other`), on
what is deleted and on an id that nothing has, `all` is for viewer, member and admin alike, or `viewer/member/admin`.
`-`: there is no such object, because everybody's are the same. `{on}` is a VM that runs and `{off}` one that is
stopped.

What another organization has answers 404 to all but operators, never 403. Nodes belong to nobody: everybody reads
them, operators write.
"""

from dataclasses import dataclass

TABLE = """
                                                    |           own            |  other   |     deleted      | made-up
                                               anon | viewer member admin oper | all oper |         all oper | all oper

GET    /                                        302 |    302    302   302  302 |   -    - |           -    - |   -    -
GET    /healthz                                 200 |    200    200   200  200 |   -    - |           -    - |   -    -
GET    /readyz                                  200 |    200    200   200  200 |   -    - |           -    - |   -    -
GET    /schema                                  200 |    200    200   200  200 |   -    - |           -    - |   -    -
GET    /docs                                    200 |    200    200   200  200 |   -    - |           -    - |   -    -
GET    /console/view/{domain}                   200 |    200    200   200  200 | 200  200 |         200  200 | 200  200

POST   /auth/token                              200 |    200    200   200  200 |   -    - |           -    - |   -    -
POST   /auth/token/refresh                      200 |    200    200   200  200 |   -    - |           -    - |   -    -
POST   /auth/token/revoke                       204 |    204    204   204  204 |   -    - |           -    - |   -    -
GET    /auth/me                                 401 |    200    200   200  200 |   -    - |           -    - |   -    -
GET    /organization                            401 |    200    200   200  200 |   -    - |           -    - |   -    -
GET    /organization X-Org-Id={org}             401 |    200    200   200  200 | 404  200 |           -    - | 404  404
GET    /organization/users                      401 |    403    403   200  200 |   -    - |           -    - |   -    -
GET    /organization/users X-Org-Id={org}       401 |    403    403   200  200 | 404  200 |           -    - | 404  404

GET    /resources/nodes                         401 |    200    200   200  200 |   -    - |           -    - |   -    -
POST   /resources/nodes                         401 |    403    403   403  201 |   -    - |           -    - |   -    -
GET    /resources/nodes/{node}                  401 |    200    200   200  200 |   -    - |         404  404 | 404  404
PATCH  /resources/nodes/{node}                  401 |    403    403   403  200 |   -    - |         404  404 | 404  404
DELETE /resources/nodes/{empty_node}            401 |    403    403   403  200 |   -    - |         404  404 | 404  404
POST   /resources/nodes/{node}/refresh          401 |    403    403   403  202 |   -    - |         404  404 | 404  404

GET    /resources/catalog                       401 |    200    200   200  200 |   -    - |           -    - |   -    -
POST   /resources/estimate                      401 |    200    200   200  200 |   -    - |           -    - |   -    -

GET    /resources                               401 |    200    200   200  200 |   -    - |           -    - |   -    -
POST   /resources                               401 |    403    201   201  201 |   -    - |           -    - |   -    -
POST   /resources X-Org-Id={org}                401 |    403    201   201  201 | 404  201 |           -    - | 404  404
GET    /resources/{off}                         401 |    200    200   200  200 | 404  200 |         404  404 | 404  404
PATCH  /resources/{off}                         401 |    403    200   200  200 | 404  200 |         404  404 | 404  404
DELETE /resources/{off}                         401 |    403    202   202  202 | 404  202 |         404  404 | 404  404
POST   /resources/{off}/start                   401 |    403    202   202  202 | 404  202 |         404  404 | 404  404
POST   /resources/{on}/stop                     401 |    403    202   202  202 | 404  202 |         404  404 | 404  404
POST   /resources/{on}/restart                  401 |    403    202   202  202 | 404  202 |         404  404 | 404  404
GET    /resources/{on}/status                   401 |    200    200   200  200 | 404  200 |         404  404 | 404  404
GET    /resources/{on}/logs                     401 |    200    200   200  200 | 404  200 |         404  404 | 404  404
GET    /resources/{on}/metrics                  401 |    200    200   200  200 | 404  200 |         404  404 | 404  404
GET    /resources/{on}/metrics/history          401 |    200    200   200  200 | 404  200 |         404  404 | 404  404
GET    /resources/{on}/console                  401 |    403    200   200  200 | 404  200 |         404  404 | 404  404
GET    /resources/{on}/events                   401 |    200    200   200  200 | 404  200 |         404  404 | 404  404
GET    /resources/{on}/tasks                    401 |    200    200   200  200 | 404  200 |         404  404 | 404  404

GET    /resources/tasks                         401 |    200    200   200  200 |   -    - |           -    - |   -    -
GET    /resources/tasks/{task}                  401 |    200    200   200  200 | 404  200 |         200  200 | 404  404
POST   /resources/tasks/{task}/cancel           401 |    403    200   200  200 | 404  200 | 403/409/409  409 | 404  404

GET    /resources/{off}/snapshots               401 |    200    200   200  200 | 404  200 |         404  404 | 404  404
POST   /resources/{off}/snapshots               401 |    403    201   201  201 | 404  201 |         404  404 | 404  404
DELETE /resources/{off}/snapshots/{snap}        401 |    403    202   202  202 | 404  202 |         404  404 | 404  404
POST   /resources/{off}/snapshots/{snap}/restore 401 |    403    202   202  202 | 404  202 |         404  404 | 404  404
"""

TENANTS = ("viewer", "member", "admin")
OBJECTS = ("own", "other", "deleted", "made-up")


@dataclass(frozen=True)
class Row:
    """`expected` is the status by role and object."""

    method: str
    path: str
    header: str
    expected: dict[tuple[str, str], int]

    def __str__(self) -> str:
        return f"{self.method} {self.path}{' ' if self.header else ''}{self.header}"


def rows() -> list[Row]:
    lines = [line for line in TABLE.splitlines() if line and not line.startswith(" ")]
    return [_row(line) for line in lines]


def _row(line: str) -> Row:
    first, own, *others = line.split("|")
    *request, anonymous = first.split()
    expected = dict(zip([(role, "own") for role in (*TENANTS, "operator")], own.split(), strict=True))
    for thing, cells in zip(OBJECTS[1:], others, strict=True):
        tenants, operator = cells.split()
        by_role = tenants.split("/") if "/" in tenants else [tenants] * 3
        expected |= {(role, thing): answer for role, answer in zip(TENANTS, by_role, strict=True)}
        expected["operator", thing] = operator
    expected |= {("anonymous", thing): anonymous for role, thing in expected if expected[role, thing] != "-"}
    statuses = {key: int(status) for key, status in expected.items() if status != "-"}
    return Row(request[0], request[1], " ".join(request[2:]), statuses)
