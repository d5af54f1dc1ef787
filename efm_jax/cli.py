"""The command `efm`: train, suggest, resume, reflow, export, translate, generate, evaluate, compare, demo, doctor.

Each command reads its options, calls the package, and prints where the result is. Every error ends with one message on
standard error: status 2 for a mistake in what the user gave, 1 for the rest.
"""

import difflib
import io
import itertools
import os
import re
import shlex
import sys
import traceback
import warnings
from collections.abc import Callable, Collection, Iterator
from contextlib import ExitStack, contextmanager, redirect_stderr, suppress
from dataclasses import dataclass, replace
from functools import partial, wraps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro
from tyro.conf import FlagCreatePairsOff, OmitArgPrefixes, arg

from efm_jax._core import failures
from efm_jax.models import configs, presets, table_options

if TYPE_CHECKING:
    from efm_jax.models import apply, suggestions

__all__ = ["main"]

RunFolder = Annotated[Path, arg(metavar="RUN")]
Place = Annotated[str, arg(metavar="RUN_OR_MODEL")]
DataSet = Annotated[str, arg(metavar="DATA")]
Number = arg(metavar="N")


def _optional(kind: str, default: str) -> object:
    """An option that may be left out: what it takes, and what happens then."""
    return arg(metavar=kind, help_behavior_hint=f"(default: {default})")


def main(arguments: list[str] | None = None) -> None:
    """Run the command line."""
    arguments = [*(sys.argv[1:] if arguments is None else arguments)]
    debug = "--debug" in arguments or bool(os.environ.get("EFM_DEBUG"))
    arguments = [one for one in arguments if one != "--debug"]
    warnings.formatwarning = lambda message, *_, **__: f"efm: {message}\n"
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # paths need not be UTF-8
    try:
        try:
            _parsed(arguments)()
        finally:
            sys.stdout.flush()
    except BrokenPipeError:  # `| head` has read enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        raise SystemExit(1) from None
    except KeyboardInterrupt:  # training catches its own, and saves
        print("efm: interrupted", file=sys.stderr)
        raise SystemExit(130) from None
    except Exception as error:
        if debug:
            traceback.print_exc()
        message, status = failures.explained(error, arguments)
        print(f"efm: {message}", file=sys.stderr)
        raise SystemExit(status) from None


def _parsed(arguments: list[str]) -> Callable[[], object]:
    """Read the arguments; return the call that they ask for, or raise ValueError that names the mistake."""
    if arguments == ["--version"]:
        from efm_jax import __version__

        return partial(print, f"efm_jax {__version__}")
    commands = {
        one.__name__: one
        for one in (train, resume, reflow, export, translate, generate, evaluate, compare, demo, doctor)
    }
    commands = {"train": train, "suggest": None, **commands}
    if not arguments or (arguments[0] not in commands and not arguments[0].startswith("-")):
        near = difflib.get_close_matches(arguments[0] if arguments else "", commands, 1)
        what = f"there is no command {arguments[0]!r}" if arguments else "no command is given"
        raise ValueError(
            f"{what}{f'; did you mean {near[0]}?' if near else '.'}\nThe commands are {', '.join(commands)}."
        )
    for option, value in itertools.pairwise([*arguments, "end"]):
        if value == "" or (option.startswith("--") and option.endswith("=")):
            raise ValueError(f"{option.rstrip('=')} is empty.\nGive it a value, or leave it out.")
    arguments = table_options.expanded(arguments)
    commands |= _of_two(*_looked_at(arguments))
    _set_presets(arguments)
    _set_run(arguments)
    _set_classes(arguments)
    told = io.StringIO()
    with ExitStack() as stack:
        if not {"-h", "--help"} & {*arguments}:
            stack.enter_context(redirect_stderr(told))
            stack.enter_context(_wide_terminal())  # a mistake in one line, not in a box
        try:
            call = tyro.extras.subcommand_cli_from_dict(
                {name: _later(one) for name, one in commands.items()},
                prog="efm",
                description="Electrostatic field matching: a field between two sets of samples.\n\n"
                "`efm COMMAND --help` shows the options of a command, `efm --version` the version. With --debug, or "
                "EFM_DEBUG=1 in the environment, an error shows where it happened.",
                args=_from_old_options(arguments),
                config=(tyro.conf.CascadeSubcommandArgs, tyro.conf.AvoidSubcommands),
            )
        except SystemExit as stop:
            if not told.getvalue():
                raise
            raise ValueError(_mistake(told.getvalue(), arguments)) from stop
    sys.stderr.write(told.getvalue())
    return call


