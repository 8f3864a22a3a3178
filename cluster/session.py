"""A Ray session: a local cluster that ends with the run, or a place on one that is already there."""

import logging
import os
import re
import signal
import socket
import sys
import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from hashlib import blake2b
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import ray
from ray import serve
from ray.autoscaler.sdk import request_resources
from ray.exceptions import AuthenticationError, RayError
from ray.serve.handle import DeploymentHandle
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

import reward.deployment
import rollout.deployment
from cluster.caretaker import keep_place, take_down
from cluster.config import BadInput, RunSettings
from cluster.guard import Guard
from cluster.jobs.placement import Plan, nodes_of, plan, require, reward_role, roles, rollout_role
from cluster.jobs.transfer import transfer
from cluster.monitoring.dashboard import provision
from cluster.runs import RunFolder
from cluster.settings import ClusterSettings, address_of
from cluster.starting import await_pool, pool_errors

_ANSWER_S = 10.0
"""Longest wait for a cluster's host to take a connection."""
_LOOK_EVERY_S = 2.0


def worker_environment() -> dict[str, str]:
    """Environment of every worker process: this checkout is importable, and no hub is asked."""
    root = str(Path(__file__).resolve().parent.parent)
    path = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH", "")]))
    return {"PYTHONPATH": path, "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}


ASKING_FROM_ITS_LOOP = {"env_vars": {"RAY_SERVE_RUN_ROUTER_IN_SEPARATE_LOOP": "0"}}
"""Runtime environment of an actor that asks the pools from its event loop alone, and from no other.

Serve's router is in that loop then, and a call need not be handed to a thread of the router's and back.
"""


@contextmanager
def connected(cluster: ClusterSettings) -> Iterator[str]:
    """Connect to Ray for the length of the block; gives the URL of its dashboard, empty if it has none.

    Raises:
        BadInput: no cluster answers at the address that the settings or RAY_ADDRESS give, or it is no address.
    """
    address = address_of(cluster)
    try:
        _require_answer(address)
        context = ray.init(
            address=address or "local",
            include_dashboard=cluster.dashboard if address is None else None,
            log_to_driver=False,
            logging_level=logging.ERROR,
            runtime_env={"env_vars": worker_environment()},
        )
    except (AuthenticationError, OSError, ValueError, RuntimeError) as error:
        if address is None and isinstance(error, ValueError | RuntimeError):
            raise
        lines = [line for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
        raise BadInput(f"cluster.address {address}: no Ray cluster takes this run: {lines[0]}") from None
    # Ray's own handler aborts the process. A scheduler's request to end is to be taken as Ctrl-C, which leaves nothing.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield f"http://{context.dashboard_url}" if context.dashboard_url else ""
    finally:
        ray.shutdown()


def _require_answer(address: str | None) -> None:
    """Refuse a host that is silent: Ray would ask it again and again.

    Raises:
        BadInput: it is no address of a cluster.
        OSError: nobody takes a connection there.
    """
    if address in (None, "auto") or address.startswith("ray://"):
        return
    parts = re.fullmatch(r"\[?(?P<host>[^\s/]+?)\]?:(?P<port>[0-9]{1,5})", address)
    if parts is None:
        raise BadInput(
            f"cluster.address {address}: must be auto or the head's HOST:PORT, mostly HOST:6379; http://HOST:8265 is its "
            "dashboard, which `codereason submit --address` takes"
        )
    try:
        socket.create_connection((parts["host"], int(parts["port"])), timeout=_ANSWER_S).close()
    except OverflowError as error:
        raise OSError(str(error)) from None


def session_folder() -> Path:
    """Where Ray keeps this session on its head node, and perhaps on this one."""
    context = ray.get_runtime_context()
    return Path(context.get_temp_dir()) / context.get_session_name()


def placement_plan(settings: RunSettings, stages: Collection[str]) -> Plan:
    """Where the workers of these stages go on the cluster this process is connected to; waits for one that grows.

    A plan that does not fit is returned after `cluster.wait_for_nodes_s` seconds.
    """
    wanted = roles(settings, stages)
    deadline = time.monotonic() + settings.cluster.wait_for_nodes_s
    found = plan(wanted, nodes_of(ray.nodes()))
    if found.fits or not settings.cluster.wait_for_nodes_s:
        return found
    request_resources(bundles=[dict(role.each) for role in wanted for _ in range(role.count)])
    try:
        while not found.fits and time.monotonic() < deadline:
            time.sleep(_LOOK_EVERY_S)
            found = plan(wanted, nodes_of(ray.nodes()))
    finally:
        # A request outlives its process; from here on the workers themselves ask.
        request_resources(bundles=[])
    return found


@contextmanager
def ray_session(settings: RunSettings, stages: Collection[str]) -> Iterator[str]:
    """Connect to Ray for the length of the block, as `connected`; what the run started on it is gone afterwards.

    Raises:
        BadInput: no cluster answers, it has no place for the workers of these stages, or a run of this name is at it.
    """
    with connected(settings.cluster) as dashboard:
        require(placement_plan(settings, stages))
        provision(session_folder())
        if dashboard:
            # Ray Train tells the dashboard of its runs only if asked to.
            os.environ.setdefault("RAY_TRAIN_ENABLE_STATE_TRACKING", "1")
        # Without workers there are no pools: building data needs no controller of theirs beside it.
        workers = {role.name for role in roles(settings, stages)} - {"driver"}
        with serving(application_names(settings.name), settings.cluster) if workers else nullcontext():
            yield dashboard


@contextmanager
def serving(applications: Sequence[str], cluster: ClusterSettings) -> Iterator[None]:
    """Ray Serve for the length of the block; of these applications none is left afterwards, even if this process is killed.

    Raises:
        BadInput: another driver on the cluster has applications of these names.
    """
    logging.getLogger("ray.serve").setLevel(logging.WARNING)
    serve.start(proxy_location="Disabled", logging_config={"log_level": "WARNING"})
    # A cluster of its own ends with the driver.
    place = keep_place(applications) if address_of(cluster) else None
    try:
        yield
    finally:
        _end(applications)
        del place


def _end(applications: Collection[str]) -> None:
    """Take applications down; where Serve does not answer, what has been done until then stays done."""
    try:
        take_down(applications)
    except (RayError, TimeoutError) as error:
        sys.stderr.write(f"codereason: {error}; they go with the cluster, or are taken down after this process\n")


def application_names(run: str) -> tuple[str, str, str]:
    """Serve applications of a run's rollout and reward pools, and of the rollout pool of the model that measures difficulty.

    They bear its name, since a cluster may hold several runs.
    """
    return f"{run}-rollout", f"{run}-reward", f"{run}-difficulty"


def training_name(run: str, stage: str) -> str:
    """What Ray calls a stage's training, and the folder of its checkpoints, so the same each time it goes on."""
    return f"{run}-{stage}"


def weights_folder(cluster: ClusterSettings, run: Path) -> Path:
    """Where the policy versions of the run in this folder go, from the learner to the rollout workers.

    It bears this process's number, so that what sweeps up after a killed one takes nothing from the next (`swept`).
    """
    shared, mine = cluster.weights_folder, os.getpid()
    if shared is None and address_of(cluster):
        return run / f"weights-{mine}"
    name, digest = run.as_posix().strip("/").replace("/", "-"), blake2b(bytes(run), digest_size=4).hexdigest()
    return (shared or Path("/dev/shm")) / f"codereason-{name[-120:]}-{digest}-{mine}"


def beside_the_driver() -> NodeAffinitySchedulingStrategy:
    """Places an actor on this host, where the run's folder is."""
    return NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)


class Pools:
    """The two Serve pools, started when first needed."""

    def __init__(self, settings: RunSettings, base_model: Path, weights_folder: Path, guard: Guard) -> None:
        self._settings = settings
        self._guard = guard
        self._base_model = base_model
        self._weights_folder = weights_folder
        self._handles: tuple[DeploymentHandle[Any], DeploymentHandle[Any]] | None = None

    @property
    def weights(self) -> Path:
        """Where the policy versions go that they are to have."""
        return self._weights_folder

    @property
    def applications(self) -> dict[str, str]:
        """The Serve application of each."""
        return dict(zip(("rollout", "reward"), application_names(self._settings.name), strict=False))

    def watched_by(self, guard: Guard) -> None:
        """Let another guard look after them, that of the run which uses them from now on."""
        self._guard = guard
        if self._handles is not None:
            guard.watch(self.applications)

    def start(self) -> tuple[DeploymentHandle[Any], DeploymentHandle[Any]]:
        """Handles of the rollout and the reward pool, healthy.

        Raises:
            PoolNotStarted: one did not become healthy, or not in `cluster.start_deadline_s` seconds.
        """
        if self._handles is None:
            names = self.applications
            self._handles = self._deploy(names["rollout"], names["reward"], self._base_model, self._weights_folder)
            self._guard.watch(names)
        return self._handles

    @contextmanager
    def of_model(self, model: Path) -> Iterator[tuple[DeploymentHandle[Any], DeploymentHandle[Any]]]:
        """A rollout pool of another model and a reward pool, for the length of the block; to be used before `start`.

        Raises:
            PoolNotStarted: as `start`.
        """
        _, reward_name, name = application_names(self._settings.name)
        try:
            # No weights are published here: its own are the ones it is asked with.
            yield self._deploy(name, reward_name, model, self._weights_folder / "difficulty")
        finally:
            _end((name, reward_name))

    def _deploy(
        self, rollout_name: str, reward_name: str, model: Path, weights: Path
    ) -> tuple[DeploymentHandle[Any], DeploymentHandle[Any]]:
        settings, environment = self._settings, worker_environment()
        folders = str(model), str(weights)
        with pool_errors():
            scores = reward.deployment.deploy(reward_name, settings.reward, environment)
            chosen = settings.rollout.model_copy(update={"transfer": transfer(settings.learner, settings.rollout)})
            asked = rollout.deployment.deploy(rollout_name, *folders, chosen, settings.seed, environment)
        for name, role in ((reward_name, reward_role(settings.reward)), (rollout_name, rollout_role(settings.rollout))):
            await_pool(name, role, settings.cluster.start_deadline_s)
        return asked, scores


class SharedSession:
    """One Ray session and one pair of pools for runs that differ in their training alone; for the length of the block.

    Starting engines takes longer than a short training. It is started when the first run has something to do.
    """

    def __init__(self, settings: RunSettings, stages: Collection[str], run: Path) -> None:
        """Nothing is started yet.

        Args:
            settings: of one of the runs; decides the cluster and the pools.
            stages: all that any of them does.
            run: the folder of that run, which holds the base model that the pools begin with.
        """
        self._settings, self._stages, self._run = settings, stages, run
        self._stack = ExitStack()
        self._dashboard: str | None = None
        self._pools: Pools | None = None

    def start(self) -> str:
        """The URL of the dashboard, as `ray_session`."""
        if self._dashboard is None:
            self._dashboard = self._stack.enter_context(ray_session(self._settings, self._stages))
        return self._dashboard

    def pools(self, guard: Guard) -> Pools:
        """The pools, looked after by the guard of the run that asks for them."""
        if self._pools is None:
            weights = weights_folder(self._settings.cluster, self._run)
            self._pools = Pools(self._settings, RunFolder(self._run).model("base"), weights, guard)
        self._pools.watched_by(guard)
        return self._pools

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._stack.__exit__(kind, error, trace)
