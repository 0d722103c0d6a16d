"""The choice of a candidate by the scores of all cases."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from svls_cli.arrays import FloatArray
from svls_cli.labels.classes import ClassTable
from svls_cli.metrics.averages import Estimate, bootstrap
from svls_cli.soften.methods import Method
from svls_cli.tuning import crossvalidation
from svls_cli.tuning.candidates import KINDS, Search
from svls_cli.tuning.case_scores import CaseScores, TargetScores
from svls_cli.tuning.crossvalidation import Fold, cross_validate, least_mean
from svls_cli.tuning.forecast_sums import MeanScores, uniform_scores
from svls_cli.tuning.result import (
    ClassNll,
    FoldChoice,
    HeldOut,
    Score,
    TargetResult,
    UsedCase,
)
from svls_cli.tuning.score_names import SCORES, ScoreName, TargetName

_BASELINES = (
    Method("onehot"),
    *(Method("ls", alpha=alpha) for alpha in (0.1, 0.2, 0.3)),
)
# Even if all of five patients gained, that would be chance with p = 2 / 2^5 > .05.
_FEW_PATIENTS = 6


def choose_candidate(
    target: TargetName,
    cases: Sequence[CaseScores],
    classes: ClassTable,
    search: Search,
    patients: Mapping[str, str],
) -> TargetResult:
    """Choose the best candidate for a target that all cases have, and measure it."""
    rows: list[TargetScores] = [getattr(case, target) for case in cases]
    table = _Table(cases, rows, classes, search, patients)
    best, baselines = table.scores[table.best], table.baselines()
    held_out = table.held_out()
    return TargetResult(
        target=target,
        score=search.score,
        cases=table.used(),
        baselines=baselines,
        published=table.scores[table.published],
        candidates=tuple(table.scores),
        best_of=table.best_of(),
        best=best,
        held_out=held_out,
        per_class=tuple(table.class_nll(at) for at in range(len(classes))),
        warnings=(
            *search.candidates.edge_warnings(best.method),
            *_doubts(search.score, best, baselines, held_out),
        ),
    )


def _doubts(
    score: ScoreName, best: Score, baselines: Sequence[Score], held_out: HeldOut | None
) -> list[str]:
    found = []
    least = min(baselines, key=lambda each: each.of(score))
    if least.of(score) <= best.of(score):
        name = "label smoothing" if least.method.name == "ls" else "no smoothing at all"
        found.append(
            f"{name} forecasts these raters no worse than any SVLS that was tried: "
            "smoothing boundaries does not help here"
        )
    if held_out is None or held_out.gains[score].low <= 0:
        return found
    if held_out.patients < _FEW_PATIENTS:
        found.append(
            f"{held_out.patients} patients are too few to settle what forecasts best"
        )
    # Large classes rule the mean over voxels; small ones may need another method.
    if held_out.gains["class_nll"].mean < 0:
        found.append(
            "with all classes of one weight, SVLS as published forecasts better: large "
            "classes rule this choice; --score class_nll lets all count the same"
        )
    return found


@dataclass(frozen=True)
class _Table:
    """Scores of cases (rows) by candidates (columns)."""

    cases: Sequence[CaseScores]
    rows: Sequence[TargetScores]  # the target's scores of each case
    classes: ClassTable
    search: Search
    patient_of: Mapping[str, str]

    @cached_property
    def values(self) -> dict[ScoreName, FloatArray]:
        """(cases, candidates) of each score."""
        return {
            name: np.stack([getattr(row.scores, name).ravel() for row in self.rows])
            for name in SCORES
        }

    @cached_property
    def chosen_by(self) -> FloatArray:
        """(cases, candidates) scores that the choice goes by."""
        return self.values[self.search.score]

    @cached_property
    def patients(self) -> list[str]:
        """Patient of each case."""
        return [self.patient_of[case.name] for case in self.cases]

    @cached_property
    def best(self) -> int:
        """Column of the best candidate."""
        return least_mean(self.chosen_by)

    @cached_property
    def published(self) -> int:
        """Column of SVLS as published."""
        candidates = self.search.candidates
        return candidates.methods.index(candidates.published)

    @cached_property
    def scores(self) -> list[Score]:
        """Mean scores of each candidate."""
        means = [values.mean(axis=0).tolist() for values in self.values.values()]
        methods = self.search.candidates.methods
        return [Score(*each) for each in zip(methods, *means, strict=True)]

    @cached_property
    def uniform(self) -> dict[Method, list[MeanScores]]:
        """Scores without smoothing and of label smoothing, by method and case."""
        n_classes = len(self.classes)
        return {
            method: [
                uniform_scores(row.counts, alpha=method.alpha or 0, n_classes=n_classes)
                for row in self.rows
            ]
            for method in _BASELINES
        }

    def baselines(self) -> tuple[Score, ...]:
        """Mean scores without smoothing and of uniform label smoothing."""
        return tuple(
            Score(
                method,
                *(float(np.mean([getattr(s, name) for s in each])) for name in SCORES),
            )
            for method, each in self.uniform.items()
        )

    def best_of(self) -> dict[str, Score]:
        """The best candidate of each kind."""
        means = self.chosen_by.mean(axis=0)
        best = {}
        for kind, belongs in KINDS.items():
            of_kind = [at for at, s in enumerate(self.scores) if belongs(s.method)]
            if of_kind:
                best[kind] = self.scores[min(of_kind, key=means.__getitem__)]
        return best

    def used(self) -> tuple[UsedCase, ...]:
        """The cases, with what the report tells of each."""
        return tuple(
            UsedCase(
                case.name,
                patient,
                case.raters,
                case.band_voxels,
                row.counts.total,
                row.counts.disagreement,
                nll_published=float(nll[self.published]),
                nll_best=float(nll[self.best]),
            )
            for case, row, patient, nll in zip(
                self.cases, self.rows, self.patients, self.values["nll"], strict=True
            )
        )

    def held_out(self) -> HeldOut | None:
        """Cross-validated scores of the choice; None with one patient."""
        if len(set(self.patients)) == 1:
            return None
        search = self.search
        folds = cross_validate(
            self.chosen_by,
            folds=search.folds,
            seed=search.seed,
            patients=self.patients,
        )
        scores = {
            name: crossvalidation.held_out(values, folds)
            for name, values in self.values.items()
        }
        gains = {
            name: self.values[name][:, self.published] - scores[name] for name in SCORES
        }
        return HeldOut(
            {name: self._estimate(values) for name, values in scores.items()},
            {name: self._estimate(values) for name, values in gains.items()},
            tuple(self._fold_choice(fold, scores) for fold in folds),
            patients=len(set(self.patients)),
        )

    def _estimate(self, values: FloatArray) -> Estimate:
        return bootstrap(values, seed=self.search.seed, groups=self.patients)

    def _fold_choice(
        self, fold: Fold, scores: Mapping[ScoreName, FloatArray]
    ) -> FoldChoice:
        cases = list(fold.cases)
        means = (float(values[cases].mean()) for values in scores.values())
        return FoldChoice(
            tuple(self.cases[row].name for row in cases),
            Score(self.search.candidates.methods[fold.chosen], *means),
        )

    def class_nll(self, index: int) -> ClassNll:
        """Mean NLL of a class, over the cases that have forecasts of it."""
        label = self.classes.classes[index]
        onehot, ls = _BASELINES[:2]
        found = []
        for at, (case, row) in enumerate(zip(self.cases, self.rows, strict=True)):
            channels = np.flatnonzero(case.values == label.value)
            if not len(channels) or not row.counts.by_class[:, channels[0]].any():
                continue
            channel = channels[0]
            uniform = (self.uniform[method][at] for method in (onehot, ls))
            svls = row.scores.nll_by_class[..., channel].ravel()
            found.append(
                [
                    *(scores.nll_by_class[channel] for scores in uniform),
                    svls[self.published],
                    svls[self.best],
                ]
            )
        means = np.mean(found, axis=0).tolist() if found else [None] * 4
        return ClassNll(label.value, label.name, len(found), *means)
