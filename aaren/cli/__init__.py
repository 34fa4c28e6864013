"""The command `aaren`: a frozen dataclass a command, help from its docstrings, modules loaded when it runs."""

import sys
from typing import Annotated, Any

import tyro

from aaren.cli.bench import Bench
from aaren.cli.classify import Classify
from aaren.cli.compare import Compare
from aaren.cli.stream import Stream
from aaren.extras import missing

Command = (
    Annotated[Classify, tyro.conf.subcommand("classify")]
    | Annotated[Compare, tyro.conf.subcommand("compare")]
    | Annotated[Stream, tyro.conf.subcommand("stream")]
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
        command.run()
    except KeyboardInterrupt:
        hint = "" if isinstance(command, Stream) else "; run the same command again to go on from the last validation"
        print(f"aaren: interrupted{hint}", file=sys.stderr)
        raise SystemExit(130) from None
    except BrokenPipeError:
        sys.stderr.close()  # whoever read the answers has left: nothing to say
    except (ValueError, FloatingPointError, OSError, ImportError) as error:
        if isinstance(error, ModuleNotFoundError):
            error = missing(error, "tasks")
        print(f"aaren: error: {_one_line(error)}", file=sys.stderr)
        raise SystemExit(2) from None


def _one_line(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return f"{error.strerror}: {error.filename}" if error.filename else error.strerror
    return " ".join(str(error).split())
