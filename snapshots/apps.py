from django.apps import AppConfig


class SnapshotsConfig(AppConfig):
    name = "snapshots"

    def ready(self) -> None:
        from snapshots import handlers
        from tasks.registry import registry

        registry.add(*handlers.TYPES)
