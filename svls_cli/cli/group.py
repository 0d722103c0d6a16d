"""The group of commands, and the exit codes that errors become."""

from __future__ import annotations

import logging
import os
import signal
import sys
from difflib import get_close_matches
from importlib import import_module
from io import StringIO, TextIOWrapper
from types import FrameType
from typing import Any, NoReturn

import click

from svls_cli.batch.version import __version__
from svls_cli.cli.console import PrintableFormatter, ReaderGoneError, echo
from svls_cli.errors import InvalidParameterError, SvlsError

COMMANDS = (
    "smooth",
    "fuse-raters",
    "tune",
    "train",
    "predict",
    "evaluate",
    "compare",
    "inspect",
    "export",
    "report",
    "nnunet",
)

# The others keep nothing of a run that is interrupted.
_RESUMED = {*COMMANDS} - {"tune", "evaluate", "inspect"}

EXIT_USAGE = 2
EXIT_BAD_INPUT = 3
EXIT_INTERRUPTED = 130
EXIT_TERMINATED = 143
EXIT_BROKEN_PIPE = 141


class LazyGroup(click.Group):
    """A group that imports a command's module when the command is asked for."""

    def list_commands(self, context: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        if name not in COMMANDS:
            return None
        module = name.replace("-", "_")
        command: click.Command = import_module(f"svls_cli.cli.{module}").command
        return command

    def resolve_command(
        self, context: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0]
        if not (name in COMMANDS or name.startswith("-") or context.resilient_parsing):
            starts = [each for each in COMMANDS if each.startswith(name)]
            meant = " or ".join(map(repr, starts or get_close_matches(name, COMMANDS)))
            hint = f" Did you mean {meant}?" if meant else ""
            context.fail(f"No such command {name!r}.{hint}")
        return super().resolve_command(context, args)

    def invoke(self, context: click.Context) -> Any:
        try:
            return super().invoke(context)
        except KeyboardInterrupt as error:
            echo("", err=True)  # below the terminal's ^C
            resumed = context.invoked_subcommand in _RESUMED
            again = "; run the same command again to go on" if resumed else ""
            raise click.Abort(f"interrupted{again}") from error
        except ReaderGoneError:
            # Python would complain once more when it flushes at the end.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return EXIT_BROKEN_PIPE


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="svls-cli")
def cli() -> None:
    """Compile medical label maps into soft labels (SVLS).

    Reads label maps (NIfTI, NRRD, MetaImage, PNG and others), smooths their boundaries,
    and writes one Zarr store that any framework can train on.

    \b
    Exit codes: 0 done, 2 wrong usage, 3 bad input or store, 4 some cases failed,
    130 interrupted (143 by SIGTERM), 141 nobody reads the output, 1 a bug.
    """


def main(arguments: list[str] | None = None) -> NoReturn:
    """Run a command; an error that a user can fix becomes a line and an exit code."""
    try:
        signal.signal(signal.SIGTERM, _terminate)
        _open_streams()
        if logging.lastResort is not None:  # which prints the library's warnings
            logging.lastResort.setFormatter(PrintableFormatter())
        result = cli.main(arguments, prog_name="svls-cli", standalone_mode=False)
        code = result if isinstance(result, int) else 0
    except click.ClickException as error:
        usage = StringIO()
        error.show(usage)
        echo(usage.getvalue().rstrip("\n"), err=True)
        code = EXIT_USAGE
    except InvalidParameterError as error:
        code = _complain(str(error), EXIT_USAGE)
    except SvlsError as error:
        code = _complain(str(error), EXIT_BAD_INPUT)
    except OSError as error:
        place = f": {error.filename}" if error.filename else ""
        code = _complain(f"{error.strerror or error}{place}", EXIT_BAD_INPUT)
    except MemoryError:
        code = _complain("out of memory", EXIT_BAD_INPUT)
    except (KeyboardInterrupt, click.Abort) as error:
        code = _complain(str(error) or "interrupted", EXIT_INTERRUPTED)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Python would show where it ends
    sys.exit(code)


def _open_streams() -> None:
    """Open the streams that the shell closed, and let them hold any file name."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:  # or the next file opened would be taken for it
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(number, "w" if number else "r"))
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="surrogateescape")


def _complain(message: str, code: int) -> int:
    echo(f"svls-cli: {message}", err=True)
    return code


def _terminate(number: int, frame: FrameType | None) -> NoReturn:
    """Exit on SIGTERM, which SLURM sends at the time limit, as tidily as on Ctrl-C."""
    raise SystemExit(EXIT_TERMINATED)
