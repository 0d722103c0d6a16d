"""What is in a store, as `smooth`, `fuse-raters` and `inspect` print it."""

from __future__ import annotations

import shlex
import textwrap
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from svls_cli.cli.console import by_reason, echo, readable, say, table, width

if TYPE_CHECKING:
    from svls_cli.store.inspect import Inspected
    from svls_cli.store.reader import Store
    from svls_cli.store.schema import StoreConfig


def show_made(out: str) -> None:
    """Print how the labels of a store were made, and the commands that come next."""
    from svls_cli.store.reader import open_store
    from svls_cli.store.schema import method_text

    config, path = open_store(out).config, shlex.quote(out)
    classes = _classes(config)
    made = [*_fusion(config), method_text(config.method), f"{len(classes)} classes"]
    told = f"{'; '.join(made)}: {', '.join(classes)}"
    echo(textwrap.shorten(told, width(), placeholder=" ..."))
    echo(f"next: svls-cli inspect {path}")
    echo(f"      svls-cli train {path} --images IMAGES --out RUN")


def _fusion(config: StoreConfig) -> list[str]:
    """How a store's labels were fused, if they were."""
    if not config.fusion:
        return []
    fusion = dict(config.fusion)
    weights = fusion["weights"]
    if isinstance(weights, Mapping):
        weights = ", ".join(f"{rater} {w}" for rater, w in weights.items())
    return [f"{fusion['name']}, weights {weights}, ties {fusion['ties']}"]


def _classes(config: StoreConfig) -> list[str]:
    """Label values and names of a store's classes."""
    return [f"{c.value} {c.name}" for c in config.classes.classes]


def show_store(store: Store, cases: Sequence[Inspected], *, verified: bool) -> None:
    """Print a store's parameters and classes, and a row per case."""
    from svls_cli.store.schema import method_text

    config, classes = store.config, _classes(store.config)
    total = sum(case.record.bytes or 0 for case in cases)
    echo(f"store    {store.path}")
    echo(f"method   {method_text(config.method)}")
    for fusion in _fusion(config):
        echo(f"fusion   {fusion}")
    echo(f"dtype    {config.dtype}")
    if config.ignore_label is not None:
        echo(f"ignored  label {config.ignore_label}")
    echo(f"classes  {len(classes)}: {', '.join(classes)}")
    echo(f"cases    {len(cases)}, {readable(total)}\n")
    header = ["case", "shape", "spacing mm", "size", "state"]
    rows = [_row(case) for case in cases]
    if any(case.image for case in cases):
        header.append("image")
        rows = [[*row, c.image or ""] for row, c in zip(rows, cases, strict=True)]
    table(header, rows)
    damaged = [case.record for case in cases if case.record.status == "failed"]
    noted = [case.record for case in cases if case.record.reason]
    lines = [f"{record.case}: {record.reason}" for record in damaged]
    lines += by_reason(record for record in noted if record.status != "failed")
    if oblique := [case.oblique_mm for case in cases if case.oblique_mm]:
        lines.append(
            f"{len(oblique)} oblique: viewers, which see the nearest axes, are up to "
            f"{max(oblique):.3g} mm off; svls.geometry is exact"
        )
    if verified:
        lost = f", {len(damaged)} damaged" * bool(damaged)
        lines.append(f"{len(cases) - len(damaged)} verified{lost}")
    if lines:
        echo("")
    for line in lines:
        say(line)


def _row(case: Inspected) -> list[str]:
    geometry = case.attributes.get("geometry", {"shape": (), "spacing_mm": ()})
    return [
        case.record.case,
        "x".join(map(str, geometry["shape"])),
        " x ".join(f"{mm:.4g}" for mm in geometry["spacing_mm"]),
        readable(case.record.bytes or 0),
        "damaged" if case.record.status == "failed" else "complete",
    ]
