"""Where results are kept."""

import os
from pathlib import Path


def results(program: str | Path) -> Path:
    """Where the experiment of this file keeps its results.

    That is the folder `results` beside it, where rows that are there are not made again. With `EFM_RESULTS=DIR` it is a
    folder in DIR: everything is made anew, for comparison.
    """
    experiment, own = Path(program).parent, os.environ.get("EFM_RESULTS")
    if not own:
        return experiment / "results"
    folder = Path(own).expanduser() / experiment.name
    folder.mkdir(parents=True, exist_ok=True)
    return folder
