"""The API's table of nodes."""

from django.urls import path

from nodes.views import NodeView

urlpatterns = [
    path("resources/nodes", NodeView.as_view({"get": "list", "post": "create"}), name="nodes"),
    path(
        "resources/nodes/<str:node_id>",
        NodeView.as_view({"get": "retrieve", "patch": "partial_update", "delete": "destroy"}),
        name="node",
    ),
    path("resources/nodes/<str:node_id>/refresh", NodeView.as_view({"post": "refresh"}), name="node-refresh"),
]
