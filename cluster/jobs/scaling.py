"""The pools of a live run, made larger or smaller through Ray's dashboard while the run goes on.

Serve starts and drains the replicas; a rollout replica that comes late takes the newest weights before it answers, and a
call that dies with its replica is made again of another one, so that no sample is lost or counts twice.
"""

import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import requests
from ray.dashboard.modules.serve.sdk import ServeSubmissionClient

from cluster.config import BadInput
from cluster.jobs.asking import ANSWER_S, Result, ask

Pool = Literal["rollout", "reward"]
POOLS: tuple[Pool, ...] = ("rollout", "reward")

_LOOK_EVERY_S = 0.5


@dataclass(frozen=True, slots=True)
class PoolState:
    """A pool as Serve sees it."""

    wanted: int
    """Replicas it should have."""
    running: int
    """Replicas that take calls."""
    others: int
    """Replicas that are starting or draining."""
    told: str
    """What Serve has to say, if something keeps it from its number."""

    @property
    def settled(self) -> bool:
        """Whether it has what it should have, and nothing else."""
        return self.running == self.wanted and not self.others


class _Face(ServeSubmissionClient):
    """Serve's part of the dashboard's HTTP face."""

    def scale(self, application: str, deployment: str, replicas: int, timeout_s: float) -> requests.Response:
        return self._do_request(
            "POST",
            f"/api/v1/applications/{application}/deployments/{deployment}/scale",
            json_data={"target_num_replicas": replicas},
            timeout=timeout_s,
        )

    def applications(self, timeout_s: float) -> dict[str, Any]:
        answer = self._do_request("GET", "/api/serve/applications/", timeout=timeout_s)
        answer.raise_for_status()
        found: dict[str, Any] = answer.json()["applications"]
        return found


class LivePools:
    """The pools of one run, which may be running anywhere."""

    def __init__(self, run: str, url: str, answer_s: float = ANSWER_S) -> None:
        """Connect.

        Args:
            run: its name.
            url: of the dashboard of the cluster it runs on.
            answer_s: longest wait for one answer, in seconds.

        Raises:
            BadInput: nothing answers there, or it wants another token.
        """
        self._run, self._url, self._answer_s = run, url, answer_s
        self._face: _Face = self._ask(lambda: _Face(url))

    def states(self) -> dict[Pool, PoolState]:
        """Every pool that there is at present.

        Raises:
            BadInput: the dashboard does not answer.
        """
        applications = self._ask(lambda: self._face.applications(self._answer_s))
        return {
            pool: pool_state(applications[f"{self._run}-{pool}"]["deployments"][pool])
            for pool in POOLS
            if pool in applications.get(f"{self._run}-{pool}", {}).get("deployments", {})
        }

    def scale(self, pool: Pool, replicas: int) -> None:
        """Ask for another number of replicas; returns at once.

        Raises:
            BadInput: the run has no such pool at present.
        """
        answer = self._ask(lambda: self._face.scale(f"{self._run}-{pool}", pool, replicas, self._answer_s))
        if answer.status_code == 404:
            raise BadInput(f"{self._run}: its {pool} pool is not there; it starts with the first evaluation")
        if answer.status_code != 200:
            raise BadInput(f"{pool}={replicas}: {self._url} says: {' '.join(answer.text.split())[:300]}")

    def settle(self, wanted: Mapping[Pool, int], within_s: float, seen: Callable[[dict[Pool, PoolState]], None]) -> None:
        """Wait until the pools have these numbers of replicas.

        Args:
            wanted: replicas of each pool.
            within_s: longest wait, in seconds.
            seen: told of every change.

        Raises:
            BadInput: they have not in time; says what there is.
        """
        deadline, last = time.monotonic() + within_s, None
        while True:
            states = {pool: state for pool, state in self.states().items() if pool in wanted}
            if states != last:
                seen(states)
                last = states
            if all(pool in states and states[pool].settled and states[pool].running == wanted[pool] for pool in wanted):
                return
            if time.monotonic() > deadline:
                told = [f"{pool} has {state.running} of {state.wanted}" for pool, state in states.items()]
                why = " ".join(" ".join(state.told for state in states.values()).split())
                raise BadInput(
                    f"{self._run}: after {within_s:.0f} s {', '.join(told) or 'its pools are gone'}; the wish stands"
                    + (f"; Serve says: {why}" if why else "; `codereason status` and the dashboard (Serve) tell more")
                )
            time.sleep(_LOOK_EVERY_S)

    def _ask(self, call: Callable[[], Result]) -> Result:
        return ask(self._url, call, self._answer_s, "is the run still going on?")


def pool_state(deployment: Mapping[str, Any]) -> PoolState:
    """A pool's state out of what the dashboard tells of its deployment."""
    states = [replica["state"] for replica in deployment["replicas"]]
    running = states.count("RUNNING")
    return PoolState(deployment["target_num_replicas"], running, len(states) - running, deployment.get("message", ""))


def wishes(given: list[str]) -> dict[Pool, int]:
    """What `rollout=4 reward=32` asks for.

    Raises:
        BadInput: names what is wrong.
    """
    wanted: dict[Pool, int] = {}
    for one in given:
        name, _, count = one.partition("=")
        pool = next((pool for pool in POOLS if pool == name), None)
        if pool is None or not re.fullmatch("[1-9][0-9]{0,3}", count):
            raise BadInput(f"{one}: must be rollout=N or reward=N, N a number of replicas from 1 to 9999")
        if pool in wanted:
            raise BadInput(f"{one}: {pool} is given twice")
        wanted[pool] = int(count)
    return wanted
