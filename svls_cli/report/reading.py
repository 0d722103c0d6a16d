"""What a page is made from: labels, raters, prediction and image, on one grid."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from svls_cli.arrays import FloatArray, UIntArray
from svls_cli.compiling.guides import image_record
from svls_cli.evaluation.predictions import PredictedCase
from svls_cli.evaluation.references import Reference
from svls_cli.labels.classes import ClassTable
from svls_cli.labels.geometry import Geometry
from svls_cli.labels.rater_maps import RaterMaps
from svls_cli.labels.raters import HARD
from svls_cli.labels.scans import Scan
from svls_cli.raters.votes import Votes, tally
from svls_cli.report.entropy import Uncertainty, measure_uncertainty
from svls_cli.report.planes import Plane, plane_of
from svls_cli.store.reader import StoredCase


@dataclass(frozen=True)
class CaseToReport:
    """A stored case, and what is shown beside it.

    Parameters
    ----------
    case
        The case.
    prediction
        Its prediction, if there is one.
    scan
        Its image, if there is one.
    missing
        Raters of the store who did not annotate it.
    notes
        What else a reader should know: that it has no image, for example.
    """

    case: StoredCase
    prediction: PredictedCase | None = None
    scan: Scan | None = None
    missing: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The case's name."""
        return self.case.name

    @property
    def inputs(self) -> tuple[str, ...]:
        """The files, as records name them."""
        prediction = () if self.prediction is None else (str(self.prediction.path),)
        image = () if self.scan is None else self.scan.inputs
        return (*self.case.inputs, *prediction, *image)


@dataclass(frozen=True, eq=False)
class CaseContent:
    """The label maps of a case, the uncertainty of its soft labels, and its image.

    Parameters
    ----------
    source
        Where it comes from.
    hard
        Class index of each voxel by the hard label map, (z, y, x) or (y, x); the number
        of classes where it is ignored.
    raters
        The raters' own label maps, likewise; None if the store keeps none.
    soft
        Uncertainty of the soft labels.
    predicted
        Uncertainty of the prediction, if there is one.
    image
        Voxels of the image, if there is one; the first of its channels.
    """

    source: CaseToReport
    hard: UIntArray
    raters: RaterMaps | None
    soft: Uncertainty
    predicted: Uncertainty | None
    image: npt.NDArray[Any] | None

    @property
    def grid(self) -> Geometry:
        """The voxel grid."""
        return self.source.case.geometry

    @property
    def classes(self) -> ClassTable:
        """The classes."""
        return self.source.case.classes

    @cached_property
    def plane(self) -> Plane:
        """How slices are shown."""
        return plane_of(self.grid)

    @property
    def reference(self) -> RaterMaps:
        """What a prediction is measured against, as `evaluate` does."""
        if self.raters is not None:
            return self.raters
        return RaterMaps(self.grid, self.classes, (HARD,), (self.hard,))

    @cached_property
    def votes(self) -> Votes:
        """The combinations of labels that the raters gave, or the hard label map."""
        return tally(self.reference.maps, n_classes=len(self.classes))

    @cached_property
    def sights(self) -> tuple[FloatArray, str]:
        """How much there is to see in each slice, (slices,), and what that is.

        Voxels on which raters differ, or prediction and reference; without these, the
        entropy; without any, what is no background.
        """
        votes, what = self.votes, "the raters differ most"
        if self.predicted is not None:
            maps = [*self.reference.maps, self.predicted.argmax]
            votes = tally(maps, n_classes=len(self.classes))
            what = "prediction and labels differ most"
        weights = self._by_slice(votes.disputed[votes.codes])
        if weights.any():
            return weights, what
        if self.soft.by_slice.any():
            return self.soft.by_slice, "the soft labels are most uncertain"
        return self._by_slice(self.foreground(self.hard)), "most is labelled"

    def foreground(self, indices: UIntArray) -> npt.NDArray[np.bool_]:
        """Where a label map has another class than background."""
        drawn = np.array([bool(c.value) for c in self.classes.classes] + [False])
        return drawn[indices]

    def _by_slice(self, where: npt.NDArray[np.bool_]) -> FloatArray:
        axis = self.plane.axis
        others = tuple(at for at in range(where.ndim) if at != axis)
        counts = np.count_nonzero(where, axis=others)
        return np.atleast_1d(counts).astype(np.float64)


def read_case(source: CaseToReport, *, ignore_label: int | None) -> CaseContent:
    """Read all label maps of a case, and measure its soft labels block by block.

    Raises
    ------
    InputError
        If the image or the prediction lies on another grid, or the image is broken, or
        a label map that the case was made from.
    StoreError
        If a store is damaged.
    """
    case, prediction = source.case, source.prediction
    grid, classes, axis = case.geometry, case.classes, plane_of(case.geometry).axis
    image = None
    if source.scan is not None:
        inputs = case.attributes["inputs"]
        if case.attributes["method"]["name"] == "prediction":
            inputs = []  # made from images
        labels = [file for file in inputs if not file.get("image")]
        for path in source.scan.paths:
            image_record(path, labels)
        image = source.scan.read_on(grid)[0]
    of_case = grid if prediction is None else prediction.geometry
    [hard] = Reference(case).read(of_case, classes, ignore_label=ignore_label).maps
    raters = None
    if case.raters:
        reference = Reference(case, case.raters)
        raters = reference.read(of_case, classes, ignore_label=ignore_label)
    return CaseContent(
        source,
        hard,
        raters,
        measure_uncertainty(case, axis),
        None if prediction is None else measure_uncertainty(prediction, axis),
        image,
    )
