"""Reads of nodes: four queries a page at any size."""

from collections import defaultdict
from collections.abc import Collection
from dataclasses import replace
from typing import Any

from accounts.actors import Actor
from common.errors import NotFound
from common.ids import is_object_id
from common.paging import Page, pagination_document
from nodes.claims import gpu_claims, in_device_order, slice_of
from nodes.documents import node_document
from nodes.models import Claim, Gpu, Node, NodeImage
from vmbackends.base import NodeRef, NodeSettings


def node_ref(node: Node) -> NodeRef:
    """The node as a backend takes it."""
    settings = NodeSettings(
        pool=node.pool,
        bridge=node.bridge,
        untagged_bridge=node.untagged_bridge,
        openvswitch=node.openvswitch,
        domain_type=node.domain_type or node.probed_domain_type,
        cpu_mode=node.cpu_mode or node.probed_cpu_mode,
    )
    return NodeRef(id=node.id, name=node.name, uri=node.uri, settings=settings)


def ref_to_probe(node: Node) -> NodeRef:
    """With its operator's word alone: what an older probe found must not keep a newer one from finding better."""
    ref = node_ref(node)
    settings = replace(ref.settings, domain_type=node.domain_type, cpu_mode=node.cpu_mode)
    return replace(ref, settings=settings)


def find_node(node_id: str) -> Node:
    """Every organization sees every node. Raises NotFound, also for what is no id."""
    node = Node.objects.filter(pk=node_id).first() if is_object_id(node_id) else None
    if node is None:
        raise NotFound("There is no such node")
    return node


def list_page(actor: Actor, page: Page) -> dict[str, Any]:
    """The list's whole answer."""
    nodes = Node.objects.order_by("name", "id")
    return {
        "data": documents(actor, nodes[page.offset : page.end]),
        "pagination": pagination_document(nodes.count(), page),
    }


def documents(actor: Actor, nodes: Collection[Node]) -> list[dict[str, Any]]:
    """The documents of these nodes as this caller may see them."""
    gpus = Gpu.objects.filter(node__in=[node.id for node in nodes])
    gpus_of: dict[str, list[Gpu]] = defaultdict(list)
    for gpu in in_device_order(gpus):
        gpus_of[gpu.node_id].append(gpu)
    claims_on: dict[str, list[Claim]] = defaultdict(list)
    for claim in gpu_claims(gpus):
        claims_on[slice_of(claim)[0]].append(claim)
    images_of: dict[str, list[str]] = defaultdict(list)
    if actor.is_operator:
        named = NodeImage.objects.filter(node__in=[node.id for node in nodes]).order_by("os_image")
        for node_id, os_image in named.values_list("node_id", "os_image"):
            images_of[node_id].append(os_image)
    return [node_document(actor, node, gpus_of[node.id], claims_on, images_of[node.id]) for node in nodes]
