"""What the runs of a batch do in its tests: their processes import this, which is quick, and not the tests."""

import os
import signal
import time


def runs(progress) -> dict:
    """Is done at once."""
    return {"bytes": 1, "seconds": 0.5}


def is_killed(progress) -> dict:
    """Never answers."""
    os.kill(os.getpid(), signal.SIGKILL)
    return {}


def waits(progress) -> dict:
    """Would answer too late."""
    time.sleep(86_400)
    return {}
