"""What `manage.py check --deploy` can say of nodes, where VMs are real."""

import os
from typing import Any

from django import db
from django.core import checks
from django.core.checks import CheckMessage, Tags, register
from django.core.exceptions import ImproperlyConfigured

from nodes.models import Node
from nodes.uris import key_files
from vmbackends import get_backend


@register(Tags.security, deploy=True)
def real_nodes(**_: Any) -> list[CheckMessage]:
    try:
        if get_backend().capabilities.local_reads:
            return []
    except ImproperlyConfigured:
        return []  # aiwm.E002 says so
    try:
        nodes = list(Node.objects.filter(lost=False))
    except db.Error as e:
        return [
            checks.Warning(
                "The nodes could not be read.", hint=f"Is the database migrated? {type(e).__name__}", id="aiwm.W020"
            )
        ]
    return [*_no_nodes(nodes), *_without_address(nodes), *_in_the_open(nodes), *_without_keys(nodes)]


def _no_nodes(nodes: list[Node]) -> list[CheckMessage]:
    if nodes:
        return []
    return [checks.Warning("There is no node.", hint="Add one: manage.py nodes add NAME URI", id="aiwm.W021")]


def _without_address(nodes: list[Node]) -> list[CheckMessage]:
    names = [node.name for node in nodes if not node.uri]
    if not names:
        return []
    return [
        checks.Warning(
            f"No worker can reach {', '.join(names)}: without a URI.",
            hint="Give each node its libvirt URI, in the admin or by PATCH /resources/nodes/<id>.",
            id="aiwm.W022",
        )
    ]


def _in_the_open(nodes: list[Node]) -> list[CheckMessage]:
    names = [node.name for node in nodes if node.uri.startswith("qemu+tcp:")]
    if not names:
        return []
    return [
        checks.Warning(
            f"{', '.join(names)}: qemu+tcp neither hides what is said nor proves who says it.",
            hint="Use qemu+tls with certificates, or qemu+ssh.",
            id="aiwm.W023",
        )
    ]


def _without_keys(nodes: list[Node]) -> list[CheckMessage]:
    missing = {node.name: [str(file) for file in key_files(node.uri) if not os.access(file, os.R_OK)] for node in nodes}
    return [
        checks.Warning(
            f"{name}: its URI names {', '.join(files)}, which cannot be read here.",
            hint="Put it there, readable by the user of the workers; say this as that user, on their machine.",
            id="aiwm.W024",
        )
        for name, files in missing.items()
        if files
    ]
