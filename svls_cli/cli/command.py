"""Commands with grouped help, and arguments that are named when they are forgotten."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

Decorated = TypeVar("Decorated", bound=Callable[..., Any])

# Up to so many options need no headings.
_FEW = 8
_LAST_GROUP = "Running"
# These complete file names; whether they exist is for the library to say.
PATH = click.Path()
FILE = click.Path(path_type=Path)


class Option(click.Option):
    """An option, and the heading that it stands under in ``--help``."""

    def __init__(self, *arguments: Any, group: str, **more: Any) -> None:
        super().__init__(*arguments, **{"show_default": True, **more})
        self.group = group

    def get_help_extra(self, context: click.Context) -> Any:
        """Defaults; not ranges, which say little and which an error names."""
        extra = super().get_help_extra(context)
        extra.pop("range", None)
        return extra


def option(*names: str, group: str, **more: Any) -> Callable[[Decorated], Decorated]:
    """`click.option` under a heading of its command's help."""
    return click.option(*names, cls=Option, group=group, **more)


def together(*options: Callable[[Any], Any]) -> Callable[[Decorated], Decorated]:
    """Several options as one decorator, in this order."""

    def decorate(command: Decorated) -> Decorated:
        for each in reversed(options):
            command = each(command)
        return command

    return decorate


class Command(click.Command):
    """A command whose options stand in groups, and whose last argument may be OUT."""

    def format_options(
        self, context: click.Context, formatter: click.HelpFormatter
    ) -> None:
        groups: dict[str, list[tuple[str, str]]] = {}
        for each in self.get_params(context):
            record = each.get_help_record(context)
            if isinstance(each, click.Option) and record is not None:
                group = getattr(each, "group", _LAST_GROUP)
                groups.setdefault(group, []).append(record)
        groups[_LAST_GROUP] = groups.pop(_LAST_GROUP)
        if sum(map(len, groups.values())) <= _FEW:
            groups = {"Options": [each for group in groups.values() for each in group]}
        for name, records in groups.items():
            with formatter.section(name):
                formatter.write_dl(records)

    def parse_args(self, context: click.Context, args: list[str]) -> list[str]:
        out, words = self._out(), list(args)
        try:
            rest = super().parse_args(context, args)
        except click.MissingParameter as error:
            last = self.make_parser(context).parse_args([*words])[0].get("out")
            several = error.param is not None and error.param.nargs == -1
            if out and several and isinstance(last, str):
                _complain(context, out, last, words)
            raise
        if out and not context.resilient_parsing:
            last = context.params["out"]
            inputs = context.params[next(p.name for p in self.params if p.nargs == -1)]
            if last == "-" or last in inputs or _holds_images(Path(last)):
                _complain(context, out, last, words)
        return rest

    def _out(self) -> click.Argument | None:
        """OUT, if it is the last argument after several that are inputs."""
        arguments = [each for each in self.params if isinstance(each, click.Argument)]
        several = any(each.nargs == -1 and each.required for each in arguments)
        return arguments[-1] if several and arguments[-1].name == "out" else None


def _complain(
    context: click.Context, out: click.Argument, last: str, words: list[str]
) -> None:
    """Raise UsageError, unless the last argument is meant as OUT by its name."""
    if last.rstrip("/").endswith(".zarr"):
        return
    meant = shlex.join([*context.command_path.split(), *words, "out.zarr"])
    raise click.UsageError(
        f"{out.metavar} is missing: {last}, the last argument, is taken as "
        f"{out.metavar}. Expected, for example: {meant}",
        context,
    )


def _holds_images(path: Path) -> bool:
    """Whether a path is images that no command here wrote, so hardly meant as OUT."""
    from svls_cli.labels.suffixes import case_name, suffix_of

    try:
        if not path.is_dir():
            return path.exists() and suffix_of(path) != ""
        names = {each.name for each in path.iterdir()}
    except OSError:
        return False
    images = [name for name in names if suffix_of(Path(name))]
    # Beside a consensus label map is what it was made from.
    ours = any(f"{case_name(Path(name))}.json" in names for name in images)
    return bool(images) and not ours and "zarr.json" not in names


def complete_cases(
    context: click.Context, parameter: click.Parameter, incomplete: str
) -> list[click.shell_completion.CompletionItem]:
    """Names of the cases in the STORE typed before; or folders, for OUT."""
    from click.shell_completion import CompletionItem

    # The last word typed so far may be a case, too, and not OUT.
    taken = {*(context.params.get("cases") or ()), context.params.get("out")}
    try:
        folders = sorted(Path(context.params["store"]).iterdir())
        names = [each.name for each in folders if (each / "zarr.json").is_file()]
        names = [name for name in names if name.isprintable()]  # others are no text
    except (KeyError, TypeError, OSError, ValueError):
        names = []
    cases = [n for n in names if n.startswith(incomplete) and n not in taken]
    return [CompletionItem(incomplete, type="dir"), *map(CompletionItem, cases)]
