"""When does the next event come, and which? Train, forecast, stream, simulate. Needs the extra `tasks`."""

import numpy as np

from aaren import EventForecaster
from aaren.train import Recipe

# Machines that give a warning now and then; soon after two warnings in a row comes a failure, then a long rest.
random = np.random.default_rng(0)


def machine(events=40):
    times, marks, time = [], [], 0.0
    while len(times) < events:
        for mark, gap in (("warning", 10.0), ("warning", 3.0), ("failure", 0.5)):
            time += gap * random.lognormal(0, 0.2)
            times.append(time)
            marks.append(mark)
    return np.array(times), np.array(marks)


forecaster = EventForecaster(layer="aaren_decay", d_model=32, recipe=Recipe(updates=300, batch_size=8))
forecaster.fit([machine() for _ in range(40)])
scores = forecaster.evaluate([machine() for _ in range(10)])
print(f"{scores.nll:.2f} nats an event, {scores.accuracy:.0%} of marks right, off by {scores.mae:.2f} h at the median")

stream = forecaster.stream()  # constant memory, however long it runs
for time, mark in zip(*machine(), strict=True):
    forecast = stream.push(time, mark)
chances = ", ".join(f"{m} {p:.0%}" for m, p in zip(forecast.marks, forecast.mark_probabilities, strict=True))
print(f"after the {mark} at {time:.1f} h the next is expected at {forecast.mean():.1f} h: {chances}")
later = float(forecast.latest) + 12
print(f"if nothing has come by {later:.1f} h, at {forecast.mean(later):.1f} h")

futures = forecaster.sample([machine()], count=100, duration=100.0)[0]
failures = [np.sum(future.marks == "failure") for future in futures]
low, high = np.quantile(failures, [0.1, 0.9])
print(f"in the next 100 hours {np.mean(failures):.1f} failures, mostly {low:.0f} to {high:.0f}")
