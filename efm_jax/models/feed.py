"""How the batches of a run are made: by whom, with which labels, in which pairs."""

from collections.abc import Callable, Generator
from typing import Any, NamedTuple

import numpy as np
from jax.sharding import Mesh

from efm_jax.datasets import Source
from efm_jax.models import configs, plans
from efm_jax.training import feeding, on_devices

__all__ = ["Feed"]


class Feed(NamedTuple):
    """How the batches of a run are made; `runs.Plan` explains the numbers, which it has under the same names."""

    seed: int
    batch_pos: int
    batch_neg: int
    label_dropout: float | None = None
    label_groups: int = 1
    data_threads: int = 1
    pair_ahead: bool = False
    device_noise: bool = False
    device_data: int = 0

    @classmethod
    def of_run(cls, config: configs.Run) -> "Feed":
        """How the batches of a configured run are made; one that leaves it open who draws noise has the host's."""
        recipe = config.recipe
        return cls(
            seed=config.seed,
            batch_pos=recipe.charges,
            batch_neg=recipe.charges,
            label_dropout=None if config.network.classes is None else recipe.label_dropout,
            label_groups=recipe.label_groups,
            data_threads=config.parallel.data_threads,
            pair_ahead=plans.ahead(config) is not None,
            device_noise=config.data.noise == "device",
            device_data=on_devices.held_bytes(config.parallel.device_data),
        )

    @property
    def labeling(self) -> feeding.Labeling | None:
        """How steps are labeled; None for without labels."""
        return None if self.label_dropout is None else feeding.Labeling(self.label_dropout, self.label_groups)

    def batches(
        self,
        pair: tuple[Source, Source],
        steps: range,
        *,
        mesh: Mesh | None = None,
        rows: tuple[slice | None, ...] = (None, None),
        put: Callable[[np.ndarray, int], Any] = lambda rows, n: rows,
    ) -> Generator[tuple, None, None]:
        """Yield the batch of each of `steps`, in order, made ahead: see `feeding.batches`.

        Args:
            pair: The training sets of P and Q.
            steps: Numbers of the steps.
            mesh: Devices that share a batch; None for one.
            rows: Which rows of P and of Q this host reads; None for all.
            put: Puts rows of a batch of n on the devices.

        Examples:
            >>> from efm_jax.datasets import from_array
            >>> pair = from_array(np.zeros((5, 2))), from_array(np.ones((6, 2)))
            >>> [(x.shape, y.shape) for x, y in Feed(seed=0, batch_pos=3, batch_neg=4).batches(pair, range(1))]
            [((3, 2), (4, 2))]
        """
        sizes = self.batch_pos, self.batch_neg
        makers = on_devices.makers(pair, sizes, mesh, noise=self.device_noise, held=self.device_data)
        partners = plans.of_batch if self.pair_ahead else None
        return feeding.batches(
            *pair, self.seed, sizes, steps, rows, self.labeling, self.data_threads, put, makers, partners
        )
