"""Runs models that aaren exported, one token at a time in constant memory, with NumPy and ONNX Runtime only."""

from aaren_runtime.keyed import KeyedSession
from aaren_runtime.model import Leaf, Port
from aaren_runtime.session import Session

__all__ = ["KeyedSession", "Leaf", "Port", "Session"]
__version__ = "0.1.0"
