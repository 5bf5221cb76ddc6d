"""What an engineer types in `manage.py shell`: verbs on a VM, by the same actions as the API, as the current actor."""

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Self, TypeVar, cast

from accounts import audit
from accounts.actors import Actor, current_actor
from tasks.errors import NoWorker, WaitedInVain
from tasks.models import OPEN, Task, Worker

if TYPE_CHECKING:
    from resources.models import VirtualMachine

T = TypeVar("T")


class ShellVerbs:
    """Mixed into VirtualMachine. The actions are imported late, because they import the model."""

    def start(self) -> Task:
        """Start it, as the current actor (`acting_as`, or AIWM_USER)."""
        from resources import actions

        return self._act("start", lambda actor: actions.start(actor, self._id))

    def stop(self, force: bool = False) -> Task:
        """Stop it; with `force` the power is cut at once."""
        from resources import actions

        return self._act("stop", lambda actor: actions.stop(actor, self._id, force))

    def restart(self, force: bool = False) -> Task:
        from resources import actions

        return self._act("restart", lambda actor: actions.restart(actor, self._id, force))

    def edit(self, **patch: Any) -> Self:
        """Apply a JSON merge patch, with the API's names: `vm.edit(config={"vcpus": 4})`."""
        from resources import actions

        self._act("update", lambda actor: actions.update(actor, self._id, patch))
        return self

    def delete(self, *args: Any, **kwargs: Any) -> Any:
        """Delete it by its action: what it holds is given back when its node has let go of it."""
        from resources import actions

        return self._act("delete", lambda actor: actions.delete(actor, self._id))

    def forget(self) -> None:
        """Give it up with its node, which is marked lost. For operators."""
        from resources import actions

        self._act("forget", lambda actor: actions.forget(actor, self._id))

    def wait_for(self, status: str, timeout_s: float = 60, poll_s: float = 0.5) -> Self:
        """Wait until it has this status. Raises NoWorker at once where none lives, WaitedInVain else."""
        vm = cast("VirtualMachine", self)
        until = time.monotonic() + timeout_s
        while True:
            vm.refresh_from_db()
            if vm.status == status and vm.task_id is None:
                return self
            waits_for_task = Task.objects.filter(pk=vm.task_id, status__in=OPEN).exists()
            if not waits_for_task:
                why = vm.error_message or "no task runs on it"
                raise WaitedInVain(f"{vm.name} is {vm.status} and will not become {status}: {why}")
            if not Worker.objects.alive().exists():
                raise NoWorker("No worker lives, so nothing will happen. Start one: `manage.py worker`.")
            if time.monotonic() >= until:
                raise WaitedInVain(f"{vm.name} is still {vm.status} after {timeout_s:g} s")
            time.sleep(poll_s)

    @property
    def _id(self) -> str:
        return str(cast("VirtualMachine", self).id)

    def _act(self, verb: str, do: Callable[[Actor], T]) -> T:
        """Do it as the current actor, and take the row as that left it, so that the next line in the shell sees it."""
        vm = cast("VirtualMachine", self)
        actor = current_actor()
        with audit.attempt(actor, f"vm.{verb}", object_type="vm", object_id=self._id, org_id=vm.organization_id):
            result = do(actor)
        vm.refresh_from_db()
        vm.__dict__.pop("config", None)
        return result
