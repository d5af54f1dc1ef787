"""Make the models that come with the package: `python -m experiments.released_models --data FOLDER`.

Each run is trained, scored and exported to `efm_jax/models`, in place of the model there; its report goes to results.
The toys take 40 s of one core, the cells 15 s, the digits an hour or more, their generator and the Earth ten
minutes each.
"""

import contextlib
import shutil
from pathlib import Path

import tyro

from efm_jax import runs
from efm_jax._core import files
from efm_jax.models import exporting, loading, reports
from experiments._lib import places
from experiments._lib.publish import without_paths
from experiments.released_models import config
from experiments.single_cells.cells import find

RESULTS = places.results(__file__)


def main(
    folder: Path = Path("runs"),
    data: Path | None = None,
    models: Path = loading.RELEASED,
    results: Path = RESULTS,
    cells: Path | None = None,
    earth: Path | None = None,
    only: tuple[str, ...] = (),
) -> None:
    """Make all models, or `only` some, with run folders in `folder`.

    Digits are made where `data` has `mnist`, of IDX files; cells of the file `cells`, or of that in an installed scanpy;
    the Earth where `earth` has the folders that `experiments.two_folders` writes.
    """
    results.mkdir(parents=True, exist_ok=True)
    made = {name: (run_of, config.LICENCE) for name, run_of in config.RUNS.items()}
    if data is not None:
        made["digits"] = config.digits(data), config.LICENCE_OF_DIGITS
        made["digit_generator"] = config.digit_generator(data), config.LICENCE_OF_DIGITS
    with contextlib.suppress(FileNotFoundError):
        made["cells"] = config.cells(cells or find()), config.LICENCE_OF_CELLS
    if earth is not None:
        made["earth"] = config.earth(earth), config.LICENCE_OF_EARTH
    for name, (run_of, license) in made.items():
        if only and name not in only:
            continue
        run = folder / f"released_models_{name}"
        runs.train(run, run_of)
        report = reports.evaluate(run)
        print(reports.summary(report))
        files.write_json(results / f"{name}.json", without_paths(report))
        shutil.rmtree(models / name, ignore_errors=True)
        how = {"license": license, "picture": True, "half": name in config.HALVED}
        print(f"wrote {exporting.export(run, models / name, **how)}")


if __name__ == "__main__":
    tyro.cli(main)
