from django.apps import AppConfig


class NodesConfig(AppConfig):
    name = "nodes"

    def ready(self) -> None:
        from nodes import system_checks  # noqa: F401 - it registers itself
        from nodes.models import unreachable_node_ids
        from nodes.refresh import TASK
        from tasks.registry import registry

        registry.add(TASK)
        registry.unreachable_nodes = unreachable_node_ids
