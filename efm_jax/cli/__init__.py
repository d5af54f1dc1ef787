"""The command `efm`: train, suggest, resume, reflow, export, translate, generate, evaluate, compare, demo, doctor.

Each command reads its options, calls the package, and prints where the result is. Every error ends with one message on
standard error: status 2 for a mistake in what the user gave, 1 for the rest.
"""

import io
import os
import sys
import traceback
import warnings

from efm_jax._core import failures
from efm_jax.cli._parsing import parsed

__all__ = ["main"]


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
            parsed(arguments)()
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
