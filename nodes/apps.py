from django.apps import AppConfig


class NodesConfig(AppConfig):
    name = "nodes"

    def ready(self) -> None:
        from nodes import (
            devices,
            refresh,
            system_checks,  # noqa: F401 - it registers itself
        )
        from nodes.models import unreachable_node_ids
        from tasks.registry import registry

        registry.add(refresh.TASK, devices.TASK)
        registry.unreachable_nodes = unreachable_node_ids
