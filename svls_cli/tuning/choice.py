"""The choice of a candidate by the scores of all cases."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from svls_cli.arrays import FloatArray
from svls_cli.batch.records import Record
from svls_cli.labels.classes import ClassTable
from svls_cli.metrics.averages import bootstrap
from svls_cli.soften.methods import Method
from svls_cli.tuning.candidates import KINDS, PUBLISHED, Search
from svls_cli.tuning.case_scores import CaseScores
from svls_cli.tuning.crossvalidation import cross_validate, held_out, least_mean
from svls_cli.tuning.pair_scores import MeanScores, uniform_scores
from svls_cli.tuning.result import (
    ClassNll,
    FoldChoice,
    HeldOut,
    Score,
    TuningResult,
    UsedCase,
)

_BASELINES = (
    Method("onehot"),
    *(Method("ls", alpha=alpha) for alpha in (0.1, 0.2, 0.3)),
)


def choose_candidate(
    cases: Sequence[CaseScores],
    records: Sequence[Record],
    classes: ClassTable,
    search: Search,
    *,
    other: Mapping[str, Any],
) -> TuningResult:
    """Choose the best candidate and measure how good it is.

    ``records`` are those of all cases, also of those left out and failed; ``other`` are
    further parameters to report.
    """
    table = _Table(cases, classes, search)
    per_class = tuple(table.class_nll(at) for at in range(len(classes)))
    best, baselines = table.scores[table.best], table.baselines()
    warnings = _warnings(search, best, baselines, per_class)
    if len(cases) == 1:
        warnings.insert(0, "one case only: nothing is held out to score the choice on")
    return TuningResult(
        parameters={**search.to_json(), **other, "classes": classes.to_json()},
        classes=classes,
        cases=table.used(),
        left_out=tuple(r for r in records if r.status == "skipped"),
        failed=tuple(r for r in records if r.status == "failed"),
        baselines=baselines,
        published=table.scores[table.published],
        candidates=tuple(table.scores),
        best_of=table.best_of(),
        best=best,
        held_out=table.held_out() if len(cases) > 1 else None,
        per_class=per_class,
        warnings=tuple(warnings),
    )


@dataclass(frozen=True)
class _Table:
    """Scores of cases (rows) by candidates (columns)."""

    cases: Sequence[CaseScores]
    classes: ClassTable
    search: Search

    @cached_property
    def nll(self) -> FloatArray:
        """(cases, candidates) NLL."""
        return np.stack([case.nll.ravel() for case in self.cases])

    @cached_property
    def brier(self) -> FloatArray:
        """(cases, candidates) Brier scores."""
        return np.stack([case.brier.ravel() for case in self.cases])

    @cached_property
    def chosen_by(self) -> FloatArray:
        """(cases, candidates) scores that the choice goes by."""
        return self.brier if self.search.score == "brier" else self.nll

    @cached_property
    def best(self) -> int:
        """Column of the best candidate."""
        return least_mean(self.chosen_by)

    @cached_property
    def published(self) -> int:
        """Column of SVLS as published."""
        return self.search.candidates.methods.index(PUBLISHED)

    @cached_property
    def scores(self) -> list[Score]:
        """Mean scores of each candidate."""
        means = (self.nll.mean(axis=0).tolist(), self.brier.mean(axis=0).tolist())
        return [
            Score(method, *values)
            for method, *values in zip(
                self.search.candidates.methods, *means, strict=True
            )
        ]

    @cached_property
    def uniform(self) -> dict[Method, list[MeanScores]]:
        """Scores of one-hot and uniform label smoothing, by method and case."""
        return {
            method: [
                uniform_scores(
                    case.counts, alpha=method.alpha or 0.0, n_classes=len(self.classes)
                )
                for case in self.cases
            ]
            for method in _BASELINES
        }

    def baselines(self) -> tuple[Score, ...]:
        """Mean scores of one-hot and uniform label smoothing."""
        return tuple(
            Score(
                method,
                nll=float(np.mean([case.nll for case in scores])),
                brier=float(np.mean([case.brier for case in scores])),
            )
            for method, scores in self.uniform.items()
        )

    def best_of(self) -> dict[str, Score]:
        """The best candidate of each kind."""
        means = self.chosen_by.mean(axis=0)
        best = {}
        for kind, belongs in KINDS.items():
            of_kind = [at for at, s in enumerate(self.scores) if belongs(s.method)]
            best[kind] = self.scores[min(of_kind, key=means.__getitem__)]
        return best

    def used(self) -> tuple[UsedCase, ...]:
        """The cases, with what the report tells of each."""
        return tuple(
            UsedCase(
                case.name,
                case.raters,
                case.band_voxels,
                pairs=case.counts.pairs,
                disagreement=1 - int(case.counts.agreed.sum()) / case.counts.pairs,
                nll_published=float(nll[self.published]),
                nll_best=float(nll[self.best]),
            )
            for case, nll in zip(self.cases, self.nll, strict=True)
        )

    def held_out(self) -> HeldOut:
        """Cross-validated scores of the choice."""
        search = self.search
        folds = cross_validate(self.chosen_by, folds=search.folds, seed=search.seed)
        nll, brier = held_out(self.nll, folds), held_out(self.brier, folds)
        choices = tuple(
            FoldChoice(
                held_out=tuple(self.cases[row].name for row in fold.cases),
                method=search.candidates.methods[fold.chosen],
                nll=float(nll[list(fold.cases)].mean()),
                brier=float(brier[list(fold.cases)].mean()),
            )
            for fold in folds
        )
        nll_gain = self.nll[:, self.published] - nll
        brier_gain = self.brier[:, self.published] - brier
        return HeldOut(
            nll=bootstrap(nll, seed=search.seed),
            brier=bootstrap(brier, seed=search.seed),
            nll_gain=bootstrap(nll_gain, seed=search.seed),
            brier_gain=bootstrap(brier_gain, seed=search.seed),
            folds=choices,
        )

    def class_nll(self, index: int) -> ClassNll:
        """Mean NLL of a class, over the cases whose raters say it in the band."""
        label = self.classes.classes[index]
        onehot, ls = _BASELINES[:2]
        rows = []
        for at, case in enumerate(self.cases):
            channels = np.flatnonzero(case.values == label.value)
            if not len(channels) or not case.counts.per_class[channels[0]]:
                continue
            channel = channels[0]
            uniform = (self.uniform[method][at] for method in (onehot, ls))
            svls = case.class_nll[..., channel].ravel()
            rows.append(
                [
                    *(scores.class_nll[channel] for scores in uniform),
                    svls[self.published],
                    svls[self.best],
                ]
            )
        means = np.mean(rows, axis=0).tolist() if rows else [None] * 4
        return ClassNll(label.value, label.name, len(rows), *means)


def _warnings(
    search: Search,
    best: Score,
    baselines: Sequence[Score],
    per_class: Sequence[ClassNll],
) -> list[str]:
    warnings = search.candidates.edge_warnings(best.method)
    least = min(baselines, key=lambda score: getattr(score, search.score))
    if getattr(least, search.score) <= getattr(best, search.score):
        name = "one-hot" if least.method.name == "onehot" else "label smoothing"
        warnings.append(
            f"{name} forecasts these raters no worse than any SVLS that was tried: "
            "smoothing boundaries does not help here"
        )
    # Large classes dominate the mean over voxels; small ones may need another method.
    scored = [(row.best, row.published) for row in per_class if row.cases]
    worse = sum(best > published for best, published in scored)  # type: ignore[operator]
    if worse > len(scored) / 2:
        warnings.append(
            f"SVLS as published has the better NLL in {worse} of {len(scored)} "
            "classes, each by itself: see the scores by class"
        )
    return warnings