@contextmanager
def _wide_terminal() -> Iterator[None]:
    width = os.environ.get("COLUMNS")
    os.environ["COLUMNS"] = "1000"
    try:
        yield
    finally:
        os.environ.pop("COLUMNS") if width is None else os.environ.update(COLUMNS=width)


def _later(command: Callable) -> Callable:
    """A command for the parser, which returns the call instead of making it."""

    @wraps(command)
    def later(*args, **options):
        return partial(command, *args, **options)

    return later


def _mistake(box: str, arguments: list[str]) -> str:
    """The mistake that the parser shows in a box, in one line."""
    command, *rest = arguments
    lines = [line[1:].rstrip(" │╯") for line in box.splitlines()[1:]]  # without the title
    ruled = itertools.groupby(lines, lambda line: not line.strip(" ─-"))
    parts = [[*part] for rule, part in ruled if not rule] or [[box]]
    told = " ".join(" ".join(line for line in parts[0] if not line.startswith(" " * 9)).split())
    if told.startswith("Unrecognized"):
        unknown = re.sub(r" \(applied to [^)]*\)", ",", told.partition(": ")[2]).rstrip(",")
        names = [text.partition("=")[0] for text in unknown.split(", ") if text.startswith("--")]
        offers = {part[0].strip(" :").rpartition(" ")[2]: part for part in parts[1:]}
        near = [_meant(name, offers.get(name, offers.get("meant", [])), command) for name in names]
        meant = ", ".join(filter(None, near))
        told = f"Unrecognized options: {unknown}{f'; perhaps you meant {meant}' if meant else ''}"
    if command in ("train", "suggest", "resume"):  # options depend on what is trained
        command = shlex.join([command, *itertools.takewhile(lambda text: not text.startswith("-"), rest)])
    return f"{told}\n`efm {command} --help` shows the options."


def _meant(unknown: str, offered: list[str], command: str) -> str | None:
    """The option of this command, of those that the parser offers, that is most like what was given; None without."""
    options, option = {}, ""
    for line in offered:
        if line.startswith("     --"):
            option = line.strip().partition(", --")[0]
        elif re.match(rf" {{9}}in efm {command}\b", line):
            # a single choice is that of a preset
            options.setdefault(option.split()[0], re.sub(r" \{\w+\}$", "", option))
    near = difflib.get_close_matches(unknown, options, 1, 0.0)
    return options[near[0]] if near else None


def train(config: configs.Run, run: Path, *, report: bool = True, progress: bool = True) -> None:
    """Train a preset, or resume it if the run folder holds it already; `efm train A B` trains on two sets of data.

    Args:
        config: The preset; every field of it is an option.
        run: Run folder to write.
        report: Score held-out samples at the end, draw pictures and write report.html.
        progress: Show a progress bar.
    """
    _train(run, config, report=report, progress=progress)


def _of_two(found: "suggestions.Suggestion | None", given: set[str]) -> dict[str, Callable]:
    """The commands that take two sets of data, for those that were looked at; `given` are the options on the line."""
    run_of_two = found.run if found else configs.Run()

    def said(config: configs.Run, minutes: float, fixed: Collection[str] = ()) -> configs.Run:
        from efm_jax.models import suggestions

        if found is None:
            raise ValueError("two sets of data are expected: efm train A B")
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
        run: Annotated[Path | None, _optional("RUN", "runs/A-to-B")] = None,
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
        from efm_jax.models import suggestions

        logs.check_board(config.log)
        folder, fixed = (suggestions.new_folder(a, b) if run is None else run), set()
        if (folder / "config.json").is_file():
            fixed = {"network.width", "optimizer.warmup"}
            config = runs.as_begun(folder, config, undecided=fixed - given)
        _train(folder, said(config, minutes, fixed), report=report, progress=progress)

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


def _looked_at(arguments: list[str]) -> "tuple[suggestions.Suggestion | None, set[str]]":
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

    found = suggestions.suggest(*two, reading=table_options.reading(rest))
    run = presets.named(rest, {"": ("", found.run)})[""][1]
    names = {text[2:].partition("=")[0].replace("-", "_") for text in rest if text.startswith("--")}
    return found._replace(run=run), names


