"""An orderly end: the first SIGTERM or SIGINT asks the parts to stop, the second ends the process at once."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from logging import getLogger
from types import FrameType

SIGNALS = (signal.SIGTERM, signal.SIGINT)
log = getLogger("quorum.shutdown")


@contextmanager
def stop_on_signal() -> Iterator[threading.Event]:
    """Give an event that the first signal sets; the handlers of before are put back at the end. Main thread only.

    What stands on Kafka is whole whenever the process ends, so the second signal, which exits with 128 and its
    number, costs no more than the work since the last snapshot.
    """
    stopping = threading.Event()
    asked = False

    def on_signal(signum: int, frame: FrameType | None) -> None:
        nonlocal asked
        del frame
        if asked:
            os._exit(128 + signum)
        asked = True
        # A handler interrupts the main thread, which may hold the event's or the log's lock: another thread waits.
        threading.Thread(target=_announce, args=(stopping, signum), daemon=True).start()

    before = {each: signal.signal(each, on_signal) for each in SIGNALS}
    try:
        yield stopping
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)


def _announce(stopping: threading.Event, signum: int) -> None:
    stopping.set()
    log.info("stopping; a second signal ends at once", extra={"signal": signal.Signals(signum).name})
