"""Tables of commands, on a terminal and in a pipe. No word of a user or node is taken for markup."""

import os
from datetime import datetime
from typing import IO, cast

from django.core.management.base import OutputWrapper
from rich import box
from rich.console import Console
from rich.table import Table

# In a pipe nothing is cut to a terminal's width.
_PIPE_WIDTH = 240


def console_on(stream: OutputWrapper, no_color: bool = False) -> Console:
    stream.ending = ""  # rich ends its lines itself
    width = None if stream.isatty() else int(os.environ.get("COLUMNS", _PIPE_WIDTH))
    return Console(
        file=cast("IO[str]", stream), width=width, no_color=no_color or None, markup=False, emoji=False, highlight=False
    )


def new_table(console: Console, *columns: str) -> Table:
    made = Table(box=box.SIMPLE_HEAD if console.is_terminal else None, pad_edge=False)
    for number, column in enumerate(columns):
        made.add_column(column, no_wrap=number == 0, overflow="fold")
    return made


def plain(text: str) -> str:
    """Without what would move a terminal's cursor or change its colours."""
    return "".join(character if character.isprintable() else " " for character in text)


def moment(at: datetime | None) -> str:
    return f"{at:%Y-%m-%d %H:%M:%S}Z" if at else "-"
