"""Sets of events: a table of facts. `Sin` is none of files, see `aaren.data.event_files`."""

from aaren.data.sets import NONE_STATED, DataSet

LAYOUT = "One .npz file of all sequences: times, marks, lengths, split."
GIVEN = "Each sequence begins with its first event: before it, times count from different moments."


def _events(
    name: str,
    title: str,
    shape: tuple[int, int],
    split: tuple[int, int, int],
    unit: str,
    licence: str,
    citation: str,
    page: str,
    sha256: str | None,
    *,
    window: tuple[float, float] | None = None,
    notes: str = "",
) -> DataSet:
    """shape: events and marks (0 = none); split: sequences."""
    return DataSet(
        name,
        "events",
        title,
        rows=shape[0],
        channels=shape[1],
        split=split,
        licence=licence,
        citation=citation,
        page=page,
        files={f"{name}.npz": sha256},
        download=None,
        unit=unit,
        window=window,
        notes=" ".join(filter(None, (notes, "" if window else GIVEN, LAYOUT))),
    )


IFL = "Shchur et al.: Intensity-Free Learning of Temporal Point Processes. ICLR 2020"
TRIANGULAR = "Shchur et al.: Fast and Flexible Temporal Point Processes with Triangular Maps. NeurIPS 2020"
RMTPP = "Du et al.: Recurrent Marked Temporal Point Processes. KDD 2016"
DAY = (0.0, 24.0)

EVENTS = (
    _events(
        "wiki",
        "edits of Wikipedia's pages: which user, when",
        (157_471, 8_227),
        (600, 200, 200),
        "seconds",
        "MIT",
        IFL,
        "https://github.com/shchur/ifl-tpp",
        "8846881fe4c0f915150e50c6718694432708db36ab025555578b932704ab7954",
        notes="Marks: 5,901 of 8,227 occur in the training part.",
    ),
    _events(
        "stackoverflow_partial",
        "badges that users got: which, when",
        (370_270, 22),
        (3_142, 660, 1_326),
        "seconds",
        NONE_STATED,
        RMTPP,
        "https://github.com/dunan/NeuralPointProcess",
        "eb97fb5fd500d8fb12b681bf8d3ab05546a0ecba5c2795c725e9f3f4c2c50b53",
        notes="77 % of the paper's set; the test part of fold 1 is complete.",
    ),
    _events(
        "mooc_partial",
        "a course online: what a student did, when",
        (109_352, 97),
        (1_522, 507, 508),
        "seconds",
        NONE_STATED,
        IFL,
        "https://github.com/BIRD-TAO/GNTPP",
        "913d04d3811ac01121fc8b6adf1f9767378548f937aeec5370f83ff268722151",
        notes="36 % of the paper's set, divided anew.",
    ),
    _events(
        "reddit_askscience",
        "comments in a forum, a day a sequence",
        (400_935, 0),
        (813, 271, 272),
        "hours",
        "MIT",
        TRIANGULAR,
        "https://github.com/shchur/triangular-tpp",
        "3fe9ede7ff337541287f23bebdd384b60187f2bef3d17833fa3675376a55f6b8",
        window=DAY,
        notes="Stands in for the paper's Reddit, another set of it, without marks.",
    ),
    _events(
        "manhattan_taxi",
        "a taxi's pick-ups, a day a sequence",
        (17_904, 0),
        (109, 36, 37),
        "hours",
        "MIT",
        TRIANGULAR,
        "https://github.com/shchur/triangular-tpp",
        "fd65d2cb8da486e79ccdaabc2ffeaf6a7179ef63ca1363fc47809eac22c2e8d6",
        window=DAY,
        notes="Stands in for the paper's Taxi.",
    ),
    _events(
        "uber_b02512",
        "one base's pick-ups in New York, a day a sequence",
        (205_673, 0),
        (109, 37, 37),
        "hours",
        NONE_STATED,
        "New York City Taxi and Limousine Commission, by FiveThirtyEight, 2015",
        "https://github.com/fivethirtyeight/uber-tlc-foil-response",
        "4d763f93f015649badb34a540c66e38e1dc4f3807a958730652ccf2acdc43ba7",
        window=DAY,
        notes="Stands in for the paper's Uber. Recorded to the minute; ties are spread within it by a seeded jitter.",
    ),
)
