"""What the API answers about VMs, for the OpenAPI document. No answer is built with these models."""

from typing import Annotated, Any, Literal

from pydantic import Field

from common.schemas import Count, Document, ObjectId, Pagination, Percent, TaskId, Timestamp, absent
from resources.config import GpuMode, IpMode, NetworkMode, OsImage
from resources.states import Action, Status

RuntimeId = Annotated[str, Field(pattern="^vm-[0-9a-f]{24}$")]
Color = Literal["gray", "blue", "green", "orange", "red"]


# A VM


class GpuDetails(Document):
    """What stands beside `enabled` is there where it is true, as the mode asks for."""

    enabled: bool
    mode: GpuMode = absent()
    device_ids: list[str] = absent()
    mig_profile: str = absent()


class NetworkDetails(Document):
    """The three addresses stand where `ipMode` is `static`. Without `vlanId` the interface is untagged."""

    mode: NetworkMode
    ip_mode: IpMode
    ip_address: str = absent(json_schema_extra={"format": "ipv4"})
    netmask: str = absent(json_schema_extra={"format": "ipv4"})
    gateway: str = absent(json_schema_extra={"format": "ipv4"})
    vlan_id: int = absent()


class CloudInitDetails(Document):
    """As it was asked for, without the password."""

    hostname: str = absent()
    ssh_public_key: str = absent()
    username: str = absent()


class ConfigDetails(Document):
    type: Literal["virtual-machine"]
    os_image: OsImage
    vcpus: int
    ram_mb: int = Field(alias="ramMB")
    disk_gb: int = Field(alias="diskGB")
    gpu_config: GpuDetails = absent()
    network_config: NetworkDetails
    cloud_init: CloudInitDetails = absent()


class Runtime(Document):
    """What the last start gave it. `endpoint` and `ipAddress` are absent until an address is known."""

    id: RuntimeId = Field(description="The name of its libvirt domain")
    endpoint: str = absent(description="The address and the port of SSH, or of RDP for Windows")
    ip_address: str = absent(json_schema_extra={"format": "ipv4"})
    allocated_gpu: list[str] = Field(
        alias="allocatedGPU", description="`GPU-0`, or `GPU-0:1g.5gb:3` for a MIG instance: GPU, profile, start slice"
    )
    allocated_cpu: int = Field(alias="allocatedCPU")
    allocated_ram: float = Field(alias="allocatedRAM", description="GB")
    started_at: Timestamp
    stopped_at: Timestamp = absent()


class LiveRuntime(Runtime):
    uptime: Count = Field(description="Seconds; 0 unless it runs")


class Owner(Document):
    user_id: ObjectId
    org_id: ObjectId


class VirtualMachineSummary(Document):
    """A VM as a list shows it. `runtime` is absent until the first start."""

    id: ObjectId = Field(alias="_id")
    name: str
    description: str = absent()
    resource_type: Literal["virtual-machine"]
    node_id: ObjectId
    status: Status
    config: ConfigDetails
    runtime: Runtime = absent()
    owner: Owner
    created_by: ObjectId
    last_health_check: Timestamp = absent(description="The last good look at its node")
    error_message: str = absent(description="Where there is an error")
    created_at: Timestamp
    updated_at: Timestamp


class VirtualMachine(VirtualMachineSummary):
    """A VM. `allowedActions` stands for those who may change it."""

    allowed_actions: list[Action] = absent()


class CountsByStatus(Document):
    queued: Count
    deploying: Count
    running: Count
    stopping: Count
    stopped: Count
    failed: Count
    error: Count


class Statistics(Document):
    """Counted over the same filters, without that of the status."""

    by_status: CountsByStatus


class VirtualMachineList(Document):
    data: list[VirtualMachineSummary]
    pagination: Pagination
    statistics: Statistics


class VirtualMachineStatus(Document):
    resource_id: ObjectId
    id: ObjectId = Field(alias="_id")
    status: Status
    runtime: LiveRuntime = absent()
    health: Literal["healthy", "unhealthy", "unknown"]
    last_check: Timestamp = absent(description="The last good look at its node")
    error_message: str = absent()
    task_id: TaskId = absent(description="The task that runs on it")
    allowed_actions: list[Action] = absent(description="For those who may change it")


# What is done with it


class Done(Document):
    success: Literal[True]
    message: str


class Accepted(Done):
    """A task does it: `GET /resources/tasks/{taskId}`, or the VM's status, tells how far it is."""

    task_id: TaskId


class TaskDetails(Document):
    """`resourceId` is the VM's id, or the node's for a task of a node."""

    task_id: TaskId
    resource_id: ObjectId
    type: str
    status: Literal["pending", "running", "succeeded", "failed", "cancelled"]
    progress: Annotated[int, Field(ge=0, le=100)]
    message: str
    error: str | None
    created_by: ObjectId | None
    created_at: Timestamp
    started_at: Timestamp | None
    finished_at: Timestamp | None


class TaskList(Document):
    data: list[TaskDetails]
    pagination: Pagination


# Monitoring


class LogLineDetails(Document):
    timestamp: Timestamp
    level: Literal["debug", "info", "warning", "error"]
    message: str


class Logs(Document):
    resource_id: ObjectId
    logs: list[LogLineDetails]


class CpuMetrics(Document):
    """`usage` is percent of all vCPUs."""

    usage: Percent = absent()
    cores: int


