"""The choice of a candidate by the scores of all cases."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
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
from svls_cli.tuning.result import TargetResult
from svls_cli.tuning.score_names import SCORES, ScoreName, TargetName
from svls_cli.tuning.scores import ClassNll, FoldChoice, HeldOut, Score, UsedCase

_BASELINES = (
    Method("onehot"),
    *(Method("ls", alpha=alpha) for alpha in (0.1, 0.2, 0.3)),
)


def choose_candidate(
    target: TargetName,
    cases: Sequence[CaseScores],
    classes: ClassTable,
    search: Search,
    patients: Mapping[str, str],
) -> TargetResult:
    """Choose the best method for a target that all cases have, and measure it."""
    rows: list[TargetScores] = [getattr(case, target) for case in cases]
    table = _Table(cases, rows, classes, search, patients)
    result = TargetResult(
        target=target,
        score=search.score,
        cases=table.used(),
        baselines=table.scores[: len(_BASELINES)],
        published=table.scores[table.published],
        candidates=table.candidates,
        best_of=table.best_of(),
        best=table.scores[table.best],
        held_out=table.held_out(),
        per_class=tuple(table.class_nll(at) for at in range(len(classes))),
        warnings=(),
    )
    return replace(result, warnings=tuple(_doubts(result, search)))


def _doubts(result: TargetResult, search: Search) -> list[str]:
    if result.baseline is None:
        found = search.candidates.edge_warnings(result.best.method)
    elif result.settled:  # the verdict says it
        found = []
    else:
        found = [
            f"{result.baseline} forecasts these raters no worse than any SVLS that was "
            "tried: smoothing boundaries does not help here"
        ]
    # Large classes rule the mean over voxels; small ones may need another method.
    gains = result.held_out.gains if result.held_out else {}
    if result.settled and gains["class_nll"].mean < 0:
        found.append(
            "with all classes of one weight, SVLS as published forecasts better: large "
            "classes rule this choice; --score class_nll lets all count the same"
        )
    return found


@dataclass(frozen=True)
class _Table:
    """Scores of cases (rows) by methods (columns): baselines, then candidates."""

    cases: Sequence[CaseScores]
    rows: Sequence[TargetScores]  # the target's scores of each case
    classes: ClassTable
    search: Search
    patient_of: Mapping[str, str]

    @cached_property
    def methods(self) -> tuple[Method, ...]:
        """All methods; the first of equal scores is chosen."""
        return (*_BASELINES, *self.search.candidates.methods)

    @cached_property
    def values(self) -> dict[ScoreName, FloatArray]:
        """(cases, methods) of each score."""
        return {
            name: np.stack(
                [
                    np.hstack([np.ravel(getattr(each, name)) for each in scores])
                    for scores in self.by_case
                ]
            )
            for name in SCORES
        }

    @cached_property
    def chosen_by(self) -> FloatArray:
        """(cases, methods) scores that the choice goes by."""
        return self.values[self.search.score]

    @cached_property
    def patients(self) -> list[str]:
        """Patient of each case."""
        return [self.patient_of[case.name] for case in self.cases]

    @cached_property
    def best(self) -> int:
        """Column of the best method."""
        return least_mean(self.chosen_by)

    @cached_property
    def published(self) -> int:
        """Column of SVLS as published."""
        return self.methods.index(self.search.candidates.published)

    @cached_property
    def scores(self) -> tuple[Score, ...]:
        """Mean scores of each method."""
        means = [values.mean(axis=0).tolist() for values in self.values.values()]
        return tuple(Score(*each) for each in zip(self.methods, *means, strict=True))

    @property
    def candidates(self) -> tuple[Score, ...]:
        """Mean scores of each candidate."""
        return self.scores[len(_BASELINES) :]

    @cached_property
    def by_case(self) -> list[list[MeanScores]]:
        """Scores of each case: of each baseline, and of all candidates."""
        n_classes = len(self.classes)
        return [
            [
                *(
                    uniform_scores(row.counts, alpha=m.alpha or 0, n_classes=n_classes)
                    for m in _BASELINES
                ),
                row.scores,
            ]
            for row in self.rows
        ]

    def best_of(self) -> dict[str, Score]:
        """The best candidate of each kind."""
        best = {}
        for kind, belongs in KINDS.items():
            of_kind = [score for score in self.candidates if belongs(score.method)]
            if of_kind:
                best[kind] = min(of_kind, key=lambda s: s.of(self.search.score))
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
            Score(self.methods[fold.chosen], *means),
        )

    def class_nll(self, index: int) -> ClassNll:
        """Mean NLL of a class, over the cases that have forecasts of it."""
        label = self.classes.classes[index]
        columns = [0, 1, self.published, self.best]  # one-hot and LS 0.1 come first
        found = []
        for case, row, scores in zip(self.cases, self.rows, self.by_case, strict=True):
            channels = np.flatnonzero(case.values == label.value)
            if not len(channels) or not row.counts.by_class[:, channels[0]].any():
                continue
            nll = [each.nll_by_class[..., channels[0]].ravel() for each in scores]
            found.append(np.hstack(nll)[columns])
        means = np.mean(found, axis=0).tolist() if found else [None] * 4
        return ClassNll(label.value, label.name, len(found), *means)
