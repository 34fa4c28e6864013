"""The oracle: the recurrence of the paper's section 3.1, one token after the other. Never optimised."""

import torch

from aaren.ops.scan_state import ScanState, age, combine, leaf, readout
from aaren.shapes import Scores, Values


def scan_reference(scores: Scores, values: Values, decay: Scores | None, state: ScanState) -> tuple[Values, ScanState]:
    outputs = []
    for t in range(scores.shape[1]):
        if decay is not None:
            state = age(state, decay[:, t])
        state = combine(state, leaf(scores[:, t], values[:, t]))
        outputs.append(readout(state))
    return torch.stack(outputs, dim=1), state
