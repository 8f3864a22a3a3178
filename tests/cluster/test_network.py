"""A run one node of which is at the other end of a bad wire, against one that was left alone: both end alike."""

import os
import re
import time
from pathlib import Path

import pytest
from chaos import finished, nothing_left, reached, same, start
from heads import node, ray_head
from wire import HERE, THERE, far_namespace

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        os.geteuid() != 0 or not Path("/dev/net/tun").exists(), reason="the wire wants root and /dev/net/tun"
    ),
]
DELAY_S = 0.1
"""Of each packet, in either direction."""
OUTAGE_S = 10
"""Less than Ray's patience with a node, and than `cluster.silent_s`."""


def begun(runs, head):
    """A run whose rollout replica is placed where there is room for one; it has made two steps."""
    place = (f"cluster.address={head.address}", "cluster.wait_for_nodes_s=60", "rollout.resources={rollout: 1}")
    process = start(runs, "disturbed", *place, env=head.environment)
    reached(process, runs / "disturbed", "rl", 2)
    return process


def test_traffic_that_is_delayed_and_dropped_for_a_while_costs_time_and_nothing_else(tmp_path, whole, recovered):
    run = tmp_path / "disturbed"
    with nothing_left(), far_namespace() as (wire, inside), ray_head(HERE) as head, node(head, THERE, *inside):
        process = begun(tmp_path, head)
        wire.delay_s = DELAY_S
        reached(process, run, "rl", 3)
        carried, wire.cut = wire.carried, True
        time.sleep(OUTAGE_S)
        assert process.poll() is None
        wire.cut = False
        finished(process)
        assert wire.dropped, "nothing was on its way"
        assert wire.carried > carried
    same(run, whole)
    assert recovered(run) == {}, "nobody was given up"


def test_a_node_that_is_cut_off_for_good_is_given_up_and_its_replica_starts_on_another(tmp_path, whole, recovered):
    run = tmp_path / "disturbed"
    impatient = {"RAY_health_check_period_ms": "1000", "RAY_health_check_timeout_ms": "3000"}
    with (
        nothing_left(),
        far_namespace() as (wire, inside),
        ray_head(HERE, **impatient) as head,
        node(head, THERE, *inside) as far,
    ):
        process = begun(tmp_path, head)
        wire.cut = True
        with node(head, HERE):
            out = finished(process)
            wire.cut = False
            # Its raylet hears that it was given up, and ends with all that it had.
            far.wait(timeout=120)
    same(run, whole)
    assert recovered(run).keys() == {"node", "rollout"}
    assert re.search(f"^node: {THERE} is gone; ", out, re.MULTILINE)
    assert re.search("^rollout: recovered after .+ works$", out, re.MULTILINE)
