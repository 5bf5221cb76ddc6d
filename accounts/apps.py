from django.apps import AppConfig

HOURLY_S = 3600.0


class AccountsConfig(AppConfig):
    name = "accounts"

    def ready(self) -> None:
        from accounts import audit, guard, idempotency, throttling, tokens
        from tasks.registry import Periodic, registry

        registry.add_periodic(
            Periodic("accounts.purge_tokens", lambda: HOURLY_S, tokens.purge),
            Periodic("accounts.purge_login_minutes", lambda: HOURLY_S, throttling.purge),
            Periodic("accounts.purge_lockouts", lambda: HOURLY_S, guard.purge),
            Periodic("accounts.purge_audit", lambda: HOURLY_S, audit.purge),
            Periodic("accounts.purge_idempotency_keys", lambda: HOURLY_S, idempotency.purge),
        )
