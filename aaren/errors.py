"""Errors as a person at a terminal reads them."""

from aaren.extras import missing

EXPECTED = (ValueError, FloatingPointError, OSError, ImportError)
"""What bad input, a full disk or a package that is not there raise; all else is a mistake in this library."""


def one_line(error: Exception) -> str:
    """The message of an expected error in one line, with the extra to install if a package is missing."""
    if isinstance(error, ModuleNotFoundError):
        error = missing(error, "tasks")
    if isinstance(error, OSError) and error.strerror:
        return f"{error.strerror}: {error.filename}" if error.filename else error.strerror
    return " ".join(str(error).split())
