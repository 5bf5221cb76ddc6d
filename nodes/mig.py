"""NVIDIA's Multi-Instance GPU: which boards have it, which profiles they offer, and where an instance may lie.

A board's memory is cut into slices, and an instance takes a run of them from one of a few allowed starts. So two
instances may not fit although their gigabytes would. Names and placements:
https://docs.nvidia.com/datacenter/tesla/mig-user-guide/supported-mig-profiles.html
"""

import re
from collections.abc import Set
from dataclasses import dataclass
from functools import cache


@dataclass(frozen=True)
class Profile:
    """`compute` slices of the board's seven (or four), `slices` of its memory, from one of `starts`."""

    name: str
    compute: int
    slices: int
    starts: tuple[int, ...]

    def span(self, start: int) -> range:
        """The memory slices that an instance takes from this start."""
        return range(start, start + self.slices)


@dataclass(frozen=True)
class _Board:
    """A model at one size of memory. `gigabytes` are in the profiles' names, in the order of the layout below."""

    model: str
    memory_gb: int
    gigabytes: tuple[int, ...]


# Compute slices, memory slices, starts.
_SEVEN = (
    (1, 1, (0, 1, 2, 3, 4, 5, 6)),
    (1, 2, (0, 2, 4, 6)),
    (2, 2, (0, 2, 4)),
    (3, 4, (0, 4)),
    (4, 4, (0,)),
    (7, 8, (0,)),
)
_FOUR = ((1, 1, (0, 1, 2, 3)), (2, 2, (0, 2)), (4, 4, (0,)))

_BOARDS = (
    _Board("A30", 24, (6, 12, 24)),
    _Board("A100", 40, (5, 10, 10, 20, 20, 40)),
    _Board("A100", 80, (10, 20, 20, 40, 40, 80)),
    _Board("H100", 80, (10, 20, 20, 40, 40, 80)),
    _Board("H100", 94, (12, 24, 24, 47, 47, 94)),
    _Board("H100", 96, (12, 24, 24, 48, 48, 96)),
    _Board("GH200", 96, (12, 24, 24, 48, 48, 96)),
    _Board("H200", 141, (18, 35, 35, 71, 71, 141)),
    _Board("B200", 180, (23, 45, 45, 90, 90, 180)),
)
_MODEL = re.compile(r"(?<![A-Z0-9])(?:A30|A100|H100|GH200|H200|B200)(?![0-9])")
# What a driver reports differs a little from the name: an A100 40 GB has 40,536 MiB in one release and 40,960 in
# another, a B200 183,359 of its 180 GB, or 192 before ECC.
_TOLERANCE = 0.08


def profiles_for(model: str, memory_mb: int) -> list[Profile]:
    """What a board of this model name and memory offers, smallest first; nothing where it has no MIG."""
    return list(_profiles(model, memory_mb))


def memory_slices(model: str, memory_mb: int) -> int:
    """Into how many slices the memory is cut: 8, 4, or 1 for a board without MIG."""
    profiles = _profiles(model, memory_mb)
    return profiles[-1].slices if profiles else 1


def profile_named(model: str, memory_mb: int, name: str) -> Profile | None:
    return next((profile for profile in _profiles(model, memory_mb) if profile.name == name), None)


def starts_that_fit(profile: Profile, taken: Set[int]) -> list[int]:
    """The starts from which an instance meets no taken slice."""
    return [start for start in profile.starts if taken.isdisjoint(profile.span(start))]


def free_count(profile: Profile, taken: Set[int]) -> int:
    """How many instances of this profile still fit at most. Its own placements never overlap each other."""
    return len(starts_that_fit(profile, taken))


def best_starts(profile: Profile, taken: Set[int], profiles: list[Profile]) -> list[int]:
    """The starts that fit, first the one that leaves most room to the larger of the board's `profiles`."""

    def left(start: int) -> tuple[int, ...]:
        after = taken | set(profile.span(start))
        return tuple(free_count(other, after) for other in sorted(profiles, key=lambda p: -p.slices))

    return sorted(starts_that_fit(profile, taken), key=left, reverse=True)


@cache
def _profiles(model: str, memory_mb: int) -> tuple[Profile, ...]:
    found = _MODEL.search(model.upper())
    boards = [board for board in _BOARDS if found and board.model == found.group()]
    memory_gb = memory_mb / 1024
    near = [board for board in boards if abs(memory_gb - board.memory_gb) <= board.memory_gb * _TOLERANCE]
    if not near:
        return ()
    board = min(near, key=lambda candidate: abs(memory_gb - candidate.memory_gb))
    layout = _SEVEN if len(board.gigabytes) == len(_SEVEN) else _FOUR
    return tuple(
        Profile(f"{compute}g.{gigabytes}gb", compute, slices, starts)
        for (compute, slices, starts), gigabytes in zip(layout, board.gigabytes, strict=True)
    )
