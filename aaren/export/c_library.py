"""A model in C, compiled and called from Python: to check it, and to measure it."""

import ctypes
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from aaren.export.c_source import Source
from aaren.export.one_token import Deployment

FLAGS = ("-std=c99", "-pedantic-errors", "-O3")


class CLibrary:
    """One stream through a model in C: `push(inputs)` gives the outputs.

    Args:
        source: the program.
        name: the prefix of its functions.
        deployment: what it was made from.
        compiler: gcc, clang, or the like.
        flags: for it.

    Raises:
        FileNotFoundError: there is no C compiler.
        ValueError: the program does not compile.
    """

    def __init__(
        self, source: Source, name: str, deployment: Deployment, *, compiler: str = "cc", flags: Sequence[str] = FLAGS
    ):
        if shutil.which(compiler) is None:
            raise FileNotFoundError(f"a C compiler must be installed to check the program, got no {compiler!r}")
        with tempfile.TemporaryDirectory() as folder:
            program, library = Path(folder) / "model.c", Path(folder) / "model.so"
            program.write_text(source.text, encoding="utf-8")
            command = [compiler, *flags, "-shared", "-fPIC", str(program), "-o", str(library), "-lm"]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode:
                raise ValueError(f"the program must compile, got {' '.join(done.stderr.split())[:300]}")
            self.bytes = library.stat().st_size
            """of the library, code and constants"""
            self._library = ctypes.CDLL(str(library))
        self._inputs, outputs = (
            [np.dtype(str(port.dtype).removeprefix("torch.")) for port in ports]
            for ports in (deployment.inputs, deployment.outputs)
        )
        self._outputs = [np.empty(p.shape, of) for p, of in zip(deployment.outputs, outputs, strict=True)]
        self.state = np.zeros(source.state_bytes + 8 * len(deployment.state), dtype=np.uint8)
        """the struct of the stream; put another in its place for another stream"""
        self._push = getattr(self._library, f"{name}_push")
        self._init = getattr(self._library, f"{name}_init")
        self.reset()

    def reset(self) -> None:
        """Forgets everything."""
        self._init(_address(self.state))

    def push(self, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
        """One token of one row, arrays (1, ...); the outputs likewise."""
        given = [np.ascontiguousarray(array, of) for array, of in zip(inputs, self._inputs, strict=True)]
        self._push(_address(self.state), *map(_address, given), *map(_address, self._outputs))
        return [array[None].copy() for array in self._outputs]


def _address(array: np.ndarray) -> ctypes.c_void_p:
    return ctypes.c_void_p(array.ctypes.data)
