"""The recurrent network itself, one token after the other in as few operations as it takes: what a stream runs."""

import torch

from aaren.ops.scan_state import ScanState, age, readout
from aaren.shapes import Scores, Values

LOWEST = torch.finfo(torch.float32).min
"""Below every score but -inf, and a number in exported graphs too, which write constants in float32."""


def scan_step(scores: Scores, values: Values, decay: Scores | None, state: ScanState) -> tuple[Values, ScanState]:
    outputs = []
    for t in range(scores.shape[1]):
        s, v = scores[:, t], values[:, t]
        if decay is not None:
            state = age(state, decay[:, t])
        m = torch.maximum(state.m, s).detach()
        shift = m.clamp(min=LOWEST)  # -inf - -inf would be NaN
        older, p = torch.exp(state.m - shift), torch.exp(s - shift)
        u = torch.addcmul(p, state.u, older)
        w = torch.addcmul(p[..., None] * v, state.w, older[..., None])
        state = ScanState(m, u, w)
        outputs.append(readout(state))
    return outputs[0][:, None] if len(outputs) == 1 else torch.stack(outputs, dim=1), state
