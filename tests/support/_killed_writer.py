"""A process that is killed in the middle of writing: `python _killed_writer.py file|wait|NUMBER PATH`."""

import os
import signal
import sys
from pathlib import Path

from efm_jax._core import files


def kill(*args, **options):
    os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    what, path = sys.argv[1:]
    if what == "file":
        os.replace = kill
        files.write_bytes(path, b"half of it")
    elif what == "wait":
        draft = files.draft_for(Path(path))
        draft.write_bytes(b"being written")
        print("written", flush=True)
        sys.stdin.read()
    else:
        from efm_jax import models

        rename, calls = Path.rename, []

        def counted(self, target):  # killed at the first rename of a folder, or the second
            calls.append(self)
            return rename(self, target) if len(calls) <= int(what) else kill()

        Path.rename = counted
        models.export("moons", path, overwrite=True)
