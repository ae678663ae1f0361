"""Ray on this machine for one team: its processes, started as few as they can be, joined, and ended to the last."""

from __future__ import annotations

import asyncio
import atexit
import logging
import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from metier.topics.errors import Unavailable

from . import build, deploy, models, processes, worker
from .team import Team
from .thread import Thread

log = logging.getLogger("metier.node")

#: Ray's own minimum. Nothing of a team lies in the object store.
OBJECT_STORE_BYTES = 80 * 1024 * 1024

#: Ray gives its own agents 15 s to start, and no way to give them more on a busy machine.
ATTEMPTS = 3

#: Read by Ray and Serve when they are imported, here and in every worker.
ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",
    # Ray's own answer to SIGTERM is a stack trace and the end, with nothing put away.
    "RAY_DISABLE_FAILURE_SIGNAL_HANDLER": "1",
    # Ray would have every actor give way to whatever else the machine does, the broker included.
    "RAY_worker_niceness": "0",
    # An actor's loop runs on Serve's own, which is uvloop's: a thread between them would only pass messages on.
    "RAY_SERVE_RUN_USER_CODE_IN_SEPARATE_THREAD": "0",
    "RAY_SERVE_RUN_ROUTER_IN_SEPARATE_LOOP": "0",
}


def prepare() -> None:
    """Sets ENVIRONMENT where it is not set already. Before Ray is imported, and before the fork server starts."""
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)


class Node:
    """Ray's processes on this machine. All its blocking calls come from one thread: they die with it."""

    def __init__(self, fork_servers: str) -> None:
        self._fork_servers = fork_servers
        self._node: Any = None
        #: Ray's agents among them: they write their title over their environment and live on when their raylet dies.
        self._born: list[processes.Process] = []

    def start(self, team: Team, logs: Path) -> str:
        """Starts it, joins it and returns its address; `logs` becomes a link to what it logs. Blocks.

        Raises Unavailable.
        """
        import ray

        os.environ[worker.SERVERS] = self._fork_servers
        logging.getLogger("ray").setLevel(logging.ERROR)
        cpus, resources = _wanted(team)
        for attempt in range(1, ATTEMPTS + 1):
            try:
                self._node = _started(cpus, resources)
                ray.init(
                    self._node.gcs_address,
                    log_to_driver=False,
                    logging_level=logging.ERROR,
                    namespace="metier",
                )
                break
            except Exception as error:  # Ray raises no narrower class
                processes.kill(processes.descendants(_children()))
                if attempt == ATTEMPTS:
                    raise Unavailable(what="Ray", reason=f"it did not start: {error}") from error
                log.warning("Ray did not start, once more: %s", error, extra={"action": "ray_error"})
        self._born = self._processes()
        logs.unlink(missing_ok=True)
        logs.symlink_to(Path(self._node.get_session_dir_path()) / "logs")
        return str(self._node.gcs_address)

    async def end(self, call: Thread, delete: Callable[[], None]) -> None:
        """Ends the actors by `delete`, so that they hand back what they hold; then Ray; then what still lives of it."""
        import ray

        started = set(self._processes())
        deleting = asyncio.create_task(call(delete))
        while not deleting.done() and not self._lost():
            await asyncio.wait((deleting,), timeout=0.1)
            started |= set(self._processes())
        if self._lost():
            # A signal to the whole group (systemd, timeout(1)) ended Ray's processes too. Ray would wait a minute for
            # them, then end this one.
            deleting.cancel()
            atexit.unregister(ray.shutdown)
        else:
            await call(self._stop)
        for process in await processes.end(list(started)):
            log.warning("killed process %d: it outlived Ray", process.pid, extra={"action": "kill"})

    def _processes(self) -> list[processes.Process]:
        """All that belongs to this node: its own, and those of a raylet that has died, which have no parent here.

        A process may be in it twice, or have ended.
        """
        found = self._born + processes.descendants(_children())
        for raylet in self._node.all_processes.get("raylet", ()) if self._node is not None else ():
            found += processes.told("RAY_RAYLET_PID", str(raylet.process.pid))
        return found

    def _lost(self) -> bool:
        """Whether a process of Ray's own has died."""
        return self._node is not None and bool(self._node.dead_processes())

    def _stop(self) -> None:
        import ray

        ray.shutdown()
        if self._node is not None:
            self._node.kill_all_processes(check_alive=False, allow_graceful=True)


def _wanted(team: Team) -> tuple[int, dict[str, float]]:
    """CPUs and own resources. What the file asks of a cluster, this machine says it has: ten nodes' team runs, slowly.

    As many workers as CPUs start in advance, while the rest of Ray gets ready: one for each actor without a model.
    """
    sections = [build.section(team, name) for name in build.actors(team)]
    sections += [team.models[name] for name in models.shared(team)]
    wanted: dict[str, float] = {}
    for section in sections:
        for name, amount in {"CPU": section.resources.cpus, **section.resources.custom}.items():
            wanted[name] = wanted.get(name, 0.0) + amount * section.replicas.max
    light = [name for name in deploy.names(team) if not deploy.holds_model(team, name)]
    return max(len(light) + 1, math.ceil(wanted.pop("CPU"))), wanted


def _started(cpus: int, resources: dict[str, float]) -> Any:
    """Ray's processes, without those that nobody here needs: no autoscaler's monitor, no log monitor, no dashboard.

    `ray.init` starts all of them and takes no program for its workers; this is the layer below, as `ray.cluster_utils`
    uses it.
    """
    from ray._private.authentication import authentication_token_setup as authentication
    from ray._private.node import Node as RayNode
    from ray._private.parameter import RayParams

    # Whoever can reach Ray on the network needs the token that only this user can read.
    authentication.enable_token_auth_by_default()
    authentication.ensure_token_if_auth_enabled()
    parameters = RayParams(
        num_cpus=cpus,
        resources=resources,
        object_store_memory=OBJECT_STORE_BYTES,
        include_dashboard=False,
        include_log_monitor=False,  # type: ignore[arg-type]  # a flag, whatever its annotation says
        no_monitor=True,
        worker_path=worker.__file__,
        setup_worker_path=worker.__file__,
        dashboard_agent_listen_port=0,  # two teams on one machine would otherwise wait for each other
    )
    return RayNode(parameters, head=True, shutdown_at_exit=False, spawn_reaper=True)


def _children() -> set[int]:
    import ray

    return processes.children(str(Path(ray.__file__).parent))
