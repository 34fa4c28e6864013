"""Sequence models that train in parallel like a Transformer and run as a recurrent network in constant memory.

Everything that eats a sequence is one call, `y, state = f(x, state=None, *, padding_mask=None, reset=None)`: a whole
sequence, a chunk or one token, exactly the same function. The public names below are loaded when first used.
"""

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from aaren_runtime import KeyedSession as KeyedSession
    from aaren_runtime import Session as Session

    from aaren.layers.aaren import Aaren as Aaren
    from aaren.layers.attention import Attention as Attention
    from aaren.layers.block import Block as Block
    from aaren.layers.recurrent import GRU as GRU
    from aaren.layers.recurrent import LSTM as LSTM
    from aaren.layers.table import LAYERS as LAYERS
    from aaren.models.encoder import Encoder as Encoder
    from aaren.ops.attend import attend as attend
    from aaren.ops.scan import attention_scan as attention_scan
    from aaren.ops.scan_state import ScanState as ScanState
    from aaren.ops.scan_state import combine as combine
    from aaren.stream import KeyedStream as KeyedStream
    from aaren.stream import Stream as Stream
    from aaren.tasks.classify import Classifier as Classifier
    from aaren.tasks.control import DecisionAgent as DecisionAgent
    from aaren.tasks.events import EventForecaster as EventForecaster
    from aaren.tasks.forecast import Forecaster as Forecaster

_HOME = {
    "Aaren": "aaren.layers.aaren",
    "Attention": "aaren.layers.attention",
    "Block": "aaren.layers.block",
    "Classifier": "aaren.tasks.classify",
    "DecisionAgent": "aaren.tasks.control",
    "Encoder": "aaren.models.encoder",
    "EventForecaster": "aaren.tasks.events",
    "Forecaster": "aaren.tasks.forecast",
    "GRU": "aaren.layers.recurrent",
    "KeyedSession": "aaren_runtime",
    "KeyedStream": "aaren.stream",
    "LAYERS": "aaren.layers.table",
    "LSTM": "aaren.layers.recurrent",
    "ScanState": "aaren.ops.scan_state",
    "Session": "aaren_runtime",
    "Stream": "aaren.stream",
    "attend": "aaren.ops.attend",
    "attention_scan": "aaren.ops.scan",
    "combine": "aaren.ops.scan_state",
}

__all__ = sorted(_HOME)  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'aaren' has no attribute {name!r}")
    try:
        return getattr(importlib.import_module(_HOME[name]), name)
    except ModuleNotFoundError as error:
        extra = {"aaren_runtime": "export", "aaren.tasks": "tasks"}.get(".".join(_HOME[name].split(".")[:2]))
        if extra is None:
            raise
        from aaren.extras import missing

        raise missing(error, extra) from None


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
