"""What a backend raises. Each message names the node or VM and says what an operator can do."""


class BackendError(Exception):
    """The base of all. `code` is the engine's own error code, where it has one."""

    def __init__(self, message: str, *, code: int | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.code = code


class NodeUnreachable(BackendError):
    """The node does not answer. Nothing is known of what it did; the call may be repeated.

    `busy` where nothing says that it is away: it, or who asks it, has too much to do.
    """

    def __init__(self, message: str, *, code: int | None = None, busy: bool = False) -> None:
        super().__init__(message, code=code)
        self.busy = busy


class NotAsked(NodeUnreachable):
    """The node was not asked now, for it did not answer before: nothing new is known of it."""


class Busy(BackendError):
    """The node has as many such calls to work on as it may, and this one was not made: its turn comes later."""


class Refused(BackendError):
    """The node answered and will not do it: no space, no such image, an invalid domain."""


class Untouched(Refused):
    """Refused before this call changed anything: the VM is as it was before the call."""


class NotSupported(Refused):
    """This node or VM can never do it as it is; the message says what would help."""
