"""One small Ray cluster for all tests of the data stage."""

import pytest
import ray

from cluster.session import worker_environment


@pytest.fixture(scope="session")
def cluster():
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, runtime_env={"env_vars": worker_environment()})
    yield
    ray.shutdown()
