"""Whether this process is a forked child. OpenMP hangs there: its threads did not come along."""

import os

forked = False


def _mark() -> None:
    global forked
    forked = True


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_mark)
