"""The history of what a VM used: packed rows into the points of a chart."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

from django.utils import timezone

from common.errors import ValidationFailed
from common.times import isoformat
from resources.models import MetricsHour, VirtualMachine

# [second of the hour, cpu %, memory %, disk GB, gpu %, rx bytes, tx bytes], null where unknown.
Point = list[Any]

AVERAGED_S = 900
# Between two points further apart than this the VM may have been off, and its counters begun anew.
_GAP_S = 2 * AVERAGED_S


@dataclass(frozen=True)
class Range:
    seconds: int
    step: int


RANGES = {
    "1h": Range(3_600, 60),
    "6h": Range(21_600, 300),
    "24h": Range(86_400, 900),
    "7d": Range(604_800, 3_600),
}


def history(vm: VirtualMachine, range_: str) -> dict[str, Any]:
    """Averages of each step of that time: `cpu`, `memory`, `disk` and `gpu` in percent, rates in bytes a second.

    A step without a sample has no point; what is not known in one, or has no meaning (a rate across a restart), is
    null. Raises ValidationFailed for a range that is none.
    """
    asked = RANGES.get(range_)
    if asked is None:
        raise ValidationFailed.of("range", f"Must be one of {', '.join(RANGES)}", "enum")
    now = timezone.now().timestamp()
    begin = (int(now - asked.seconds) // asked.step + 1) * asked.step
    buckets: dict[int, _Bucket] = defaultdict(_Bucket)
    # Read from a little earlier, so that the first step has a rate too.
    points = list(_points_since(vm, begin - _GAP_S))
    for point in points:
        if begin <= point[0] <= now:
            buckets[point[0] // asked.step].add(point)
    for earlier, later in pairwise(points):
        if begin <= later[0] <= now:
            buckets[later[0] // asked.step].add_rates(earlier, later)
    shown = [bucket.document(number * asked.step, vm.disk_gb) for number, bucket in sorted(buckets.items())]
    return {"resourceId": vm.id, "step": asked.step, "points": shown}


def averaged(points: Sequence[Point]) -> list[Point]:
    """The points of an hour, one each quarter: means, and the counters as they stood at its last point."""
    quarters: dict[int, list[Point]] = defaultdict(list)
    for point in points:
        quarters[point[0] // AVERAGED_S].append(point)
    return [_merged(quarters[number]) for number in sorted(quarters)]


def _merged(points: Sequence[Point]) -> Point:
    last = points[-1]
    means = [_mean((point[column] for point in points), 2) for column in (1, 2, 3, 4)]
    return [last[0], *means, last[5], last[6]]


def _points_since(vm: VirtualMachine, since: int) -> Iterator[Point]:
    """Points with their absolute second, oldest first."""
    first_hour = datetime.fromtimestamp(since - since % 3_600, UTC)
    rows = MetricsHour.objects.filter(vm_id=vm.id, hour__gte=first_hour).order_by("hour")
    for hour, points in rows.values_list("hour", "points"):
        begin = int(hour.timestamp())
        for second, *values in points:
            if begin + second >= since:
                yield [begin + second, *values]


@dataclass
class _Bucket:
    points: list[Point] = field(default_factory=list)
    received: list[tuple[int, int]] = field(default_factory=list)
    sent: list[tuple[int, int]] = field(default_factory=list)

    def add(self, point: Point) -> None:
        self.points.append(point)

    def add_rates(self, earlier: Point, later: Point) -> None:
        """The bytes and seconds between two points. A counter that fell was begun anew: it tells nothing."""
        lasted = later[0] - earlier[0]
        if not 0 < lasted <= _GAP_S:
            return
        for column, into in ((5, self.received), (6, self.sent)):
            before, after = earlier[column], later[column]
            if before is not None and after is not None and after >= before:
                into.append((after - before, lasted))

    def document(self, second: int, disk_gb: int) -> dict[str, Any]:
        disk = _mean((point[3] for point in self.points), 4)
        return {
            "timestamp": isoformat(datetime.fromtimestamp(0, UTC) + timedelta(seconds=second)),
            "cpu": _mean((point[1] for point in self.points), 1),
            "memory": _mean((point[2] for point in self.points), 1),
            "disk": None if disk is None else round(min(100.0, 100 * disk / disk_gb), 1),
            "gpu": _mean((point[4] for point in self.points), 1),
            "rxRate": _rate(self.received),
            "txRate": _rate(self.sent),
        }


def _mean(values: Iterable[float | None], digits: int) -> float | None:
    known = [value for value in values if value is not None]
    return round(sum(known) / len(known), digits) if known else None


def _rate(pairs: Sequence[tuple[int, int]]) -> float | None:
    """Bytes a second."""
    if not pairs:
        return None
    return round(sum(count for count, _ in pairs) / sum(lasted for _, lasted in pairs), 1)
