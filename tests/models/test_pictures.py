"""What is drawn of a run: which files, of which samples."""

import jax
import numpy as np

from efm_jax import training
from efm_jax.datasets import from_array
from efm_jax.models import build, configs, pictures, scoring
from efm_jax.models.model import Trained

CONFIG = configs.from_dict(
    {
        "data": {"source": "gaussian:2", "target": "eight_gaussians"},
        "recipe": {"method": "cfm", "gap": 1.0},
        "network": {"kind": "mlp", "width": 8, "depth": 1, "output": "flow", "classes": 8},
        "sampling": {"solver": "euler", "steps": 2},
    }
)


def untrained(config: configs.Run, dim: int) -> Trained:
    network = build.network(config, (dim,))
    state = training.init_state(jax.random.key(0), network, build.optimizer(config.optimizer, 10))
    return Trained(config, build.lines_recipe(config.recipe), network, state, (dim,), 0.0)


def test_vectors_of_many_dimensions_have_a_film_and_no_plot(tmp_path):
    config = configs.from_dict(
        configs.to_dict(CONFIG) | {"network": {"kind": "mlp", "width": 8, "output": "flow"}}
    )
    x = np.random.default_rng(0).normal(size=(20, 5)).astype(np.float32)
    pair = from_array(x), from_array(x + 3.0)
    for reverse in (False, True):
        direction = scoring.Direction(reverse, ("npy:p", "npy:q"), pair, pair)
        pictures.draw(tmp_path, untrained(config, 5), x, x, direction, None)
        assert (tmp_path / pictures.names(reverse, (5,))[0]).stat().st_size > 1000
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "backward.webp",
        "backward_pca.png",
        "forward.webp",
        "forward_pca.png",
    ]


def test_the_samples_looked_at_are_of_all_classes_and_always_the_same():
    train, test = (build.sources(CONFIG.data, split=split) for split in ("train", "test"))
    first, again = (pictures.watched(CONFIG, train, test) for _ in range(2))
    assert [one.reverse for one in first] == [False, True]
    for one, other in zip(first, again, strict=True):
        np.testing.assert_array_equal(one.x, other.x)
        assert one.cond is not None
        assert np.bincount(one.cond).tolist() == 8 * [len(one.x) // 8]
        assert pictures.sheet(untrained(CONFIG, 2), one).shape == (320, 640, 3)
