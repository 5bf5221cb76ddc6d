"""The task row: the record of an operation, the API's `taskId`, and the queue, in one."""

from datetime import timedelta

from django.db import models
from django.db.models.functions import Now

from common.fields import ObjectIdField, object_id_key

# A worker that has not been heard of for so long is taken for dead. It says that it lives before each step, and a step
# may take 45 s.
HEARTBEAT_LIMIT = timedelta(seconds=60)


class TaskStatus(models.TextChoices):
    PENDING = "pending"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


OPEN = (TaskStatus.PENDING, TaskStatus.RUNNING)


class Task(models.Model):
    """One operation on one subject (a VM or a node), done step by step by whichever worker holds the lease.

    `attempt` is the fence: it rises with each claim, and every write of a worker names the attempt that it holds.
    `node_slot` is `<node id>:<0 or 1>` while a worker holds the task: unique, so that a node never has more at once.
    `state` is the steps' own memory between claims, `payload` what the action asked for, `outcome` how it ended.
    No secret is ever in any of them.
    """

    id = object_id_key()
    type = models.CharField(max_length=40)
    status = models.CharField(max_length=12, choices=TaskStatus.choices, default=TaskStatus.PENDING)
    subject_id = ObjectIdField(db_index=True)
    org_id = ObjectIdField(null=True)
    node_id = ObjectIdField(null=True)
    payload = models.JSONField(default=dict)
    state = models.JSONField(default=dict)
    outcome = models.JSONField(default=dict)
    progress = models.PositiveSmallIntegerField(default=0)
    message = models.CharField(max_length=500, blank=True, default="")
    error = models.TextField(blank=True, default="")
    created_by = ObjectIdField(null=True)
    created_at = models.DateTimeField(auto_now_add=True)
    started_at = models.DateTimeField(null=True)
    finished_at = models.DateTimeField(null=True)
    not_before = models.DateTimeField(null=True)
    deadline_at = models.DateTimeField(null=True)
    attempt = models.PositiveIntegerField(default=0)
    deaths = models.PositiveIntegerField(default=0)
    worker = models.CharField(max_length=100, blank=True, default="")
    lease_until = models.DateTimeField(null=True)
    node_slot = models.CharField(max_length=40, null=True, unique=True)

    class Meta:
        ordering = ("-created_at", "-id")
        indexes = (
            models.Index(fields=("status", "not_before"), name="task_queue"),
            models.Index(fields=("org_id", "-created_at"), name="task_of_org"),
            models.Index(fields=("-created_at", "-id"), name="task_created_first"),
        )

    def __str__(self) -> str:
        return f"{self.type} {self.public_id}"

    @property
    def public_id(self) -> str:
        return f"task-{self.id}"

    @property
    def is_open(self) -> bool:
        return self.status in OPEN


class WorkerQuerySet(models.QuerySet["Worker"]):
    def alive(self) -> "WorkerQuerySet":
        return self.filter(seen_at__gte=Now() - HEARTBEAT_LIMIT)


class Worker(models.Model):
    """A worker process that has been heard of. Removed when it stops, or when it is long dead."""

    id = object_id_key()
    host = models.CharField(max_length=100)
    pid = models.PositiveIntegerField()
    started_at = models.DateTimeField(auto_now_add=True)
    seen_at = models.DateTimeField(db_index=True)

    objects = WorkerQuerySet.as_manager()

    def __str__(self) -> str:
        return f"{self.host}:{self.pid}"


class Beat(models.Model):
    """When a periodic job is due next. One conditional update decides which worker does it."""

    name = models.CharField(primary_key=True, max_length=60)
    next_at = models.DateTimeField()

    def __str__(self) -> str:
        return self.name
