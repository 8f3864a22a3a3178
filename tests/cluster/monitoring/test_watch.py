"""What goes on beside a stage."""

import asyncio

from cluster.monitoring.watch import beside


def test_what_fails_is_told_and_the_rest_goes_on(caplog):
    done = []

    async def fails():
        raise ZeroDivisionError("why")

    async def goes_on():
        await asyncio.sleep(0.01)
        done.append(True)

    async def stopped():
        await asyncio.sleep(60)

    async def run():
        tasks = beside(fails(), goes_on(), stopped())
        await asyncio.sleep(0.05)
        tasks[2].cancel()
        await asyncio.sleep(0)

    asyncio.run(run())
    assert done == [True]
    (told,) = caplog.records
    assert "fails" in told.message
    assert "why" in caplog.text
