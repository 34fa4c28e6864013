"""An exported model: the file, what it says of itself, and one call of it."""

import hashlib
import json
import math
import re
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

FORMAT = 1
"""Version of the metadata that this package reads."""

KEY = "aaren"
"""Of the metadata in the file."""

TIME, CLOCK = "time", "state.time"
"""Input and leaf of models whose rows come with their time."""

LARGEST = 2**30
"""Bytes of the state of a row, at most."""

TYPES = {
    "tensor(float)": "float32",
    "tensor(double)": "float64",
    "tensor(int64)": "int64",
    "tensor(bool)": "bool",
}
"""Types of ONNX Runtime, as NumPy names them."""

State = dict[str, np.ndarray]
"""Leaves (batch, ...) by name."""


@dataclass(frozen=True)
class Port:
    """An input or output."""

    name: str
    shape: tuple[int, ...]
    """of one row"""
    dtype: np.dtype
    about: str
    """meaning and unit"""
    missing: bool = False
    """whether NaN stands for a missing number"""


@dataclass(frozen=True)
class Leaf:
    """A part of the state."""

    name: str
    next: str
    """the output that is its new content"""
    shape: tuple[int, ...]
    """of one row"""
    dtype: np.dtype
    initial: float
    """what it is full of before the first token"""


class Model:
    """An exported model that keeps no state: `outputs, state = model(inputs, state)`.

    Args:
        path: the file.
        threads: that one call may use; small models are fastest with one.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no ONNX file, a truncated one, one of something else than aaren, or of another version.
    """

    def __init__(self, path: str | Path, threads: int = 1):
        path = Path(path)
        if not path.is_file():
            raise FileNotFoundError(f"model must be a file that aaren exported, got {str(path)!r}, which is none")
        content = path.read_bytes()
        self.fingerprint = hashlib.sha256(content).hexdigest()
        """of the file: a state belongs to the model that made it"""
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 4  # what is wrong is said by the exception
        nowhere = f"/nonexistent/{uuid.uuid4()}"  # a file that names others, to be read as weights, finds none
        options.add_session_config_entry("session.model_external_initializers_file_folder_path", nowhere)
        try:
            self.runtime = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime has a class for each kind of failure, none of them public
            reason = " ".join(str(error).split())[:200]
            raise ValueError(
                f"{str(path)!r} must be a whole ONNX file, got one that cannot be read ({reason})"
            ) from None
        text = self.runtime.get_modelmeta().custom_metadata_map.get(KEY)
        if text is None:
            raise ValueError(f"{str(path)!r} must be a model that aaren exported, got an ONNX file of something else")
        try:
            said = json.loads(text)
            version = said["format"]
            if version == FORMAT:
                self._read(said)
        except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
            raise ValueError(
                f"{str(path)!r} must be a model that aaren exported, got one that is damaged: {error}"
            ) from None

        if version != FORMAT:
            raise ValueError(
                f"format of {str(path)!r} must be {FORMAT}, got {version!r}; export it again, or update aaren_runtime"
            )

    def _read(self, said: Mapping[str, Any]) -> None:
        self.task: str = said["task"]
        self.about: dict[str, Any] = dict(said["about"])
        """such as the names of classes or channels"""
        self.versions: dict[str, str] = said["versions"]
        """of what made the file"""
        self.inputs, self.outputs = (
            tuple(
                Port(p["name"], tuple(p["shape"]), np.dtype(p["dtype"]), p["about"], p["missing"]) for p in said[which]
            )
            for which in ("inputs", "outputs")
        )
        self.leaves = tuple(
            Leaf(x["name"], x["next"], tuple(x["shape"]), np.dtype(x["dtype"]), float(x["initial"]))
            for x in said["state"]
        )
        wanted = {one.name for one in (*self.inputs, *self.leaves)}
        given = {one.name for one in self.runtime.get_inputs()}
        has = {one.name: _form(one) for one in (*self.runtime.get_inputs(), *self.runtime.get_outputs())}
        said_of = [*((one.name, one) for one in (*self.inputs, *self.leaves, *self.outputs))]
        said_of += [(leaf.next, leaf) for leaf in self.leaves]
        names = [name for name, _ in said_of]
        if wanted != given or not set(names) <= set(has) or len(set(names)) < len(names) or not self.outputs:
            raise ValueError("what it says of its inputs and outputs is not what it has")
        for name, one in said_of:
            if has[name] != (list(one.shape), one.dtype.name):
                raise ValueError(f"{name} is not of the shape and type that it says")
        if any(port.missing is not True and port.missing is not False for port in self.inputs):
            raise ValueError("missing is neither true nor false")
        if sum(math.prod(leaf.shape) * leaf.dtype.itemsize for leaf in self.leaves) > LARGEST:
            raise ValueError(f"its state has more than {LARGEST:,} bytes")
        self._wanted = [*(port.name for port in self.outputs), *(leaf.next for leaf in self.leaves)]

    def initial_state(self, batch_size: int) -> State:
        """The state of rows that have seen nothing."""
        return {x.name: np.full((batch_size, *x.shape), x.initial).astype(x.dtype) for x in self.leaves}

    def __call__(self, inputs: Mapping[str, np.ndarray], state: State) -> tuple[dict[str, np.ndarray], State]:
        """One token of every row; neither argument is changed.

        Raises:
            ValueError: a time that is not later than the one before (of events: earlier), or with `freq` not one step
                later.
        """
        self.check_time(inputs, state)
        results: Any = self.runtime.run(self._wanted, {**inputs, **state})
        count = len(self.outputs)
        outputs = {port.name: array for port, array in zip(self.outputs, results[:count], strict=True)}
        check_outputs(inputs, outputs)
        return outputs, {leaf.name: array for leaf, array in zip(self.leaves, results[count:], strict=True)}

    def check_time(self, inputs: Mapping[str, np.ndarray], state: State) -> None:
        """Raises ValueError if rows do not follow the ones before in time; at their first token nothing is asked."""
        if TIME not in inputs or CLOCK not in state:
            return
        passed = inputs[TIME] - state[CLOCK]
        ties = bool(self.about.get("ties"))  # events may come at one time, rows may not
        if (passed < 0).any() or (not ties and (passed == 0).any()):
            wanted = "not be before that of the event" if ties else "be later than that of the row"
            raise ValueError(f"time must {wanted} before, got {np.nanmin(passed):g} after it")
        step = self.about.get("step", 1.0)
        if self.about.get("freq") and (np.abs(passed - step) > 1e-3 * step).any():
            other = passed[np.abs(passed - step) > 1e-3 * step][0]
            raise ValueError(f"time must be one step, {step:g}, later, got {other:g}; push rows left out as NaN")

    def accept(self, given: Mapping[str, Any], rows: int) -> dict[str, np.ndarray]:
        """Arguments as arrays (rows, ...), checked.

        Raises:
            ValueError: an input that is missing, unknown, of another shape, or not finite.
        """
        names = [port.name for port in self.inputs]
        if strange := [name for name in given if name not in names]:
            raise ValueError(f"inputs must be {', '.join(names)}, got {strange[0]!r}")
        if self.about.get("dated") and TIME in given:
            given = {**given, TIME: _seconds(given[TIME])}
        return {port.name: _accepted(port, given.get(port.name), rows) for port in self.inputs}


