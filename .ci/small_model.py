"""Writes a small ONNX model to the path given."""

import sys
from pathlib import Path

from aaren import Encoder
from aaren.export.one_token import deploy_layer
from aaren.export.onnx_file import onnx_bytes

Path(sys.argv[1]).write_bytes(onnx_bytes(deploy_layer(Encoder(1, 8, 2, 8).eval())))
