"""Debian's packages that are unpacked and not installed: the machine gets no service."""

import tempfile
from pathlib import Path

from lab import packages
from lab.places import cached


def unpacked(name: str, wanted: list[str]) -> Path:
    """Their files in one folder, which stays in the lab's cache."""
    folder = cached(name, "", *wanted)
    if not folder.exists():
        with tempfile.TemporaryDirectory(prefix=f"{name}-", dir=folder.parent) as place:
            for package in wanted:
                packages.unpack(package, Path(place) / "files")
            try:
                (Path(place) / "files").rename(folder)
            except OSError:
                if not folder.exists():  # else another was quicker
                    raise
    return folder
