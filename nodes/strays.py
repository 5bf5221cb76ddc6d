"""What the last look at a node saw there that no VM accounts for, in words for an operator: `Node.strays`.

See `resources.strays`, which writes it.
"""

from collections.abc import Iterator

from nodes.models import Node


def sentences(node: Node) -> Iterator[str]:
    """What is there, and what can be done about it."""
    for name in node.strays.get("foreign", ()):
        yield f"The domain {name} is not of AIWM. It is let be, and takes of the node what AIWM counts as free."
    for vm_id, names in node.strays.get("orphans", {}).items():
        yield (
            f"{', '.join(names)}: named as of a VM ({vm_id}) that is not there. If nobody wants it, remove it on the "
            "node: virsh undefine --nvram --snapshots-metadata, virsh vol-delete."
        )
