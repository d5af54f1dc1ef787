"""Commands on two sets of data, `efm suggest A B` and `efm train A B`: a look at the data makes their options."""

import contextlib
import difflib
import itertools
import sys
from collections.abc import Callable, Collection
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from tyro.conf import OmitArgPrefixes, arg

from efm_jax.cli import _training
from efm_jax.cli._options import optional
from efm_jax.models import configs, presets, table_options

if TYPE_CHECKING:
    from efm_jax.models import suggestions

DataSet = Annotated[str, arg(metavar="DATA")]


def looked_at(arguments: list[str]) -> "tuple[suggestions.Suggestion | None, set[str]]":
    """What a look at the two sets of data that the arguments name found, and the options on the line; None without two."""
    command, *rest = arguments or [""]
    two = [*itertools.takewhile(lambda text: not text.startswith("-"), rest)]
    if command not in ("train", "suggest") or (command == "train" and (not two or two[0] in presets.PRESETS)):
        return None, set()
    if len(two) != 2:
        if command == "suggest" and {"-h", "--help"} & {*rest}:
            return None, set()
        alone = command == "train" and len(two) == 1
        listed = "`efm train --help` lists the presets"
        if alone and (near := difflib.get_close_matches(two[0].lower(), presets.PRESETS, 1, 0.75)):
            raise ValueError(
                f"there is no preset {two[0]!r}; did you mean {near[0]}?\n{listed}; data of your own are two sets: "
                "`efm train A B`."
            )
        known = f", and {two[0]!r} is no preset" if alone else ""
        raise ValueError(
            f"`efm {command}` takes two sets of data, got {len(two)}{known}.\nName P and Q first, as in "
            f"`efm {command} A B`; to generate, P is `noise`.{f' {listed}.' if alone else ''}"
        )
    from efm_jax.models import suggestions

    reading = table_options.reading(rest)
    found = suggestions.suggest(*two, reading=reading, held_out=_held_out(rest), size=_size(rest))
    run = presets.named(rest, {"": ("", found.run)})[""][1]
    names = {text[2:].partition("=")[0].replace("-", "_") for text in rest if text.startswith("--")}
    return found._replace(run=run), names


def _held_out(arguments: list[str]) -> float:
    """The share that the options on the line hold out; a mistake in it is for the parser to tell."""
    with contextlib.suppress(ValueError):
        if 0 < (share := float("".join(_values(arguments, "--data.held-out")))) < 1:
            return share
    return configs.Data().held_out


def _size(arguments: list[str]) -> int | tuple[int, int] | None:
    """The size of pictures that the options on the line ask for; a mistake in it is for the parser to tell."""
    texts = _values(arguments, "--data.size")
    if not all(text.isdecimal() and 0 < len(text) < 10 and int(text) for text in texts):
        return None
    sides = [*map(int, texts)]
    return sides[0] if len(sides) == 1 else (sides[0], sides[1]) if len(sides) == 2 else None


def _values(arguments: list[str], option: str) -> list[str]:
    """What follows an option on the line, the last time that it is given."""
    found, mine = list[str](), False
    for text in arguments:
        if text.startswith("--"):
            name, given, value = text.partition("=")
            mine = name.replace("_", "-") == option
            found = ([value] if given else []) if mine else found
        elif mine:
            found = [*found, text]
    return found


def of_two(found: "suggestions.Suggestion | None", given: set[str]) -> dict[str, Callable]:
    """The commands that take two sets of data, for those that were looked at; `given` are the options on the line."""
    run_of_two = found.run if found else configs.Run()

    def said(config: configs.Run, minutes: float, fixed: Collection[str] = ()) -> configs.Run:
        from efm_jax.models import build, suggestions

        if found is None:
            raise ValueError("two sets of data are expected: efm train A B")
        build.check_noise(config)
        print("\n".join(suggestions.described(found, config, given=given)), flush=True)
        print("timing some steps ...", file=sys.stderr, flush=True)  # compiling takes its time
        config, timing = suggestions.paced(config, minutes, given={*given, *fixed})
        print("\n".join(suggestions.expected(found, config, timing, minutes)), flush=True)
        return config

    def train(
        a: DataSet,
        b: DataSet,
        /,
        *,
        config: Annotated[configs.Run, arg(name="")] = run_of_two,
        of_one: Annotated[table_options.OneTable, OmitArgPrefixes] = table_options.OneTable(),  # noqa: B008
        run: Annotated[Path | None, optional("RUN", "runs/A-to-B")] = None,
        minutes: Annotated[float, arg(metavar="MINUTES")] = 10.0,
        report: bool = True,
        progress: bool = True,
    ) -> None:
        """Train on two sets of data what `efm suggest A B` says of them.

        Args:
            a: P: a folder of pictures, an array, a table, a name of data, or `noise`. One table may hold both sides.
            b: Q, likewise.
            config: The run; its options stand in place of what is suggested.
            of_one: Which rows of one table are P and Q.
            run: Run folder to write; an interrupted run is resumed by `efm resume RUN`.
            minutes: Time for compiling, training and scoring; it sets the steps.
            report: Score held-out samples at the end, draw pictures and write report.html.
            progress: Show a progress bar.
        """
        from efm_jax import runs
        from efm_jax._core import logs

        logs.check_board(config.log)
        folder, fixed = (_training.new_run(config, a, b) if run is None else run), set()
        if (folder / "config.json").is_file():
            fixed = {"network.width", "optimizer.warmup"}
            config = runs.as_begun(folder, config, undecided=fixed - given)
        _training.train_in(folder, said(config, minutes, fixed), report=report, progress=progress)

    def suggest(
        a: DataSet,
        b: DataSet,
        /,
        *,
        config: Annotated[configs.Run, arg(name="")] = run_of_two,
        of_one: Annotated[table_options.OneTable, OmitArgPrefixes] = table_options.OneTable(),  # noqa: B008
        minutes: Annotated[float, arg(metavar="MINUTES")] = 10.0,
    ) -> None:
        """Say what `efm train A B` would train, why, and for how long.

        Args:
            a: P: a folder of pictures, an array, a table, a name of data, or `noise`. One table may hold both sides.
            b: Q, likewise.
            config: The run; its options stand in place of what is suggested.
            of_one: Which rows of one table are P and Q.
            minutes: Time for compiling, training and scoring; it sets the steps.
        """
        said(config, minutes)

    return {"suggest": suggest, "train": train} if found else {"suggest": suggest}
