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
# Completes file names; whether they exist is the library's question.
PATH = click.Path()


class Option(click.Option):
    """An option, and the heading that it stands under in ``--help``."""

    def __init__(self, *arguments: Any, group: str, **more: Any) -> None:
        super().__init__(*arguments, **more)
        self.group = group

    def get_help_extra(self, context: click.Context) -> Any:
        """Defaults; not ranges, which say little and which an error names."""
        extra = super().get_help_extra(context)
        extra.pop("range", None)
        return extra


def option(*names: str, group: str, **more: Any) -> Callable[[Decorated], Decorated]:
    """`click.option` under a heading of its command's help."""
    return click.option(*names, cls=Option, group=group, **more)


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
        given = list(args)
        try:
            rest = super().parse_args(context, args)
        except click.MissingParameter as error:
            out = self.make_parser(context).parse_args([*given])[0].get("out")
            if error.param is self._inputs() and isinstance(out, str):
                self._complain(context, out, given)
            raise
        out = context.params.get("out")
        if self._inputs() and isinstance(out, str) and _holds_images(Path(out)):
            self._complain(context, out, given)
        return rest

    def _inputs(self) -> click.Parameter | None:
        """The argument that takes all but the last one of several paths."""
        arguments = (each for each in self.params if isinstance(each, click.Argument))
        return next((a for a in arguments if a.nargs == -1 and a.required), None)

    def _complain(self, context: click.Context, out: str, given: list[str]) -> None:
        """Raise UsageError, unless what was given last is meant to be OUT."""
        if out.rstrip("/").endswith(".zarr"):
            return
        name = next(each.metavar for each in self.params if each.name == "out")
        meant = shlex.join([*context.command_path.split(), *given, "out.zarr"])
        raise click.UsageError(
            f"{name} is missing: {out}, the last argument, is taken as {name}. "
            f"Expected, for example: {meant}",
            context,
        )


def _holds_images(path: Path) -> bool:
    """Whether it is images that no command of ours wrote, so hardly meant as OUT."""
    from svls_cli.labels.cases import case_name, suffix_of

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
    given = {*(context.params.get("cases") or ()), context.params.get("out")}
    try:
        folders = sorted(Path(context.params["store"]).iterdir())
        names = [each.name for each in folders if (each / "zarr.json").is_file()]
    except (KeyError, TypeError, OSError, ValueError):
        names = []
    cases = [n for n in names if n.startswith(incomplete) and n not in given]
    return [CompletionItem(incomplete, type="dir"), *map(CompletionItem, cases)]
