"""Commands that try an installation: demo, doctor."""

import os
import sys
from functools import partial
from pathlib import Path
from typing import Annotated

from tyro.conf import arg


def demo(*, output: Annotated[Path, arg(metavar="FOLDER")] = Path("efm_demo"), show: bool = True) -> None:
    """Translate samples with a model that comes with efm_jax, and show the report: half a minute, no training.

    Args:
        output: Folder to write report.html, report.json and pictures to: a new one, or that of an earlier report.
        show: Open the report in the browser, where there is a screen.
    """
    from efm_jax.models import reports

    made = reports.demo(output, tell=partial(print, file=sys.stderr, flush=True))
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