def resume(
    run: RunFolder,
    /,
    *,
    config: configs.Run,
    first: Annotated[Path | None, _optional("RUN", "where it was")] = None,
    allow_changes: bool = False,
    report: bool = True,
    progress: bool = True,
) -> None:
    """Resume a run from its folder.

    Args:
        run: Run folder; several hosts must all see it.
        config: The run; length, saving, sampling, devices and the place of the same data may change.
        first: Of a reflow: run folder of the first training, which has moved.
        allow_changes: Allow another optimizer too; the log records the change.
        report: Score held-out samples at the end, draw pictures and write report.html.
        progress: Show a progress bar.
    """
    if first is not None:
        config = replace(config, reflow=replace(config.reflow, run=str(first.resolve())))
    _train(run, config, report=report, progress=progress, allow_changes=allow_changes)


def reflow(
    first: RunFolder,
    /,
    *,
    run: Path,
    steps: Annotated[int | None, _optional("N", "a quarter of the first run's")] = None,
    pairs: Annotated[int, Number] = 10_000,
    reverse: bool = False,
    trained: bool = True,
    report: bool = True,
    progress: bool = True,
) -> None:
    """Train a second field on the lines of a first one, so that its lines need few steps.

    Args:
        first: Run folder of the first training.
        run: Run folder of the second training; `efm resume` resumes it.
        steps: Training steps.
        pairs: Lines to follow, from samples of the training set; lines that do not arrive are left out.
        reverse: Follow lines from Q to P.
        trained: Start from the parameters of the first run, not from new ones.
        report: Score held-out samples at the end, draw pictures and write report.html.
        progress: Show a progress bar.
    """
    from efm_jax.runs import reflow_run

    config = reflow_run.of_run(first, steps=steps, pairs=pairs, reverse=reverse, trained=trained)
    _train(run, config, report=report, progress=progress)


def export(
    model: Place,
    /,
    output: Annotated[Path, arg(aliases=("--out",))],
    *,
    weights: Literal["average", "last"] = "average",
    license: Annotated[str | None, _optional("TEXT", "to be written")] = None,
    picture: Annotated[bool, FlagCreatePairsOff] = False,
    half: Annotated[bool, FlagCreatePairsOff] = False,
    overwrite: Annotated[bool, FlagCreatePairsOff] = False,
) -> None:
    """Export a run as a shareable model folder.

    Args:
        model: Run folder. A model folder or a released model's name is copied.
        output: Model folder to write.
        weights: Which parameters to export: their moving average, or the last ones.
        license: License to state on the model card.
        picture: Show held-out samples of the report on the card; they then go with the model.
        half: Round the weights to float16: half the size.
        overwrite: Replace a model folder that is there.
    """
    from efm_jax import models

    options: dict[str, Any] = {"weights": weights, "license": license, "picture": picture, "half": half}
    written = models.export(model, output, **options, overwrite=overwrite)
    todo = "" if license else "; state the license in its README.md"
    print(f"Saved the model to {written}{todo}")


@dataclass(frozen=True)
class Samples:
    """Options of `translate`: the samples."""

    input: Annotated[str, arg(metavar="SAMPLES")]
    """A folder of pictures, one picture, a table, or a specification: `npy:FILE`, `npz:FILE:KEY`, `csv:FILE`, ..."""
    limit: Annotated[int | None, _optional("N", "all")] = None
    """Translate at most this many samples."""
    fit: Literal["crop", "pad"] = "crop"
    """Crop pictures at the center as in training, or pad them and cut the margin off again."""
    own_size: bool = False
    """Write pictures at the size of the input, not of the model."""


@dataclass(frozen=True)
class Draw:
    """Options of `generate`: the samples."""

    count: Annotated[int, Number]
    """Number of samples."""
    seed: Annotated[int, Number] = 0
    """Seed of the samples of P."""


@dataclass(frozen=True)
class OutputFolder:
    """Options: where to save the results."""

    output: Annotated[Path, arg(metavar="FOLDER")]
    """Folder to write; of a table also a file, .csv, .parquet or .h5ad."""
    clip: bool = False
    """Cut the numbers of a table to the range of their column in the training data."""
    overwrite: bool = False
    """Overwrite files that efm did not write."""


@dataclass(frozen=True)
class Lines:
    """Options: the lines to follow."""

    label: Annotated[str | None, _optional("CLASS", "all classes")] = None
    """Class to follow, by its name or number; with RUN_OR_MODEL this help names the classes."""
    guidance: Annotated[float | None, _optional("SCALE", "that of the run")] = None
    """Guidance toward the class: 1 follows the class as learned, more exaggerates it."""


