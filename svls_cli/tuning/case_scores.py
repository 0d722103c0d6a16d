"""Scores of all candidates on one case, in a worker process."""

from __future__ import annotations

from dataclasses import dataclass

from svls_cli.arrays import Float32Array, IntArray
from svls_cli.batch.records import Outcome
from svls_cli.compiling.guides import read_guide
from svls_cli.errors import InvalidParameterError
from svls_cli.labels.classes import ClassTable
from svls_cli.labels.rater_maps import RaterMaps, read_rater_maps
from svls_cli.labels.raters import RatedCase
from svls_cli.metrics.boundary_band import band_radius, boundary_band
from svls_cli.tuning.candidates import Candidates
from svls_cli.tuning.forecast_sums import ForecastCounts, MeanScores
from svls_cli.tuning.forecasts import forecast_scores


@dataclass(frozen=True, eq=False)
class TargetScores:
    """Mean scores of one case's forecasts of one kind."""

    counts: ForecastCounts
    scores: MeanScores  # of all (windows, strengths)


@dataclass(frozen=True, eq=False)
class CaseScores:
    """Mean scores of one case."""

    # Name of the case, and its number of raters.
    name: str
    raters: int
    values: IntArray  # (c,) label value of each class
    band_voxels: int  # number of voxels in the boundary band
    whole: bool  # whether these are all
    one_map: TargetScores
    fused: TargetScores | None  # None for two raters


@dataclass(frozen=True)
class CaseScorer:
    """Scores all candidates on one case, in a worker process."""

    candidates: Candidates  # the windows and strengths to score
    band_mm: float  # reach of the boundary band either side, mm
    # Classes of the data set; None for the label values of each case.
    classes: ClassTable | None
    # As in `read_rater_maps`.
    ignore_label: int | None = None
    resample_to_first: bool = False
    threads: int = 1  # number of threads for one case

    def __call__(self, case: RatedCase) -> Outcome[CaseScores]:
        """Score all candidates on a case, unless nothing of it counts."""
        maps = read_rater_maps(
            case,
            self.classes,
            ignore_label=self.ignore_label,
            resample_to_first=self.resample_to_first,
        )
        guide = None
        if case.image is not None:
            guide = read_guide(case.image, maps.geometry)
        scores = self._score(case.name, maps, guide)
        if scores is None:
            return Outcome(
                skipped="no boundary, or no voxel there that two raters label"
            )
        return Outcome(result=scores)

    def _score(
        self, name: str, rated: RaterMaps, guide: Float32Array | None
    ) -> CaseScores | None:
        spacing_mm, n_classes = rated.geometry.spacing_mm, len(rated.classes)
        in_plane = self.candidates.in_plane
        if in_plane and len(spacing_mm) < 3:
            raise InvalidParameterError(
                "--in-plane is for volumes, and this is one slice: leave it out"
            )
        radius = band_radius(
            self.band_mm, rated.geometry.shape, spacing_mm, in_plane=in_plane
        )
        band = boundary_band(rated.maps, n_classes=n_classes, radius=radius)
        # On voxels of 1 mm, sigmas in mm and in voxels are the same windows.
        windows = [window.on_grid(spacing_mm) for window in self.candidates.windows]
        in_voxels = [
            (window.window(spacing_mm), window.intensity_scale)
            for window in self.candidates.windows
        ]
        first = [in_voxels.index(window) for window in in_voxels]
        distinct = sorted(set(first))
        sums = forecast_scores(
            rated.maps,
            band,
            [windows[at] for at in distinct],
            self.candidates.tried_strengths,
            n_classes=n_classes,
            guide=guide,
            threads=self.threads,
        )
        if not sums:
            return None
        rows = [distinct.index(at) for at in first]
        one_map, *fused = (
            TargetScores(each.counts, each.means().windows(rows)) for each in sums
        )
        return CaseScores(
            name,
            len(rated.raters),
            rated.classes.values,
            int(band.sum()),
            bool(band.all()),
            one_map,
            fused[0] if fused else None,
        )