def _form(one: Any) -> tuple[list[Any], str | None]:
    """Shape without the rows, and type, of an input or output of the graph."""
    return list(one.shape[1:]), TYPES.get(one.type)


def check_outputs(inputs: Mapping[str, np.ndarray], outputs: Mapping[str, np.ndarray]) -> None:
    """Raises ValueError if a number has overflowed."""
    if not all(np.isfinite(array).all() for array in outputs.values()):
        given = {name: array.tolist() for name, array in inputs.items()}
        raise ValueError(f"inputs must be of the size of the training data, got some that overflow: {given}")


def _seconds(times: Any) -> Any:
    """Dates, if they are some (datetime64, datetime or ISO text, without a zone), in seconds since 1970."""
    times = np.asarray(times)
    if times.dtype.kind in "fiu":
        return times
    texts = [one for one in times.flat if isinstance(one, str)]
    if any(not re.match(r"\d{4}-\d\d", text) for text in texts):  # NumPy would take other digits for a year
        raise ValueError(f"{TIME} must be dates such as 2024-03-01, or seconds since 1970, got {times.tolist()!r}")
    try:
        dates = times.astype("datetime64[us]")
    except (TypeError, ValueError):
        dates = np.array("NaT", dtype="datetime64[us]")
    if times.dtype.kind not in "MUO" or np.isnat(dates).any():
        raise ValueError(f"{TIME} must be dates or seconds since 1970, got {times.tolist()!r}")
    return dates.astype(np.float64) / 1e6


def _accepted(port: Port, value: Any, rows: int) -> np.ndarray:
    if value is None:
        raise ValueError(f"{port.name} must be given ({port.about}), got none")
    try:
        if np.iscomplexobj(value):
            raise TypeError
        array = np.asarray(value, dtype=port.dtype if port.dtype.kind == "f" else None)
        if port.dtype.kind == "i":
            with np.errstate(invalid="ignore"):
                whole = array.astype(np.int64)
            if not np.array_equal(whole, array):
                raise TypeError
            array = whole.astype(port.dtype)
    except (TypeError, ValueError, OverflowError):
        kind = "numbers" if port.dtype.kind == "f" else "whole numbers"
        raise ValueError(f"{port.name} must be {kind}, got {value!r}") from None
    shape = (rows, *port.shape)
    if array.shape != shape:
        raise ValueError(f"{port.name} must have shape {shape}, got {array.shape}")
    if not (np.isfinite(array) | (np.isnan(array) & port.missing)).all():
        raise ValueError(f"{port.name} must be finite{' or NaN' if port.missing else ''}, got {array.tolist()}")
    return np.ascontiguousarray(array)