@dataclass(frozen=True)
class TranslateLines(Lines):
    """Options of `translate`: the lines to follow."""

    reverse: bool = False
    """Translate Q to P."""


def translate(
    model: Place,
    /,
    samples: Annotated[Samples, OmitArgPrefixes, FlagCreatePairsOff],
    output: Annotated[OutputFolder, OmitArgPrefixes, FlagCreatePairsOff],
    lines: Annotated[TranslateLines, OmitArgPrefixes, FlagCreatePairsOff],
) -> None:
    """Translate samples of P into samples of Q.

    Args:
        model: Run folder, model folder, or a released model's name.
        samples: Which samples. Pictures that cannot be read are named and left out; the status is then 1.
        output: Where to save the results: pictures as png, other samples as translated.npy, and lines.json.
        lines: Which lines to follow.
    """
    from efm_jax.models import apply

    saved = apply.translate(
        model,
        samples.input,
        output.output,
        reverse=lines.reverse,
        limit=samples.limit,
        label=lines.label,
        guidance=lines.guidance,
        fit=samples.fit,
        own_size=samples.own_size,
        clip=output.clip,
        overwrite=output.overwrite,
    )
    for why, names in (("cannot be read", saved.unreadable), ("format not supported", saved.unsupported)):
        if names:
            print(f"efm: left out, {why}: {', '.join(names)}", file=sys.stderr)
    _print_saved(saved, left_out=bool(saved.unreadable or saved.unsupported))


def generate(
    model: Place,
    /,
    samples: Annotated[Draw, OmitArgPrefixes],
    output: Annotated[OutputFolder, OmitArgPrefixes, FlagCreatePairsOff],
    lines: Annotated[Lines, OmitArgPrefixes],
) -> None:
    """Generate samples of Q from new samples of P, such as noise.

    Args:
        model: Run folder, model folder, or a released model's name.
        samples: Which samples.
        output: Where to save the results: pictures as png, other samples as generated.npy, and lines.json.
        lines: Which lines to follow.
    """
    from efm_jax.models import apply

    saved = apply.generate(
        model,
        samples.count,
        output.output,
        seed=samples.seed,
        label=lines.label,
        guidance=lines.guidance,
        clip=output.clip,
        overwrite=output.overwrite,
    )
    _print_saved(saved)


@dataclass(frozen=True)
class HeldOut:
    """Options of `evaluate`: the samples to score."""

    step: Annotated[int | None, _optional("N", "the newest")] = None
    """Step of the checkpoint of a run."""
    samples: Annotated[int | None, _optional("N", "as configured")] = None
    """Number of samples to transport."""
    source: Annotated[str | None, _optional("SPEC", "as configured")] = None
    """Where P is, as a specification."""
    target: Annotated[str | None, _optional("SPEC", "as configured")] = None
    """Where Q is, as a specification."""
    round_trip: Annotated[int, Number] = 100
    """Number of samples carried there and back, if the method allows it; 0 for none."""


@dataclass(frozen=True)
class Features:
    """Options: the network that compares pictures."""

    features: Annotated[str | None, _optional("NAME", "efficientnet")] = None
    """`efficientnet` (needs the extra `metrics`), `digits`, `inception:FILE` (for FID), or `none`."""
    cache: Annotated[Path | None, _optional("FOLDER", "the run folder or ~/.cache/efm_jax")] = None
    """Folder that keeps the features of pictures between calls."""


def evaluate(
    model: Place,
    /,
    data: Annotated[HeldOut, OmitArgPrefixes],
    features: Annotated[Features, OmitArgPrefixes],
    *,
    output: Annotated[Path | None, _optional("FOLDER", "the run folder, or none")] = None,
    overwrite: Annotated[bool, FlagCreatePairsOff] = False,
) -> None:
    """Score a run or a model on held-out samples.

    Args:
        model: Run folder, model folder, or a released model's name.
        data: Which samples to score.
        features: Which network compares pictures.
        output: Folder to write report.html, report.json and pictures to, for a model or other data.
        overwrite: Overwrite files in it that efm did not write.
    """
    from efm_jax.models import reports

    where = {"source": data.source, "target": data.target, "output": output}
    report = reports.evaluate(
        model,
        step=data.step,
        samples=data.samples,
        round_trip=data.round_trip,
        features=features.features,
        cache=features.cache,
        overwrite=overwrite,
        **where,
    )
    _print_report(reports.destination(model, data.step, **where), report)


