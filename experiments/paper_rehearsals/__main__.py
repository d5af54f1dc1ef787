"""Rehearse the paper's presets: `python -m experiments.paper_rehearsals [names] --mnist FOLDER --cifar10 FOLDER ...`.

Each preset at full network size: 20 steps at once, and 10, a stop, and 10 more; checkpoints, a report, an exported model and
pictures from it. A result that is there is kept; a rehearsal cut short begins anew. Up to 7 GB of memory and 5 GB of disk.
"""

import shutil
from pathlib import Path

import tyro

from efm_jax._core import files
from experiments.paper_rehearsals.config import NAMES, Data
from experiments.paper_rehearsals.run import RESULTS, in_a_process, rehearse


def main(
    names: tyro.conf.Positional[tuple[str, ...]] = NAMES,
    data: tyro.conf.OmitArgPrefixes[Data] = Data(),  # noqa: B008
    folder: Path = Path("runs"),
    results: Path = RESULTS,
    keep: bool = False,
) -> None:
    """Rehearse presets.

    Args:
        names: Which; all of them when none is given.
        data: Where the data are.
        folder: Folder for run folders and models.
        results: Where the results go; a preset that has one is passed over.
        keep: Keep run folders and models.
    """
    for name in names:
        if name not in NAMES:
            raise SystemExit(f"no preset {name!r} is rehearsed; there are {', '.join(NAMES)}")
    for name in names:
        path, place = results / f"{name}.json", folder / f"rehearsal_{name}"
        if path.exists():
            print(f"{path} is there")
            continue
        print(f"rehearsing {name} in {place}", flush=True)
        result = rehearse(name, data, place, command=in_a_process(place / "compiled"))
        results.mkdir(parents=True, exist_ok=True)
        files.write_json(path, result)
        print(f"wrote {path}")
        if not keep:
            shutil.rmtree(place)


if __name__ == "__main__":
    tyro.cli(main)
