// A frontend's code as the guide of the API has it, on the types that are generated from the API's own document.
import createClient from "openapi-fetch";
import type { components, paths } from "./generated/api";

type VM = components["schemas"]["VirtualMachine"];
type VMStatus = components["schemas"]["VirtualMachineStatus"];
type Problem = components["schemas"]["Problem"];

// What the guide takes from its framework.
declare const token: string;
declare const vm: VM;
declare function setVM(vm: VMStatus): void;
declare function setVMStatus(vmId: string, status: VMStatus["status"]): void;
declare function useEffect(effect: () => (() => void) | void, dependencies: unknown[]): void;
declare const notification: { success(a: { message: string }): void; error(a: { message: string }): void };
declare const Modal: {
  confirm(a: { title: string; content: string; okText: string; okType: "danger"; onOk: () => void }): void;
};
declare function performAction(action: string): void;
declare function handleViewLogs(vmId: string): void;
declare global {
  namespace JSX {
    type Element = object;
    interface ElementChildrenAttribute {
      children: unknown;
    }
  }
}
declare function Alert(a: { type: "error"; message: string; description: string; action: JSX.Element }): JSX.Element;
declare function Button(a: { size: "small"; onClick: () => void; children: string }): JSX.Element;

const api = createClient<paths>({ baseUrl: "http://localhost:3305", headers: { Authorization: `Bearer ${token}` } });

async function fetchVMStatus(vmId: string): Promise<VMStatus> {
  const { data, error } = await api.GET("/resources/{resourceId}/status", { params: { path: { resourceId: vmId } } });
  if (error) throw new Error(error.detail);
  return data;
}

// Example: Handle start VM
export async function handleStartVM(vmId: string) {
  try {
    // Optimistic UI update
    setVMStatus(vmId, "deploying");

    const { data, response } = await api.POST("/resources/{resourceId}/start", {
      params: { path: { resourceId: vmId } },
    });

    if (response.ok) {
      const taskId: string | undefined = data?.taskId;
      notification.success({ message: `VM starting... ${taskId}` });

      // Poll status every 5s
      const interval = setInterval(async () => {
        const status = await fetchVMStatus(vmId);
        setVMStatus(vmId, status.status);

        if (status.status === "running") {
          clearInterval(interval);
          notification.success({ message: "VM started successfully" });
        }
      }, 5000);
    }
  } catch (error) {
    notification.error({ message: "Failed to start VM" });
  }
}

// Poll every 10s for deploying/stopping VMs
useEffect(() => {
  if (vm.status === "deploying" || vm.status === "stopping") {
    const interval = setInterval(async () => {
      const updated = await fetchVMStatus(vm._id);
      setVM(updated);
    }, 10000);

    return () => clearInterval(interval);
  }
}, [vm.status]);

export function confirmAction(action: string, vmName: string) {
  Modal.confirm({
    title: `${action.toUpperCase()} VM`,
    content: `Are you sure you want to ${action} "${vmName}"?`,
    okText: "Confirm",
    okType: "danger",
    onOk: () => performAction(action),
  });
}

export function ErrorOfVM() {
  if (vm.errorMessage) {
    return (
      <Alert
        type="error"
        message="VM Error"
        description={vm.errorMessage}
        action={
          <Button size="small" onClick={() => handleViewLogs(vm._id)}>
            View Logs
          </Button>
        }
      />
    );
  }
  return null;
}

// Every fault of a form at once, each beside its field.
export async function create(body: components["schemas"]["CreateBody"]): Promise<VM | Map<string, string>> {
  const { data, error } = await api.POST("/resources", { body });
  if (data) return data;
  const problem: Problem = error;
  return new Map(problem.errors?.map((fault) => [fault.field, fault.message]));
}
