"""What Prometheus is told of the state of things, read from the database at each scrape.

Labels are statuses, nodes by name, and organizations by id: no name of a tenant's leaves here.
"""

import logging
from collections.abc import Iterable, Iterator

from django import db
from django.db.models import Count, F, Min, QuerySet
from django.utils import timezone
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from accounts.models import Organization
from accounts.quotas import NAMES
from nodes import room, strays
from nodes.models import Node
from resources.models import VirtualMachine
from resources.states import Status
from tasks.models import OPEN, Task, Worker

log = logging.getLogger(__name__)

NODE_STATUSES = ("online", "offline", "maintenance", "lost")


class DatabaseCollector(Collector):
    """`aiwm_database_up` alone, and 0, where the database does not answer."""

    def collect(self) -> Iterable[GaugeMetricFamily]:
        try:
            gauges = [*_vms(), *_tasks(), *_nodes(), *_organizations(), _workers()]
        except db.Error:
            log.warning("the database does not answer", exc_info=True)
            gauges = []
        return [*gauges, GaugeMetricFamily("aiwm_database_up", "Whether the database answers.", value=bool(gauges))]


def _vms() -> Iterator[GaugeMetricFamily]:
    vms = VirtualMachine.objects.all()
    yield _by("aiwm_vms", "Virtual machines.", "status", list(Status), _counted(vms.filter(deleted_at=None), "status"))
    cleaning = vms.filter(deleted_at__isnull=False, deployed=True).count()
    yield GaugeMetricFamily("aiwm_vms_cleaning", "Deleted VMs of which a node still has something.", value=cleaning)


def _tasks() -> Iterator[GaugeMetricFamily]:
    tasks = Task.objects.filter(status__in=OPEN)
    yield _by("aiwm_tasks", "Tasks that have not ended.", "status", list(OPEN), _counted(tasks, "status"))
    oldest = tasks.filter(status=OPEN[0]).aggregate(at=Min("created_at"))["at"]
    age = (timezone.now() - oldest).total_seconds() if oldest else 0
    yield GaugeMetricFamily("aiwm_oldest_pending_task_seconds", "The age of the oldest that waits.", value=max(0, age))


def _nodes() -> Iterator[GaugeMetricFamily]:
    capacity = GaugeMetricFamily(
        "aiwm_node_capacity", "What a node can promise: vcpus, ram_mb, disk_gb.", labels=("node", "resource")
    )
    used = GaugeMetricFamily("aiwm_node_used", "What a node has promised.", labels=("node", "resource"))
    foreign = GaugeMetricFamily(
        "aiwm_node_foreign_domains", "Domains on a node that are not of AIWM, 100 at most.", labels=("node",)
    )
    orphans = GaugeMetricFamily(
        "aiwm_node_orphans", "Domains and volumes on a node that are named as of a VM that is not there, or is on "
        "another node, of 100 VMs at most.", labels=("node",)
    )  # fmt: skip
    old_images = GaugeMetricFamily(
        "aiwm_node_old_images", "Images on a node that are not kept any more, 100 at most.", labels=("node",)
    )
    statuses = dict.fromkeys(NODE_STATUSES, 0)
    for node in Node.objects.all():
        statuses[node.status] += 1
        for gauge, amounts in ((capacity, room.capacity(node)), (used, room.allocated(node))):
            for name, amount in vars(amounts).items():
                gauge.add_metric((node.name, name), amount)
        found = strays.counts(node)
        foreign.add_metric((node.name,), found.foreign)
        orphans.add_metric((node.name,), found.orphans + found.elsewhere)
        old_images.add_metric((node.name,), found.images)
    yield _by("aiwm_nodes", "Nodes.", "status", NODE_STATUSES, statuses)
    yield from (capacity, used, foreign, orphans, old_images)


def _organizations() -> Iterator[GaugeMetricFamily]:
    labels = ("organization", "resource")
    used = GaugeMetricFamily("aiwm_organization_used", "What an organization's VMs hold.", labels=labels)
    quota = GaugeMetricFamily("aiwm_organization_quota", "What they may hold.", labels=labels)
    for organization in Organization.objects.all():
        for name in NAMES:
            used.add_metric((organization.id, name), getattr(organization, f"used_{name}"))
            quota.add_metric((organization.id, name), getattr(organization, f"quota_{name}"))
    yield used
    yield quota


def _workers() -> GaugeMetricFamily:
    return GaugeMetricFamily("aiwm_workers", "Workers that are alive.", value=Worker.objects.alive().count())


def _counted(rows: QuerySet[VirtualMachine] | QuerySet[Task], name: str) -> dict[str, int]:
    return dict(rows.order_by().values_list(F(name)).annotate(number=Count("*")))


def _by(name: str, text: str, label: str, known: Iterable[str], counted: dict[str, int]) -> GaugeMetricFamily:
    gauge = GaugeMetricFamily(name, text, labels=(label,))
    for value in known:
        gauge.add_metric((str(value),), counted.get(value, 0))
    return gauge
