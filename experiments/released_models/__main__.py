"""Make the models that come with the package: `python -m experiments.released_models` (40 s of one core).

Each run is trained, scored and exported to `efm_jax/models`, in place of the model there; its report goes to results.
"""

import shutil
from pathlib import Path

import tyro

from efm_jax import _files, assessment, pipeline, sharing
from experiments.released_models.config import LICENCE, RUNS

RESULTS = Path(__file__).parent / "results"


def main(folder: Path = Path("runs"), models: Path = sharing.RELEASED, results: Path = RESULTS) -> None:
    """Make all of them, with run folders in `folder`."""
    results.mkdir(parents=True, exist_ok=True)
    for name, config in RUNS.items():
        run = folder / f"released_models_{name}"
        pipeline.train(run, config)
        report = assessment.evaluate(run)
        print(assessment.summary(report))
        _files.write_json(results / f"{name}.json", report)
        shutil.rmtree(models / name, ignore_errors=True)
        print(f"wrote {sharing.export(run, models / name, licence=LICENCE)}")


if __name__ == "__main__":
    tyro.cli(main)
