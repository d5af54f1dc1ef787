"""From the arguments to the call that they ask for; a mistake in them is said in one line."""

import difflib
import io
import itertools
import os
import re
import shlex
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, redirect_stderr
from functools import partial, wraps

import tyro

from efm_jax.cli._installation import demo, doctor
from efm_jax.cli._models import export, generate, name_classes, translate
from efm_jax.cli._reports import compare, evaluate
from efm_jax.cli._training import reflow, resume, take_presets, take_run, train
from efm_jax.cli._two_sets import looked_at, of_two
from efm_jax.models import table_options

COMMANDS: dict[str, Callable | None] = {
    "train": train,
    "suggest": None,
    "resume": resume,
    "reflow": reflow,
    "export": export,
    "translate": translate,
    "generate": generate,
    "evaluate": evaluate,
    "compare": compare,
    "demo": demo,
    "doctor": doctor,
}
"""In the order of the help. `suggest` is made for the data that it looks at."""


def parsed(arguments: list[str]) -> Callable[[], object]:
    """Read the arguments; return the call that they ask for, or raise ValueError that names the mistake."""
    if arguments == ["--version"]:
        from efm_jax import __version__

        return partial(print, f"efm_jax {__version__}")
    if not arguments or (arguments[0] not in COMMANDS and not arguments[0].startswith("-")):
        near = difflib.get_close_matches(arguments[0] if arguments else "", COMMANDS, 1)
        what = f"there is no command {arguments[0]!r}" if arguments else "no command is given"
        raise ValueError(
            f"{what}{f'; did you mean {near[0]}?' if near else '.'}\nThe commands are {', '.join(COMMANDS)}."
        )
    for option, value in itertools.pairwise([*arguments, "end"]):
        if value == "" or (option.startswith("--") and option.endswith("=")):
            raise ValueError(f"{option.rstrip('=')} is empty.\nGive it a value, or leave it out.")
    arguments = table_options.expanded(arguments)
    commands = COMMANDS | of_two(*looked_at(arguments))
    take_presets(arguments)
    take_run(arguments)
    name_classes(arguments)
    told = io.StringIO()
    with ExitStack() as stack:
        if not {"-h", "--help"} & {*arguments}:
            stack.enter_context(redirect_stderr(told))
            stack.enter_context(_wide_terminal())  # a mistake in one line, not in a box
        try:
            call = tyro.extras.subcommand_cli_from_dict(
                {name: _later(one) for name, one in commands.items() if one is not None},
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
