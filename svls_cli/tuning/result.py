"""The result of tuning: scores, the choice, and how certain it is."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from svls_cli.batch.records import Record
from svls_cli.batch.version import __version__
from svls_cli.labels.classes import ClassTable
from svls_cli.soften.methods import Method
from svls_cli.tuning.candidates import method_options
from svls_cli.tuning.score_names import SCORE_TITLES, ScoreName, TargetName
from svls_cli.tuning.scores import ClassNll, HeldOut, Score, UsedCase

_COMMANDS: dict[TargetName, tuple[str, str]] = {
    "one_map": ("smooth", "LABELS"),
    "fused": ("fuse-raters", "RATERS..."),
}
_UNSMOOTHED: dict[TargetName, str] = {
    "one_map": "no smoothing at all",
    "fused": "the raters' mean as it is",
}


@dataclass(frozen=True)
class TargetResult:
    """The smoothing of one kind of labels: of one map, or of fused ones.

    Parameters
    ----------
    target
        ``one_map``: each rater's map forecasts each other rater. ``fused``: the mean of
        all other raters' maps forecasts the one left out.
    score
        Score that decides.
    cases
        Cases that the choice was made by.
    baselines
        Scores without smoothing, and of uniform label smoothing with alpha 0.1, 0.2 and
        0.3.
    published
        Scores of SVLS with sigma 1 voxel, size 3, strength 1/2.
    candidates
        Scores of every window and strength that was tried.
    best_of
        The best candidate in mm, in voxels, and with size 3.
    best
        The best of all candidates and baselines over all cases. Its scores are slightly
        optimistic, as the same cases chose it.
    held_out
        Cross-validated scores; None with one patient.
    per_class
        NLL by class, in the order of the classes.
    warnings
        Reasons to doubt the choice.
    input_options
        Options of the command line that say how files are read, with their values,
        which `command` repeats.
    """

    target: TargetName
    score: ScoreName
    cases: tuple[UsedCase, ...]
    baselines: tuple[Score, ...]
    published: Score
    candidates: tuple[Score, ...]
    best_of: dict[str, Score]
    best: Score
    held_out: HeldOut | None
    per_class: tuple[ClassNll, ...]
    warnings: tuple[str, ...]
    input_options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def settled(self) -> bool:
        """Whether the choice is better than published: its held-out gain's interval."""
        return self.held_out is not None and self.held_out.settles(self.score)

    @property
    def recommended(self) -> Method:
        """The best method where that is settled, else SVLS as published."""
        return self.best.method if self.settled else self.published.method

    @property
    def unit(self) -> str:
        """What is held out: cases where none are known to be of one patient."""
        own = all(case.patient == case.case for case in self.cases)
        return "case" if own else "patient"

    @property
    def basis(self) -> str:
        """The number of cases, patients and raters."""
        n, patients = len(self.cases), len({case.patient for case in self.cases})
        raters = sorted({case.raters for case in self.cases})
        text = f"{n} case{'s' * (n > 1)}"
        if self.unit == "patient":
            text += f" of {patients} patient{'s' * (patients > 1)}"
        most = f" to {raters[-1]}" * (len(raters) > 1)
        return f"{text}, {raters[0]}{most} raters"

    @property
    def verdict(self) -> str:
        """What to do, in a line."""
        if self.held_out is None:
            return f"one {self.unit} only, nothing is held out: keep the defaults"
        if self.held_out.few:
            number = f"{self.held_out.patients} {self.unit}s"
            return f"{number} are too few to settle anything: keep the defaults"
        if not self.settled:
            return "no better than published: keep the defaults"
        title = SCORE_TITLES[self.score]
        better = f"better {title} than published on {self.unit}s that did not choose it"
        return f"{self.baseline}: {better}" if self.baseline else better

    @property
    def baseline(self) -> str | None:
        """What the best method is called if it smooths no boundaries."""
        names = {"onehot": _UNSMOOTHED[self.target], "ls": "label smoothing"}
        return names.get(self.best.method.name)

    @property
    def command(self) -> str:
        """The command that makes labels with the recommended method."""
        command, inputs = _COMMANDS[self.target]
        options = method_options(self.recommended, defaults=self.settled)
        if self.recommended.needs_image:
            options += " --images IMAGES"
        read = " ".join(self._read())
        return " ".join(
            filter(None, ("svls-cli", command, options, read, inputs, "OUT.zarr"))
        )

    def _read(self) -> Iterator[str]:
        """The input options that the command takes."""
        fused = self.target == "fused"
        for name, value in self.input_options.items():
            if name == "--pattern" and not fused:
                value = value.replace("{rater}", "RATER")
            taken = {
                "--resample-to-first": fused,
                "--image-pattern": self.recommended.needs_image,
            }
            if taken.get(name, True):
                yield name if value is True else f"{name} {shlex.quote(str(value))}"

    def to_json(self) -> dict[str, Any]:
        """This part of the report."""
        return {
            "recommendation": {
                "method": self.recommended.to_json(),
                "settled": self.settled,
                "verdict": self.verdict,
                "command": self.command,
            },
            "best": self.best.to_json(),
            "held_out": self.held_out.to_json() if self.held_out else None,
            "warnings": list(self.warnings),
            "published": self.published.to_json(),
            "baselines": [score.to_json() for score in self.baselines],
            "best_of": {k: score.to_json() for k, score in self.best_of.items()},
            "per_class": [asdict(row) for row in self.per_class],
            "candidates": [score.to_json() for score in self.candidates],
            "cases": [asdict(case) for case in self.cases],
        }


@dataclass(frozen=True)
class TuningResult:
    """What to smooth one rater's maps with, and what the maps of several, fused.

    Parameters
    ----------
    parameters
        Parameters of the search.
    classes
        Classes of the data set.
    one_map
        Smoothing for labels of one map.
    fused
        Smoothing for fused labels; None if no case has three raters, as one of two
        that is left out leaves one map.
    left_out, failed
        Cases that do not tell how raters differ, and cases with an error.
    notes
        Windows that were left out, and why.
    """

    parameters: dict[str, Any]
    classes: ClassTable
    one_map: TargetResult
    fused: TargetResult | None
    left_out: tuple[Record, ...]
    failed: tuple[Record, ...]
    notes: tuple[str, ...] = ()

    @property
    def targets(self) -> tuple[TargetResult, ...]:
        """The results there are."""
        return (self.one_map, self.fused) if self.fused else (self.one_map,)

    @property
    def place(self) -> str:
        """Where the forecasts are scored."""
        in_plane = " in each slice" if self.parameters["in_plane"] else ""
        return f"within {self.parameters['band_mm']:g} mm of boundaries{in_plane}"

    def read_with(self, input_options: Mapping[str, Any]) -> TuningResult:
        """The same, whose commands repeat how the command line said to read files."""
        one_map, *fused = (
            replace(t, input_options=input_options) for t in self.targets
        )
        return replace(self, one_map=one_map, fused=fused[0] if fused else None)

    def to_json(self) -> dict[str, Any]:
        """The whole result, as `svls-cli tune --report` writes it."""
        return {
            "tool_version": __version__,
            "parameters": self.parameters,
            "one_map": self.one_map.to_json(),
            "fused": self.fused.to_json() if self.fused else None,
            "left_out": [_without_result(record) for record in self.left_out],
            "failed": [_without_result(record) for record in self.failed],
            "notes": list(self.notes),
        }


def _without_result(record: Record) -> dict[str, Any]:
    return {"case": record.case, "reason": record.reason, "inputs": list(record.inputs)}
