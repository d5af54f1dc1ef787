"""While a run trains, products of NumPy take one thread; before and after, what they took."""

import numpy as np
from threadpoolctl import threadpool_info

from efm_jax import runs
from efm_jax.models.configs import CFM, Data, Network, Optimizer, Run
from efm_jax.training import feeding


def test_products_take_one_thread_while_a_run_trains(tmp_path, monkeypatch):
    def threads():
        return [one["num_threads"] for one in threadpool_info() if one["user_api"] == "blas"]

    seen, draw = [], feeding.batch

    def counted(*arguments, **options):
        seen.append(threads())
        return draw(*arguments, **options)

    monkeypatch.setattr(feeding, "batch", counted)
    np.ones((2, 2)) @ np.ones((2, 2))
    before = threads()
    run = Run(
        data=Data("moons", "rings"),
        recipe=CFM(charges=8, num_points=8),
        network=Network(kind="mlp", width=4, depth=1),
        optimizer=Optimizer(warmup=0),
        steps=2,
        save_every=2,
        log_every=1,
        picture_every=0,
    )
    runs.train(tmp_path / "run", run, progress=False)
    assert seen
    assert {count for counts in seen for count in counts} == {1}
    assert threads() == before
