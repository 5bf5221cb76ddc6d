// The shapes that the guide of the API shows, and that the generated types must fit.
import type { components } from "./generated/api";

type Schemas = components["schemas"];

// Request of a new VM, as the guide writes it. What the types take is never more than this.
interface GuideBody {
  name: string;
  description?: string | null;
  resourceType: "virtual-machine";
  nodeId: string;
  config: {
    type: "virtual-machine";
    osImage: string;
    vcpus: number;
    ramMB: number;
    diskGB: number;
    gpuConfig?: { enabled: boolean; mode?: unknown; deviceIds?: unknown; migProfile?: unknown } | null;
    networkConfig: {
      mode: "bridge-vlan";
      ipMode: "static" | "dhcp";
      ipAddress?: string | null;
      netmask?: string | null;
      gateway?: string | null;
      vlanId?: number | null;
    };
    cloudInit?: {
      hostname?: string | null;
      sshPublicKey?: string | null;
      username?: string | null;
      password?: string | null;
    } | null;
  };
}

type GuideStatus = "queued" | "deploying" | "running" | "stopping" | "stopped" | "failed" | "error";

interface GuideVM {
  _id: string;
  name: string;
  description?: string;
  resourceType: "virtual-machine";
  nodeId: string;
  status: GuideStatus;
  config: { osImage: string; vcpus: number; ramMB: number; diskGB: number; networkConfig: { ipMode: string } };
  runtime?: {
    id: string;
    endpoint?: string;
    ipAddress?: string;
    allocatedGPU: string[];
    allocatedCPU: number;
    allocatedRAM: number;
    startedAt: string;
    stoppedAt?: string;
  };
  owner: { userId: string; orgId: string };
  createdBy: string;
  lastHealthCheck?: string;
  errorMessage?: string;
  createdAt: string;
  updatedAt: string;
}

interface GuideList {
  data: GuideVM[];
  pagination: { total: number; page: number; limit: number; totalPages: number };
  statistics: { byStatus: Record<GuideStatus, number> };
}

interface GuideSnapshot {
  snapshotId: string;
  name: string;
  description: string;
  createdAt: string;
  size: number;
  status: "creating" | "completed" | "failed";
}

declare function is<Wanted>(): <Given extends Wanted>() => void;
is<GuideBody>()<Schemas["CreateBody"]>();
is<GuideVM>()<Schemas["VirtualMachine"]>();
is<GuideList>()<Schemas["VirtualMachineList"]>();
is<GuideSnapshot>()<Schemas["SnapshotDetails"]>();
is<{ success: true; message: string; taskId: string }>()<Schemas["Accepted"]>();
is<GuideStatus>()<Schemas["VirtualMachineStatus"]["status"]>();
// And the other way: no status of the guide is missing.
is<Schemas["VirtualMachineStatus"]["status"]>()<GuideStatus>();

// The guide's own example of a request.
({
  name: "Dev VM Ubuntu 22.04",
  description: "Development VM with GPU passthrough",
  resourceType: "virtual-machine",
  nodeId: "675a1b2c3d4e5f6a7b8c9d0e",
  config: {
    type: "virtual-machine",
    osImage: "ubuntu-22.04",
    vcpus: 8,
    ramMB: 32768,
    diskGB: 100,
    gpuConfig: { enabled: true, mode: "passthrough", deviceIds: ["GPU-0", "GPU-1"] },
    networkConfig: {
      mode: "bridge-vlan",
      ipMode: "static",
      ipAddress: "192.168.100.10",
      netmask: "255.255.255.0",
      gateway: "192.168.100.1",
      vlanId: 100,
    },
    cloudInit: { hostname: "dev-vm", username: "ubuntu" },
  },
}) satisfies Schemas["CreateBody"];

({
  name: "static without an address",
  resourceType: "virtual-machine",
  nodeId: "675a1b2c3d4e5f6a7b8c9d0e",
  config: {
    type: "virtual-machine",
    osImage: "ubuntu-22.04",
    vcpus: 8,
    ramMB: 32768,
    diskGB: 100,
    // @ts-expect-error a static network needs its addresses
    networkConfig: { mode: "bridge-vlan", ipMode: "static" },
  },
}) satisfies Schemas["CreateBody"];
