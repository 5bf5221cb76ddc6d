"""Organizations, their users and quotas, and what keeps tokens and the audit trail."""

from typing import Any, ClassVar, NoReturn

from django.contrib.auth.models import AbstractUser, UserManager
from django.db import models

from common.fields import ObjectIdField, object_id_key


class Role(models.TextChoices):
    VIEWER = "viewer"  # reads; no console
    MEMBER = "member"  # reads, and writes what the organization owns
    ADMIN = "admin"  # the same, and sees the organization's users


class Organization(models.Model):
    """A tenant. `used_*` is what its VMs hold, changed only by the conditional updates of `accounts.quotas`."""

    id = object_id_key()
    name = models.CharField(max_length=100, unique=True)
    quota_vms = models.PositiveIntegerField("quota VMs", default=20)
    quota_vcpus = models.PositiveIntegerField("quota vCPUs", default=64)
    quota_ram_mb = models.PositiveBigIntegerField("quota RAM, MB", default=262_144)
    quota_disk_gb = models.PositiveBigIntegerField("quota disk, GB", default=2_048)
    quota_gpus = models.PositiveIntegerField("quota GPUs", default=0)
    quota_mig_instances = models.PositiveIntegerField("quota MIG instances", default=0)
    used_vms = models.PositiveIntegerField("used VMs", default=0, editable=False)
    used_vcpus = models.PositiveIntegerField("used vCPUs", default=0, editable=False)
    used_ram_mb = models.PositiveBigIntegerField("used RAM, MB", default=0, editable=False)
    used_disk_gb = models.PositiveBigIntegerField("used disk, GB", default=0, editable=False)
    used_gpus = models.PositiveIntegerField("used GPUs", default=0, editable=False)
    used_mig_instances = models.PositiveIntegerField("used MIG instances", default=0, editable=False)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ("name",)

    def __str__(self) -> str:
        return self.name


class AccountManager(UserManager["User"]):
    def create_superuser(
        self, username: str, email: str | None = None, password: str | None = None, **fields: Any
    ) -> "User":
        """The first operator needs an organization to belong to; without one named it is `operators`."""
        if "organization" not in fields and "organization_id" not in fields:
            fields["organization"], _ = Organization.objects.get_or_create(name="operators")
        return super().create_superuser(username, email, password, **fields)


class User(AbstractUser):
    """A person or a program. `is_staff` makes an operator; Django's permissions bind them in the admin besides."""

    id = object_id_key()
    organization = models.ForeignKey(Organization, on_delete=models.PROTECT, related_name="users")
    role = models.CharField(max_length=10, choices=Role.choices, default=Role.MEMBER)
    # Raised when the user is switched off: refresh tokens from before stay dead when they are switched on again.
    token_epoch = models.PositiveIntegerField(default=0, editable=False)

    objects: ClassVar[AccountManager] = AccountManager()

    class Meta(AbstractUser.Meta):
        ordering = ("username",)


class UsedRefresh(models.Model):
    """A refresh token that is used up or revoked. The primary key decides between two tabs that rotate one."""

    jti = models.CharField("JTI", primary_key=True, max_length=64)
    expires_at = models.DateTimeField(db_index=True)

    class Meta:
        verbose_name_plural = "used refreshes"

    def __str__(self) -> str:
        return self.jti


class LoginFailure(models.Model):
    """Failed log-ins of one (username, address); `key` is a digest of both."""

    key = models.CharField(primary_key=True, max_length=64)
    failures = models.PositiveIntegerField(default=0)
    last_at = models.DateTimeField(db_index=True)
    locked_until = models.DateTimeField(null=True)

    class Meta:
        verbose_name = "failed log-in"
        verbose_name_plural = "failed log-ins"

    def __str__(self) -> str:
        return self.key


class LoginMinute(models.Model):
    """How many log-ins came from one address in one minute; `key` is both."""

    key = models.CharField(primary_key=True, max_length=80)
    number = models.PositiveIntegerField()
    at = models.DateTimeField(db_index=True)

    def __str__(self) -> str:
        return self.key


class Outcome(models.TextChoices):
    DONE = "done"
    REFUSED = "refused"  # by the rules of the product, with the error's code


class AppendOnlyQuerySet(models.QuerySet["AuditEntry"]):
    """Entries are added and read. What counts refusals and forgets old entries is `accounts.audit` alone."""

    def update(self, **kwargs: Any) -> NoReturn:
        raise TypeError(_APPEND_ONLY)

    def delete(self) -> NoReturn:
        raise TypeError(_APPEND_ONLY)

    def bulk_create(self, *args: Any, **kwargs: Any) -> list["AuditEntry"]:
        if kwargs.get("update_conflicts"):
            raise TypeError(_APPEND_ONLY)
        return super().bulk_create(*args, **kwargs)


_APPEND_ONLY = "The audit trail is append-only: its entries are neither changed nor deleted."


class AuditEntry(models.Model):
    """One change or one refused attempt: who, from where, by what, on what, before and after. Append-only; secrets
    are masked.

    A refusal has the `code` and `detail` of the answer. `count` is how many alike there were in the minute that began
    with it: of one user, or of nobody known from one address. `root_id` is what the object is part of (of a snapshot
    or a task its VM), else the object itself.
    """

    id = object_id_key()
    at = models.DateTimeField(auto_now_add=True, db_index=True)
    actor_id = ObjectIdField(null=True)
    actor_name = models.CharField(max_length=150)
    actor_org_id = ObjectIdField(null=True, help_text="the organization that the actor belongs to")
    org_id = ObjectIdField(null=True, help_text="the organization that owns the object")
    via = models.CharField(max_length=10)
    address = models.CharField(max_length=45, blank=True, default="")
    request_id = models.CharField(max_length=64, blank=True, default="")
    action = models.CharField(max_length=60)
    object_type = models.CharField(max_length=40)
    object_id = models.CharField(max_length=64, db_index=True)
    root_id = models.CharField(max_length=64, default="")
    before = models.JSONField(null=True)
    after = models.JSONField(null=True)
    outcome = models.CharField(max_length=7, choices=Outcome.choices, default=Outcome.DONE)
    code = models.CharField(max_length=30, blank=True, default="")
    detail = models.CharField(max_length=300, blank=True, default="")
    count = models.PositiveIntegerField(default=1)

    objects = AppendOnlyQuerySet.as_manager()

    class Meta:
        ordering = ("-at", "-id")
        base_manager_name = "objects"
        indexes = (models.Index(fields=("root_id", "-at", "-id"), name="audit_of_root"),)
        verbose_name_plural = "audit entries"

    def __str__(self) -> str:
        return f"{self.actor_name} {self.action} {self.object_type} {self.object_id}"

    def save(self, *args: Any, **kwargs: Any) -> None:
        if not self._state.adding:
            raise TypeError(_APPEND_ONLY)
        # Or one that is given the id of another would be written over it.
        super().save(**{**kwargs, "force_insert": True})

    def delete(self, *args: Any, **kwargs: Any) -> NoReturn:
        raise TypeError(_APPEND_ONLY)


class IdempotencyKey(models.Model):
    """A POST that carried `Idempotency-Key`. `key` is a digest of user, method, path and key; `body` an HMAC."""

    key = models.CharField(primary_key=True, max_length=64)
    body = models.CharField(max_length=64)
    created_at = models.DateTimeField(db_index=True)
    status = models.PositiveSmallIntegerField(null=True, help_text="of the kept answer; null while it runs")
    headers = models.JSONField(default=dict)
    answer = models.TextField(blank=True, default="")

    def __str__(self) -> str:
        return self.key
