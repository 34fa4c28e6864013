"""Small labelled sets with a known answer."""

import numpy as np


def waves(cases=60, channels=3, longest=20, seed=0, classes=("down", "up")):
    """Noisy ramps of unequal length: the class is the sign of the slope in the last channel."""
    random = np.random.default_rng(seed)
    X, y = [], []
    for number in range(cases):
        time = int(random.integers(longest // 2, longest + 1))
        case = random.normal(size=(channels, time))
        slope = -1 if number % 2 == 0 else 1
        case[-1] += slope * np.linspace(-2, 2, time)
        X.append(case)
        y.append(classes[number % 2])
    return X, np.array(y)


def write_ts(file, X, y, name="Waves"):
    """The UEA archive's text format."""
    lines = [f"@problemName {name}", "@timeStamps false", "@missing false", "@univariate false"]
    lines += [f"@dimensions {X[0].shape[0]}", "@equalLength false"]
    lines += ["@classLabel true " + " ".join(sorted(set(y))), "@data"]
    for case, label in zip(X, y, strict=True):
        lines.append(":".join(",".join(f"{v:.6f}" for v in channel) for channel in case) + f":{label}")
    file.write_text("\n".join(lines) + "\n")
