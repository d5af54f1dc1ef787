"""From runs by name to committed results: train, score, one json and small pictures each."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

from efm_jax import runs
from efm_jax.datasets import identity
from efm_jax.models import reports
from efm_jax.models.configs import Run
from experiments._lib import places


def perform(
    known: dict[str, Run],
    names: tuple[str, ...],
    experiment: str,
    folder: Path,
    seeds: tuple[int, ...] = (0,),
) -> None:
    """Train and score the runs `names`, resuming what was cut short, and publish each to the experiment's results.

    Seed 0 is published as `NAME.json` with its pictures, another one as `NAME_seed_SEED.json`.
    """
    for name in names:
        if name not in known:
            raise SystemExit(f"no run {name!r} in {experiment}; there are {', '.join(known)}")
    for name in names:
        for seed in seeds:
            place = name if seed == 0 else f"{name}_seed_{seed}"
            run = folder / f"{experiment}_{place}"
            runs.train(run, replace(known[name], seed=seed))
            print(reports.summary(reports.evaluate(run)))
            results = places.results(Path(__file__).parents[1] / experiment / "__main__.py")
            publish(run, results, place, pictures=seed == 0)


def publish(run: Path, results: Path, name: str, *, pictures: bool = True) -> None:
    """Copy report.json and, if wanted, the pictures of `run` to `results` as `name.json`, `name_*.png`.

    Configurations name the reader's own folders; paths are cut to their last part.
    """
    results.mkdir(parents=True, exist_ok=True)
    report = json.loads((run / "report.json").read_text())
    text = json.dumps(without_paths(report), indent=1, sort_keys=False)
    (results / f"{name}.json").write_text(text + "\n")
    for picture in sorted((run / "pictures").glob("*.png")) if pictures else ():
        shutil.copyfile(picture, results / f"{name}_{picture.name}")
    print(f"wrote {results / name}.json")


def without_paths(value):
    """Values of JSON with every path of a specification cut to its last part."""
    if isinstance(value, dict):
        return {_short(key): without_paths(item) for key, item in value.items()}
    if isinstance(value, list):
        return [without_paths(item) for item in value]
    return _short(value) if isinstance(value, str) else value


def _short(text: str) -> str:
    return " -> ".join(_short_spec(part) for part in text.split(" -> "))


def _short_spec(spec: str) -> str:
    kind, path, rest = identity.parts(spec)
    return f"{kind}{path.rpartition('/')[2]}{rest}" if "/" in path else spec