class UsedOfTotal(Document):
    used: Annotated[float, Field(ge=0)] = absent()
    total: int
    usage_percent: Annotated[float, Field(ge=0)] = absent()


class GpuUsage(Document):
    """Memory in MB, temperature in degrees Celsius."""

    device_id: str
    utilization: Percent
    memory_used: Count
    memory_total: Count
    temperature: int


class NetworkUsage(Document):
    """Bytes since the start."""

    rx_bytes: Count
    tx_bytes: Count


class MetricsDetails(Document):
    """Memory in MB, disk in GB. What cannot be known is absent, and `unavailable` says why."""

    cpu: CpuMetrics
    memory: UsedOfTotal
    disk: UsedOfTotal
    gpu: list[GpuUsage] = absent()
    network: NetworkUsage = absent()


class UnavailableMetrics(Document):
    """The reason for each member of `metrics` that is not whole."""

    cpu: str = absent()
    memory: str = absent()
    disk: str = absent()
    gpu: str = absent()
    network: str = absent()


class CurrentMetrics(Document):
    resource_id: ObjectId
    timestamp: Timestamp
    metrics: MetricsDetails
    unavailable: UnavailableMetrics = absent()


class MetricsPoint(Document):
    """Percents, and bytes a second. Null is what is not known of this step."""

    timestamp: Timestamp
    cpu: Percent | None
    memory: Annotated[float, Field(ge=0)] | None
    disk: Percent | None
    gpu: Percent | None
    rx_rate: Annotated[float, Field(ge=0)] | None
    tx_rate: Annotated[float, Field(ge=0)] | None


class MetricsHistory(Document):
    """`step` is seconds. A step without a sample has no point."""

    resource_id: ObjectId
    step: int
    points: list[MetricsPoint]


class ConsoleAccess(Document):
    """`url` is for a noVNC of one's own; `viewerUrl` is a page with one, to be opened or put in a frame."""

    resource_id: ObjectId
    console_type: Literal["vnc"]
    url: str = Field(json_schema_extra={"format": "uri"})
    viewer_url: str = Field(json_schema_extra={"format": "uri"})
    expires_at: Timestamp


class EventActor(Document):
    """Without `userId` it was the platform itself."""

    user_id: ObjectId = absent()
    username: str


class EventDetails(Document):
    """`count` is how many alike there were in the minute from `timestamp` on: refusals are counted, not repeated."""

    event_id: ObjectId
    timestamp: Timestamp
    actor: EventActor
    via: Literal["api", "admin", "command", "system"]
    action: str = Field(description="`vm.start`, `snapshot.create`")
    object_type: str = Field(description="What it was done to: `vm`, `snapshot` or `task`")
    object_id: str
    outcome: Literal["done", "refused"]
    code: str = absent(description="Of the error, where it was refused")
    detail: str = absent()
    count: Annotated[int, Field(ge=1)]
    before: dict[str, Any] | None
    after: dict[str, Any] | None
    request_id: str
    address: str = absent(description="For operators")


class EventList(Document):
    data: list[EventDetails]
    pagination: Pagination


# What a form needs


class ImageChoice(Document):
    """`nodes` are the ids of the nodes that have it."""

    value: OsImage
    display_name: str
    icon: str
    recommended_for: str
    default_username: str
    nodes: list[ObjectId]


class MigProfileChoice(Document):
    profile: str
    gpu_instances: int
    memory_gb: int = Field(alias="memoryGB")
    use_case: str


class TextLimits(Document):
    min_length: int = absent()
    min_length_recommended: int = absent()
    max_length: int


class NumberLimits(Document):
    min: int
    max: int


class ListLimits(Document):
    max_items: int


class Limits(Document):
    name: TextLimits
    description: TextLimits
    vcpus: NumberLimits
    ram_mb: NumberLimits = Field(alias="ramMB")
    disk_gb: NumberLimits = Field(alias="diskGB")
    vlan_id: NumberLimits
    device_ids: ListLimits
    ssh_public_key: TextLimits
    password: TextLimits


class Defaults(Document):
    resource_type: Literal["virtual-machine"]
    os_image: OsImage
    network_mode: NetworkMode
    username: str
    windows_username: str


class StatusChoice(Document):
    value: Status
    color: Color
    icon: str
    meaning: str
    actions: list[Action]


class PricesPerHour(Document):
    vcpus: float
    ram_gb: float = Field(alias="ramGB")
    disk_gb: float = Field(alias="diskGB")
    gpus: float
    mig_slices: float


class Prices(Document):
    currency: str
    per_hour: PricesPerHour
    hours_per_month: int


class Catalog(Document):
    os_images: list[ImageChoice]
    gpu_modes: list[GpuMode]
    mig_profiles: list[MigProfileChoice]
    network_modes: list[NetworkMode]
    ip_modes: list[IpMode]
    limits: Limits
    defaults: Defaults
    statuses: list[StatusChoice]
    prices: Prices


class EstimateItem(Document):
    item: Literal["vcpus", "ramGB", "diskGB", "gpus", "migSlices"]
    quantity: float
    unit: str
    unit_price: float
    hourly: float


class Estimate(Document):
    """A month has 730 hours."""

    currency: str
    hourly: float
    monthly: float
    items: list[EstimateItem]
