"""The command `aaren`: a frozen dataclass a command, help from its docstrings, modules loaded when it runs."""

import sys
import warnings
from collections.abc import Callable
from typing import Annotated, Any

import tyro

from aaren.cli.bench import Bench
from aaren.cli.classify import Classify
from aaren.cli.compare_classify import CompareClassify
from aaren.cli.compare_control import CompareControl
from aaren.cli.compare_events import CompareEvents
from aaren.cli.compare_forecast import CompareForecast
from aaren.cli.control import Control
from aaren.cli.data import Data
from aaren.cli.events import Events
from aaren.cli.export import Export
from aaren.cli.forecast import Forecast
from aaren.cli.report import Report
from aaren.cli.stream import Stream
from aaren.errors import EXPECTED, one_line

COMPARE = """Train several layers with the same recipe and tabulate them.

Example: aaren compare classify --data JapaneseVowels --layers aaren attention gru --seeds 3"""

Compare = (
    Annotated[CompareClassify, tyro.conf.subcommand("classify")]
    | Annotated[CompareForecast, tyro.conf.subcommand("forecast")]
    | Annotated[CompareEvents, tyro.conf.subcommand("events")]
    | Annotated[CompareControl, tyro.conf.subcommand("control")]
)
Command = (
    Annotated[Classify, tyro.conf.subcommand("classify")]
    | Annotated[Forecast, tyro.conf.subcommand("forecast")]
    | Annotated[Events, tyro.conf.subcommand("events")]
    | Annotated[Control, tyro.conf.subcommand("control")]
    | Annotated[Compare, tyro.conf.subcommand("compare", description=COMPARE)]
    | Annotated[Export, tyro.conf.subcommand("export")]
    | Annotated[Stream, tyro.conf.subcommand("stream")]
    | Annotated[Report, tyro.conf.subcommand("report")]
    | Annotated[Data, tyro.conf.subcommand("data")]
    | Annotated[Bench, tyro.conf.subcommand("bench")]
)


def main(arguments: list[str] | None = None) -> None:
    """Runs a command. Bad input ends in one line on standard error and exit status 2, Ctrl-C in 130."""
    command: Any = tyro.cli(
        Command,  # pyright: ignore[reportArgumentType]
        prog="aaren",
        description="Sequence models that train in parallel and stream in constant memory.",
        args=arguments,
    )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("always", UserWarning)
            warnings.showwarning = _warner()
            command.run()
    except KeyboardInterrupt:
        hint = "" if isinstance(command, Stream) else "; run the same command again to go on from the last validation"
        print(f"aaren: interrupted{hint}", file=sys.stderr)
        raise SystemExit(130) from None
    except BrokenPipeError:
        sys.stderr.close()  # whoever read the answers has left: nothing to say
    except EXPECTED as error:
        print(f"aaren: error: {one_line(error)}", file=sys.stderr)
        raise SystemExit(2) from None


def _warner() -> Callable[..., None]:
    """Tells each warning to users once, in one line; those to developers say nothing to who types a command."""
    told: set[str] = set()

    def warn(message: Warning | str, category: type[Warning], *_: Any, **__: Any) -> None:
        text = " ".join(str(message).split())
        if issubclass(category, UserWarning) and text not in told:
            told.add(text)
            print(f"aaren: warning: {text}", file=sys.stderr)

    return warn
