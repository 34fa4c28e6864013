"""Optional packages, imported where they are needed."""

import importlib
from typing import Any


def require(module: str, extra: str) -> Any:
    """The imported module. Raises ImportError that names the extra if it is not installed."""
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise missing(error, extra) from None


def missing(error: ModuleNotFoundError, extra: str) -> ImportError:
    """What to raise instead of `error`."""
    return ImportError(f"{error.name} must be installed for this, got none; pip install 'aaren[{extra}]'")
