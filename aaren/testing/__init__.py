"""The laws of the contract, for any layer: `check_sequence_layer(layer)` raises AssertionError naming the broken law.

| law         | says                                                                                            |
|-------------|-------------------------------------------------------------------------------------------------|
| `modes`     | one call = any chunks = token by token: outputs, final state, gradients; arguments not changed  |
| `causal`    | an output does not depend on later tokens                                                       |
| `masked`    | what stands at masked steps changes no bit; masked = deleted; reset = a new call                |
| `rows`      | rows of a batch are independent; the tools of `aaren.state` work                                |
| `precision` | sums do not stall in bfloat16; a float64 state is kept and summed in float64                    |
| `size`      | a constant state has the same bytes after 1 and 100,000 tokens; a growing one says so           |
| `tools`     | `state_dict`, `torch.export` of the one-token call, `torch.compile` where `layer.compilable`    |
"""

from collections.abc import Sequence

import torch

from aaren.layers.protocol import SequenceLayer
from aaren.testing.laws import LAWS
from aaren.testing.subject import TOLERANCE, Subject

ALL = tuple(LAWS)


def check_sequence_layer(
    layer: SequenceLayer, *, laws: str | Sequence[str] = ALL, dtype: torch.dtype = torch.float64
) -> None:
    """Checks the laws of the contract on a copy of `layer` in evaluation mode.

    Args:
        layer: any instance with the attributes of `SequenceLayer`, yours included.
        laws: which laws (or one); see the top of this module.
        dtype: float64 (tolerance 1e-9) or float32 (1e-4).

    Raises:
        AssertionError: a law is broken; the message names it, what differed and by how much.
        ValueError: no instance, or one without the attributes; an unknown law or dtype.
    """
    if isinstance(layer, type):
        raise ValueError(f"layer must be an instance, got the class {layer.__name__}; pass {layer.__name__}(d_model)")
    members = ("d_model", "constant_state", "compilable", "uses_elapsed", "initial_state")
    if missing := [name for name in members if not hasattr(layer, name)]:
        raise ValueError(f"layer must have {', '.join(members)}, got none of {', '.join(missing)} (see SequenceLayer)")
    laws = [laws] if isinstance(laws, str) else laws
    if unknown := [law for law in laws if law not in LAWS]:
        raise ValueError(f"laws must be among {', '.join(LAWS)}, got {', '.join(unknown)}")
    if dtype not in TOLERANCE:
        raise ValueError(f"dtype must be torch.float64 or torch.float32, got {dtype}")
    for law in laws:
        try:
            LAWS[law](Subject(layer, dtype))
        except Exception as error:  # whatever a layer raises, the law did not hold
            reason = str(error) if isinstance(error, AssertionError) else f"{type(error).__name__}: {error}"
            raise AssertionError(f"law {law!r} broken by {type(layer).__name__}: {reason}") from error
