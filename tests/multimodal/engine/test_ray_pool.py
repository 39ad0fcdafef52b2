import warnings

import pytest

from multimodal.engine.ray_pool import RayPool
from multimodal.engine.running import run_steps
from tests.multimodal.engine.toy_steps import Here, calls, product, toy_setup

ray = pytest.importorskip("ray")


@pytest.fixture(scope="module")
def cluster():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ray.init(num_cpus=2, log_to_driver=False, include_dashboard=False)
        yield
        ray.shutdown()


def test_ray_gives_what_local_workers_give(tmp_path, cluster):
    (tmp_path / "here").mkdir()
    (tmp_path / "ray").mkdir()
    local = toy_setup(tmp_path / "here")
    run_steps(local, Here(local))
    setup = toy_setup(
        tmp_path / "ray", die=(("read s1", 1),), fail=(("share s2", 1), ("read s3", -1))
    )
    state = run_steps(setup, RayPool(setup, workers=2))
    assert state.failed == {"s3": ("read", "LookupError: nothing there")}
    made = calls(setup)
    assert made.count("read s1") == 2
    assert made.count("share s2") == 2
    # the next run takes up the shard that failed
    setup = toy_setup(tmp_path / "ray")
    assert run_steps(setup, RayPool(setup, workers=2)).failed == {}
    assert product(setup) == product(local)
