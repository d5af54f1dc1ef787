"""Train, score and publish: `python -m experiments.images --data FOLDER [--tasks ...] [--methods ...] [--seeds 0 1 2]`."""

import functools
from pathlib import Path

import tyro

from experiments._workers import workers
from experiments.images import drawing
from experiments.images.config import LEVERS, METHODS, tasks
from experiments.images.run import Place, perform


def main(
    data: Path,
    tasks_: tuple[str, ...] = (),
    methods: tuple[str, ...] = (),
    seeds: tuple[int, ...] = (0,),
    levers: bool = False,
    draw: bool = True,
    jobs: int = 1,
    folder: Path = Path("runs"),
) -> None:
    """Every method on every task at one budget; cells whose report is there are left as they are.

    Args:
        data: Folder of `mnist`, `cifar10` (with `cifar-10-batches-bin`) and `emoji` (with `noto` and `twemoji`).
        tasks_: Which tasks; all when none is named.
        methods: Which methods or levers; all methods when none is named.
        seeds: Seeds of data, parameters and draws.
        levers: Pull all levers instead, on the first task.
        draw: Draw the pictures of seed 0 at the end, from the run folders that are there.
        jobs: Cells side by side, one thread each.
        folder: Where run folders are kept; a run that was cut short goes on.
    """
    known = tasks(data)
    chosen = tasks_ or (tuple(known)[:1] if levers else tuple(known))
    named = methods or tuple(LEVERS if levers else METHODS)
    for what, names, there in (("task", chosen, known), ("method", named, METHODS | LEVERS)):
        for name in names:
            if name not in there:
                raise SystemExit(f"no {what} {name!r}; there are {', '.join(map(repr, there))}")
    places = [
        Place(task, method, seed)
        for seed in seeds
        for task in chosen
        for method in named
        if known[task].generates or not (METHODS | LEVERS)[method].generates_only
    ]
    with workers(jobs) as each:
        for told in each(functools.partial(perform, data=data, root=folder), places):
            print(told, flush=True)
    if draw:
        for task in chosen:
            drawing.draw(task, known[task], folder)


if __name__ == "__main__":
    tyro.cli(main)