@dataclass(frozen=True)
class Folders:
    """Options of `compare`: the pictures."""

    held_out: Annotated[Path | None, _optional("FOLDER", "a random half of B")] = None
    """Folder of real pictures not used in training."""
    size: Annotated[int | None, _optional("N", "the smallest found")] = None
    """Crop and resize all pictures to this side."""
    most: Annotated[int, Number] = 10_000
    """Use at most this many pictures of each folder."""
    seed: Annotated[int, Number] = 0
    """Seed of the choice and of the split."""
    paired: bool = False
    """Also score each picture of A against the picture of the same name in B."""
    skip_unreadable: bool = False
    """Leave out pictures that cannot be read, and name them in the report."""


def compare(
    a: Annotated[Path, arg(metavar="A")],
    b: Annotated[Path, arg(metavar="B")],
    /,
    pictures: Annotated[Folders, OmitArgPrefixes, FlagCreatePairsOff],
    features: Annotated[Features, OmitArgPrefixes],
    *,
    output: Annotated[Path | None, _optional("FILE", "none")] = None,
    overwrite: Annotated[bool, FlagCreatePairsOff] = False,
) -> None:
    """Compare the pictures of folder A with the real pictures of folder B.

    Args:
        a: Folder of pictures to judge.
        b: Folder of real pictures.
        pictures: Which pictures to compare.
        features: Which network compares them.
        output: File to write the report to, e.g. report.json; its table goes to report.md.
        overwrite: Overwrite these files even if efm did not write them.
    """
    from efm_jax.evaluation import paired
    from efm_jax.evaluation.features import cache_folder, open_extractor
    from efm_jax.evaluation.pictures import check_output, folders_report, table, write

    if output is not None:
        check_output(output, overwrite=overwrite)

    if features.features == "none":
        raise ValueError(
            "two folders are compared on features.\nTake efficientnet, digits or inception:FILE."
        )
    common = {
        "size": pictures.size,
        "on_error": "skip" if pictures.skip_unreadable else "raise",
        "most": pictures.most,
        "seed": pictures.seed,
        "extractor": open_extractor(features.features or "efficientnet"),
        "cache": features.cache or cache_folder(),
    }
    report = folders_report(a, b, pictures.held_out, **common)
    print(table(report))
    if pictures.paired:
        report["partners"] = paired.paired_folders_report(a, b, **common)
        print(f"\n{paired.table(report['partners'])}")
    if output is not None:
        write(report, output, overwrite=overwrite)
        print(f"Saved the report to {output}")


def demo(*, output: Annotated[Path, arg(metavar="FOLDER")] = Path("efm_demo"), show: bool = True) -> None:
    """Translate samples with a model that comes with efm_jax, and show the report: half a minute, no training.

    Args:
        output: Folder to write report.html, report.json and pictures to.
        show: Open the report in the browser, where there is a screen.
    """
    from efm_jax.models import reports

    made = reports.demo(output)
    print(f"Open {made}")
    screen = sys.platform in ("darwin", "win32") or {"DISPLAY", "WAYLAND_DISPLAY"} & {*os.environ}
    if show and sys.stdout.isatty() and screen:
        import webbrowser

        webbrowser.open(made.absolute().as_uri())


def doctor(*, steps: bool = True) -> None:
    """Check the installation: versions, devices, how fast they train, and how to install what is missing.

    Args:
        steps: Say how long presets would train here. It compiles for half a minute.
    """
    from efm_jax import _doctor

    raise SystemExit(_doctor.report(steps=steps))


def _from_old_options(arguments: list[str]) -> list[str]:
    """Take `--model MODEL` for the positional argument, for one release; name what replaces `evaluate --a A --b B`."""
    command, *rest = arguments or [""]
    names = [text.partition("=")[0] for text in rest]
    if command == "evaluate" and ("--a" in names or "--b" in names):
        raise ValueError(
            "`efm evaluate` scores one run or model.\nCompare two folders with `efm compare A B`."
        )
    if command not in ("translate", "generate", "evaluate") or "--model" not in names:
        return arguments
    at = names.index("--model")
    value = rest[at : at + 2] if rest[at] == "--model" else rest[at].split("=", 1)
    return [command, *value[1:], *rest[:at], *rest[at + (2 if rest[at] == "--model" else 1) :]]


