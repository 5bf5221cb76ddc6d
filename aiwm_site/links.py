"""What one answer gives to the next request, as links of the OpenAPI document.

https://spec.openapis.org/oas/v3.1.0#link-object
"""

from typing import Any

_OF_VM = (
    "getVirtualMachine", "updateVirtualMachine", "deleteVirtualMachine", "startVirtualMachine", "stopVirtualMachine",
    "restartVirtualMachine", "getVirtualMachineStatus", "getVirtualMachineLogs", "getVirtualMachineMetrics",
    "getVirtualMachineMetricsHistory", "openVirtualMachineConsole", "listTasksOfVirtualMachine",
    "listVirtualMachineEvents", "listSnapshots", "createSnapshot",
)  # fmt: skip
_OF_SNAPSHOT = ("restoreSnapshot", "deleteSnapshot")
_OF_NODE = ("getNode", "updateNode", "deleteNode", "refreshNode")
_OF_TASK = ("getTask", "cancelTask")

_VM = {"resourceId": "$response.body#/_id"}
_FIRST_VM = {"resourceId": "$response.body#/data/0/_id"}
_SNAPSHOT = {"resourceId": "$request.path.resourceId", "snapshotId": "$response.body#/snapshotId"}
_NODE = {"nodeId": "$response.body#/_id"}
_TASK = {"taskId": "$response.body#/taskId"}

# operation and status of an answer: to which operations it leads, and what it gives them
_LINKS: dict[tuple[str, str], tuple[tuple[str, ...], dict[str, str]]] = {
    ("createVirtualMachine", "201"): (_OF_VM, _VM),
    ("listVirtualMachines", "200"): (_OF_VM, _FIRST_VM),
    ("createSnapshot", "201"): (_OF_SNAPSHOT, _SNAPSHOT),
    ("createNode", "201"): (_OF_NODE, _NODE),
    ("startVirtualMachine", "202"): (_OF_TASK, _TASK),
    ("stopVirtualMachine", "202"): (_OF_TASK, _TASK),
    ("restartVirtualMachine", "202"): (_OF_TASK, _TASK),
    ("deleteVirtualMachine", "202"): (_OF_TASK, _TASK),
    ("restoreSnapshot", "202"): (_OF_TASK, _TASK),
    ("deleteSnapshot", "202"): (_OF_TASK, _TASK),
    ("refreshNode", "202"): (_OF_TASK, _TASK),
}


def describe_links(result: dict[str, Any], **_: Any) -> dict[str, Any]:
    """A postprocessing hook."""
    operations = {
        operation["operationId"]: operation
        for item in result.get("paths", {}).values()
        for operation in item.values()
        if "operationId" in operation
    }
    for (name, status), (targets, parameters) in _LINKS.items():
        response = operations.get(name, {}).get("responses", {}).get(status)
        if response is not None:
            response["links"] = {
                target: {"operationId": target, "parameters": parameters} for target in targets if target in operations
            }
    return result
