"""What Django tells of a crash to whoever it is told to report to (`AdminEmailHandler`, say)."""

from collections.abc import ItemsView
from types import FrameType
from typing import Any

from django.http import HttpRequest
from django.views.debug import SafeExceptionReporterFilter


class NoLocalsFilter(SafeExceptionReporterFilter):
    """A report without local variables: those of a request's frames may hold a password that it brought.

    With DEBUG they are shown, as Django does; the API's answers show nothing in either case.
    """

    def get_traceback_frame_variables(self, request: HttpRequest | None, tb_frame: FrameType) -> ItemsView[str, Any]:
        return {}.items() if self.is_active(request) else super().get_traceback_frame_variables(request, tb_frame)