def _set_presets(arguments: list[str]) -> None:
    """Let `train` take the presets with the method that the arguments name: its options are those of the parser."""
    of_preset = arguments[:1] == ["train"] and {*arguments[1:2]} <= {*presets.PRESETS}
    chosen = presets.named(arguments if of_preset else ())
    kind = tyro.extras.subcommand_type_from_defaults(
        {name: run for name, (_, run) in chosen.items()},
        {name: text for name, (text, _) in chosen.items()},
        prefix_names=False,
    )
    train.__annotations__["config"] = Annotated[kind, arg(name="")]


def _set_run(arguments: list[str]) -> None:
    """Let `resume` take the configuration of the run that the arguments name, and `--help` show it."""
    from efm_jax.models import loading

    places = (
        [text for text in arguments[1:] if not text.startswith("-")] if arguments[:1] == ["resume"] else []
    )
    run = next((Path(text) for text in places if (Path(text) / "config.json").is_file()), None)
    if run is None or loading.is_model(run):
        if places:
            why = "it is a model" if run is not None else "it holds no config.json"
            raise ValueError(f"{run or places[0]} is not a run folder: {why}.\nTrain a run with `efm train`.")
        config = configs.Run()
    else:
        config = configs.load(run / "config.json")
    resume.__annotations__["config"] = Annotated[configs.Run, arg(name="")]
    resume.__kwdefaults__ = {**(resume.__kwdefaults__ or {}), "config": config}


def _set_classes(arguments: list[str]) -> None:
    """Let the help of `translate` and `generate` name the classes of the run or model that the arguments name."""
    from efm_jax.models import loading

    names: tuple[str, ...] = ()
    if arguments[0] in ("translate", "generate") and {"-h", "--help"} & {*arguments}:
        for place in arguments[1:]:
            with suppress(ValueError):
                names = names or loading.class_names(place)
    default = f"all classes: {', '.join(names)}" if names else "all classes"
    Lines.__annotations__["label"] = Annotated[str | None, _optional("CLASS", default)]


def _print_saved(saved: "apply.Saved", *, left_out: bool = False) -> None:
    """Print what was saved and which lines did not arrive; the status is 1 if none did or a file was left out."""
    missed, file = saved.missed, saved.folder.is_file()
    where = f"column arrived in {saved.folder}" if file else str(saved.folder / "lines.json")
    lines = (
        f"{saved.arrived} of {saved.samples} lines arrived; see {where}"
        if missed
        else f"all {saved.samples} lines arrived"
        if saved.samples != 1
        else "its line arrived"
    )
    print(*saved.told, sep="\n", end="\n" * bool(saved.told))
    what = f"{saved.samples} {'row' if file else 'sample'}{'s' * (saved.samples != 1)}"
    print(f"Saved {what} to {saved.folder}{'' if file else '/'} ({lines})")
    if missed:
        more = f" and {len(missed) - 3} more" if len(missed) > 3 else ""
        print(f"efm: did not arrive: {', '.join(missed[:3])}{more}", file=sys.stderr)
    if left_out or not saved.arrived:
        raise SystemExit(1)


def _train(
    run: Path, config: configs.Run, *, report: bool, progress: bool, allow_changes: bool = False
) -> None:
    from efm_jax import runs
    from efm_jax.models import reports
    from efm_jax.training import hosts

    where = config.parallel
    str(run.absolute()).encode()  # a checkpoint is written by a library that takes UTF-8 alone
    if report:
        reports.check_run_folder(run)
    hosts.join(where.coordinator, where.processes, where.process_index)
    with hosts.watch(run):
        if hosts.first():
            runs.as_begun(run, config, allow_changes=allow_changes)
            print(f"Training in {run}", flush=True)
        check = partial(reports.check, config) if report else None
        runs.train(run, config, progress=progress, allow_changes=allow_changes, check=check)
        if report and hosts.first():
            try:
                _print_report(reports.destination(run), reports.evaluate(run))
            except Exception:
                print(
                    f"The run is trained and saved in {run}, but its report failed; `efm evaluate {run}` makes it.",
                    file=sys.stderr,
                )
                raise
        hosts.wait("the report")  # a process that leaves early takes the others with it


def _print_report(folder: Path | None, report: dict) -> None:
    from efm_jax.models import reports

    print(reports.summary(report))
    if folder is not None:
        print(f"Saved the report to {folder / 'report.json'}")
        if (folder / "pictures").is_dir():
            print(f"Saved pictures to {folder / 'pictures'}/")
        print(f"Open {folder / 'report.html'}")


if __name__ == "__main__":
    main()
