"""Train, draw and read: `python -m experiments.cifar_generation NAME ... --cifar10 FOLDER`."""

from pathlib import Path

import numpy as np
import tyro

from efm_jax import metrics, models, runs
from efm_jax.datasets import as_pictures, read_cifar10
from efm_jax.evaluation import drawing, entries
from efm_jax.evaluation.features import efficientnet_lite0, extract
from efm_jax.models import build, scoring
from experiments._lib import linear_reader, places
from experiments._lib.record import Record
from experiments.cifar_generation import config as configs
from experiments.cifar_generation.config import CLASSES, Config

RESULTS = places.results(__file__)


class Judge:
    """Real pictures as features, and the reader that was fitted on some of them."""

    def __init__(self, config: Config, cifar10: str, cache: Path):
        self.cache = cache
        rng = np.random.default_rng(config.seed)
        parts = {"train": config.fitted, "test": config.tested}
        seen, labels = {}, {}
        for split, count in parts.items():
            pictures, classes = read_cifar10(cifar10, split)
            chosen = rng.permutation(len(pictures))[:count]
            seen[split], labels[split] = self.features(pictures[chosen]), classes[chosen]
            if split == "test":
                self.pictures, self.labels = pictures[chosen], classes[chosen]
        self.real, known = seen["test"], seen["train"]
        self.decay = linear_reader.chosen_decay(known, labels["train"], CLASSES, config.decays)
        self.reader = linear_reader.train(known, labels["train"], CLASSES, decay=self.decay)
        self.known = known[: config.tested]

    def features(self, pictures: np.ndarray) -> np.ndarray:
        """EfficientNet-Lite0's features of pictures."""
        return extract(efficientnet_lite0(), pictures, cache=self.cache)

    def scores(self, pictures: np.ndarray, labels: np.ndarray) -> dict:
        """How many pictures are read as their class, and how far their features are from real ones."""
        seen = self.features(pictures)
        right = self.reader.read(seen) == labels
        return {
            "n": len(labels),
            "read_right": entries.share(right, "pictures that the reader takes for their class"),
            "by_class": [round(float(right[labels == label].mean()), 3) for label in range(CLASSES)],
            "kid": distance(seen, self.real) | {"floor": distance(self.known, self.real)["value"]},
        }


def distance(a: np.ndarray, b: np.ndarray) -> dict[str, float]:
    """KID of two sets of features, in 100 subsets of a quarter of the smaller set."""
    found = metrics.kid(a, b, subset_size=min(len(a), len(b)) // 4)
    return {"value": float(found[0]), "standard_error": float(found[1])}


def main(
    names: tyro.conf.Positional[tuple[str, ...]], cifar10: str = "cifar10", folder: Path = Path("runs")
) -> None:
    """Train networks with classes, then draw pictures of every class at several scales of guidance, and read them.

    Args:
        names: Which trainings, see config.py.
        cifar10: Folder of CIFAR-10's binary version.
        folder: Where run folders and features are kept; a run that was cut short goes on.
    """
    config, known = Config(), configs.runs(cifar10)
    for name in names:
        if name not in known:
            raise SystemExit(f"no training {name!r}; there are {', '.join(known)}")
        runs.train(folder / f"cifar_generation_{name}", known[name])
    judge = Judge(config, cifar10, folder / "features")
    record = Record(RESULTS / "cifar_generation.json", config, "real", "rows")
    record.fill(
        "real",
        [{"pictures": "real"}],
        lambda at: {"decay": judge.decay} | judge.scores(judge.pictures, judge.labels),
    )
    for name in names:
        trained = models.load(folder / f"cifar_generation_{name}")
        if trained.space is not None:
            record.fill(
                "real",
                [{"pictures": f"{name}: encoded and decoded"}],
                lambda at, space=trained.space: judge.scores(decoded(space, judge.pictures), judge.labels),
            )
        record.fill(
            "rows",
            ({"training": name, "guidance": g} for g in config.guidance),
            lambda at, trained=trained: row(trained, config, judge, at["guidance"]),
        )
        y, _ = drawn(trained, config.shown, trained.config.sampling.guidance)
        rows = y.reshape(config.shown, CLASSES, -1).swapaxes(0, 1).reshape(len(y), -1)
        drawing.save_png(RESULTS / f"{name}.png", drawing.grid(rows, trained.outside, config.shown, zoom=2))


def row(trained: models.Trained, config: Config, judge: Judge, guidance: float) -> dict:
    """Scores of the pictures drawn at one scale."""
    y, labels = drawn(trained, config.each, guidance)
    cost = {"steps": int(trained.state.step), "minutes": round(trained.seconds / 60, 1)}
    return cost | judge.scores(as_pictures(y, trained.outside), labels)


def drawn(trained: models.Trained, each: int, guidance: float) -> tuple[np.ndarray, np.ndarray]:
    """So many pictures of each class, in turn, from the same noise at every scale; with their labels."""
    pair = build.sources(trained.config.data, split="test")
    labels = np.tile(np.arange(CLASSES, dtype=np.int32), each)
    x = scoring.held_out(pair[0], len(labels), side=0)
    lines = models.transport(trained, x, cond=labels, guidance=guidance)
    return np.asarray(lines.end)[:, :-1], labels


def decoded(space, pictures: np.ndarray) -> np.ndarray:
    """Pictures as their components keep them."""
    x = pictures.reshape(len(pictures), -1).astype(np.float32) / 127.5 - 1.0
    return as_pictures(space.decode(space.encode(x)), pictures.shape[1:])


if __name__ == "__main__":
    tyro.cli(main)
