"""What domain code raises. It knows no HTTP: `aiwm_site.errors` turns each code into a status and a document.

Every message is one that a user may read, and says what to do where that is not plain.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar


@dataclass(frozen=True)
class FieldError:
    """One fault of an input. `field` is the path as the client wrote it: `config.networkConfig.ipAddress`."""

    field: str
    code: str
    message: str


class DomainError(Exception):
    """The base of all. `extra` are members of the answer beside the message, in the API's own names."""

    code: ClassVar[str] = "internal"

    def __init__(self, message: str, **extra: Any) -> None:
        super().__init__(message)
        self.message = message
        self.extra: Mapping[str, Any] = extra


class ValidationFailed(DomainError):
    """Some fields are wrong; all of them at once."""

    code = "validation"

    def __init__(self, errors: Sequence[FieldError]) -> None:
        super().__init__(errors[0].message)
        self.errors = tuple(errors)

    @classmethod
    def of(cls, field: str, message: str, code: str = "invalid") -> "ValidationFailed":
        return cls([FieldError(field, code, message)])


class Malformed(DomainError):
    """The input cannot be read at all."""

    code = "malformed"


class NotFound(DomainError):
    """No such thing, deleted, or another organization's: the three are never told apart."""

    code = "not_found"

    def __init__(self, message: str = "Not found") -> None:
        super().__init__(message)


class Forbidden(DomainError):
    """The role does not allow it, on what the caller can see."""

    code = "forbidden"


class Locked(DomainError):
    """A task runs on this VM."""

    code = "locked"

    def __init__(self, message: str, task_id: str | None = None) -> None:
        super().__init__(message, **({"taskId": f"task-{task_id}"} if task_id else {}))


class ActionNotAllowed(DomainError):
    """The status does not allow it."""

    code = "action_not_allowed"

    def __init__(self, message: str, current_status: str, allowed_actions: Sequence[str]) -> None:
        super().__init__(message, currentStatus=current_status, allowedActions=list(allowed_actions))


class Conflict(DomainError):
    """Something is taken, or has no room."""

    code = "conflict"


class QuotaExceeded(DomainError):
    """The organization's quota does not allow it. `quota` maps each short resource to limit, used, requested."""

    code = "quota_exceeded"

    def __init__(self, message: str, quota: Mapping[str, Mapping[str, int]]) -> None:
        super().__init__(message, quota=quota)


class Unsupported(DomainError):
    """This node or VM cannot do it; the message gives the reason and what would help."""

    code = "unsupported"


class NodeUnavailable(DomainError):
    """The node cannot be reached now."""

    code = "node_unavailable"

    def __init__(self, message: str, retry_after_s: int = 30) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class PreconditionFailed(DomainError):
    """`If-Match` did not match."""

    code = "precondition_failed"


class Throttled(DomainError):
    """Too often; try again later."""

    code = "throttled"

    def __init__(self, message: str, retry_after_s: int) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class NotAuthenticated(DomainError):
    """Nobody, or not who they say."""

    code = "not_authenticated"


class TokenNotValid(DomainError):
    """A token that is expired, forged, used up or of the wrong kind."""

    code = "token_not_valid"


class TokenExpired(TokenNotValid):
    """A token that was good, as every client's is after a while."""
