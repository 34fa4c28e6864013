"""What is known of a data set."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class DataSet:
    """A public data set: what it is, whose it is, where it is had, how the published numbers divide it."""

    name: str
    task: Literal["forecasting", "classification", "events", "offline_rl"]
    title: str
    rows: int
    """time steps: of the series (forecasting), of the longest case (classification), of all episodes (offline_rl);
    events of all sequences"""
    channels: int
    """numbers in a time step, of trajectories those of observation and action; of sets of events kinds of marks, 0 =
    none"""
    split: tuple[int | float, ...]
    """Forecasting: training, validation, test, from the first row on; whole numbers are rows (what is left over is
    unused), fractions are of all rows (training and test rounded down, validation is the rest). Classification: cases
    of the training and of the test part. Events: sequences of the three parts. Trajectories: episodes, all to train
    on."""
    licence: str
    """"none stated" where its publisher states none"""
    citation: str
    page: str
    """address to read"""
    files: dict[str, str | None]
    """Names below the folder of the task, each with the SHA-256 of the copy that this library is tested with; None
    where no copy was at hand. Any one of them will do; classification: both are needed."""
    download: str | None
    """address of one file (forecasting, events), or of an archive with both files (classification)"""
    download_sha256: str | None = None
    """Of what `download` serves, computed from a copy at hand that public records call the same file, byte for byte.
    None where there was no such copy: then a download cannot be verified."""
    step: str | None = None
    """sampling interval of a series, as pandas writes it"""
    classes: int | None = None
    start: str | None = None
    """date of the first row for files without dates; the benchmarks' convention"""
    sentinel: float | None = None
    """number that stands for a missing value"""
    unit: str | None = None
    """of the times of events"""
    window: tuple[float, float] | None = None
    """when observation of every sequence of events began and ended"""
    stand_in: str | None = None
    """a set like it that may be at hand; numbers on the two are not comparable"""
    notes: str = ""


NONE_STATED = "none stated"
