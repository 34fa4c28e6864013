"""The recurrent network itself, one token after the other in as few operations as it takes: what a stream runs."""

import torch

from aaren.ops.scan_state import ScanState, age, readout
from aaren.shapes import Scores, Values


def scan_step(scores: Scores, values: Values, decay: Scores | None, state: ScanState) -> tuple[Values, ScanState]:
    outputs = []
    lowest = torch.finfo(scores.dtype).min
    for t in range(scores.shape[1]):
        s, v = scores[:, t], values[:, t]
        if decay is not None:
            state = age(state, decay[:, t])
        m = torch.maximum(state.m, s).detach()
        shift = m.clamp(min=lowest)  # -inf - -inf would be NaN
        older, p = torch.exp(state.m - shift), torch.exp(s - shift)
        u = torch.addcmul(p, state.u, older)
        w = torch.addcmul(p[..., None] * v, state.w, older[..., None])
        state = ScanState(m, u, w)
        outputs.append(readout(state))
    return outputs[0][:, None] if len(outputs) == 1 else torch.stack(outputs, dim=1), state
