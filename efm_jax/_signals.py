"""Ctrl-C and SIGTERM as a wish to stop, granted when the work at hand is whole."""

import contextlib
import os
import signal
import threading
from collections.abc import Iterator


class Signals:
    """What came in while signals were deferred.

    Attributes:
        caught: Number of the signal, or None.
    """

    caught: int | None = None


@contextlib.contextmanager
def deferred() -> Iterator[Signals]:
    """Note SIGINT and SIGTERM instead of dying of them; a second one acts as it always would.

    Outside the main thread Python cannot catch signals: nothing changes there. Ignored signals stay ignored.
    """
    signals, before = Signals(), {}

    def catch(number, frame):
        signals.caught = number
        for changed, handler in before.items():
            signal.signal(changed, handler)
        with contextlib.suppress(OSError):  # not print: the handler may run in the middle of one
            os.write(2, b"\nStopping: finishing this step and saving; once more to quit at once.\n")

    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGINT, signal.SIGTERM):
            handler = signal.getsignal(number)
            if handler not in (signal.SIG_IGN, None):
                before[number] = handler
                signal.signal(number, catch)
    try:
        yield signals
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
