"""Waiting for workers to start, never for ever: a cluster that is full looks like a slow one to Serve and to Ray Train."""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import ray
from ray import serve
from ray.serve.schema import ApplicationStatus

from cluster.jobs.placement import Resources, Role, nodes_of, show

_LOOK_EVERY_S = 0.2


class PoolNotStarted(RuntimeError):
    """Serve could not bring up a pool; the message holds its reason."""


@contextmanager
def pool_errors() -> Iterator[None]:
    """What Serve refuses in the block, or is too busy to take, as PoolNotStarted."""
    try:
        yield
    except (RuntimeError, TimeoutError) as error:
        raise PoolNotStarted(f"Ray Serve did not take a pool: {error}") from error


def await_pool(application: str, role: Role, deadline_s: float) -> None:
    """Wait until every replica of a Serve application is healthy.

    Args:
        application: its name.
        role: what its replicas take.
        deadline_s: longest wait, in seconds (`cluster.start_deadline_s`).

    Raises:
        PoolNotStarted: it failed, or is not there in time; says what is asked, what there is and what to change.
    """
    deadline = time.monotonic() + deadline_s
    while True:
        found = serve.status().applications.get(application)
        state = None if found is None else found.status
        if state == ApplicationStatus.RUNNING:
            return
        if found is not None and state == ApplicationStatus.DEPLOY_FAILED:
            raise PoolNotStarted(f"the pool {application} did not become healthy: {found.message}")
        if time.monotonic() > deadline:
            told = "" if found is None else " ".join(one.message for one in found.deployments.values())
            raise PoolNotStarted(not_started(role, deadline_s, told))
        time.sleep(_LOOK_EVERY_S)


def not_started(role: Role, deadline_s: float, told: str = "") -> str:
    """One line for workers that did not start in time, with what the cluster has at this moment."""
    return late(
        role, deadline_s, {node.name: node.resources for node in nodes_of(ray.nodes())}, ray.available_resources(), told
    )


def late(role: Role, deadline_s: float, there: Mapping[str, Resources], free: Resources, told: str = "") -> str:
    """What is asked, what there is, and what to change.

    Args:
        role: the workers that did not start.
        deadline_s: how long they were waited for, in seconds.
        there: what each node has.
        free: what nobody holds, over all nodes.
        told: what Ray says of it.
    """
    has = ", ".join(f"{name} has {show(resources)}" for name, resources in there.items()) or "no node"
    left = {name: free.get(name, 0.0) for name in role.each}
    short = any(left[name] < amount for name, amount in role.each.items())
    change = (
        f"others hold the rest (`ray status` shows who): end them, lower {role.setting}, or add nodes"
        if short
        else "there is room, so they start too slowly: raise cluster.start_deadline_s, or see their logs in the dashboard"
    )
    said = " ".join(told.split())
    return (
        f"{role.name}: not all started within {deadline_s:.0f} s (cluster.start_deadline_s); asked: {role.count} x "
        f"{show(role.each)}; there: {has}; free: {show(left)}; change: {change}{f'; Ray says: {said}' if said else ''}"
    )
