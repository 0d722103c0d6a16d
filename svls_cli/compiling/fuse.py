"""`fuse-raters`: from several raters' label maps to one soft-label store."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from svls_cli.batch.records import Record
from svls_cli.batch.run import Batch
from svls_cli.compiling.cases import SoftCase, compile_cases
from svls_cli.errors import InvalidParameterError
from svls_cli.labels.class_files import ClassSpec
from svls_cli.labels.classes import ClassTable
from svls_cli.labels.rater_maps import rater_inputs, read_rater_maps
from svls_cli.labels.raters import RatedCase
from svls_cli.raters.fusion import Fusion, check_weights, fuse_maps
from svls_cli.soften.methods import Method
from svls_cli.store.schema import StoreConfig


def fuse_cases(
    cases: Sequence[RatedCase],
    out: str | Path,
    *,
    fusion: Fusion | None = None,
    method: Method | None = None,
    keep_raters: bool = True,
    resample_to_first: bool = False,
    classes: ClassSpec | None = None,
    ignore_label: int | None = None,
    dtype: str = "uint8",
    device: str = "auto",
    overwrite: bool = False,
    dry_run: bool = False,
    batch: Batch | None = None,
) -> list[Record]:
    """Fuse the label maps of several raters and compile them into a soft-label store.

    Parameters
    ----------
    cases
        Label maps of the raters, as `find_rated_cases` lists them.
    out
        The store; made if it does not exist.
    fusion
        Default: the mean of all raters that annotated the case.
    method
        How the fused map is smoothed. Default: SVLS as published; with the mean that is
        the paper's multi-rater SVLS.
    keep_raters
        Keep each rater's own label map in the store, beside the hard consensus.
    resample_to_first
        Bring raters of other grids onto the first one's by nearest neighbour.
    classes, ignore_label, dtype, device, overwrite, dry_run, batch
        As in `smooth_cases`.

    Returns
    -------
    list of Record
        One per case, in the order in which they finish. A case that lacks raters is
        made from those it has, and says so in its ``reason``.

    Raises
    ------
    InvalidParameterError
        If a parameter is out of range, weights and raters differ, or a part is to
        overwrite the store.
    InputError
        If there are no classes.
    StoreError
        If ``out`` is no soft-label store, one made with other parameters, or one that
        is to be overwritten and was made by another command.

    References
    ----------
    .. [1] Islam & Glocker, "Spatially Varying Label Smoothing", IPMI 2021,
       arXiv:2104.05788.
    """
    fusion, method = fusion or Fusion(), method or Method()
    return compile_cases(
        cases,
        out,
        Fusing(fusion, method, dtype, device, keep_raters, resample_to_first),
        classes=classes,
        ignore_label=ignore_label,
        overwrite=overwrite,
        dry_run=dry_run,
        batch=batch,
    )


@dataclass(frozen=True)
class Fusing:
    """The recipe for several raters' label maps; parameters as in `fuse_cases`."""

    fusion: Fusion
    method: Method
    dtype: str
    device: str
    keep_raters: bool
    resample_to_first: bool

    doing, command = "fuse", "fuse-raters"

    def check(self, cases: Sequence[RatedCase]) -> None:
        """Raise InvalidParameterError for wrong weights, and for method contours."""
        check_weights(cases, self.fusion)
        if self.method.needs_contours:
            raise InvalidParameterError(
                "method contours stores one drawing as it is: fused, drawings have "
                "onehot"
            )

    def configure(self, classes: ClassTable, ignore_label: int | None) -> StoreConfig:
        """The configuration of the store."""
        return StoreConfig.create(
            self.method,
            classes=classes,
            ignore_label=ignore_label,
            dtype=self.dtype,
            fusion={
                **self.fusion.to_json(),
                "keep_raters": self.keep_raters,
                "resample_to_first": self.resample_to_first,
            },
        )

    def inputs(self, case: RatedCase) -> list[dict[str, Any]]:
        """The raters' files."""
        return rater_inputs(case)

    def read(self, case: RatedCase, config: StoreConfig) -> SoftCase:
        """The raters' label maps, fused."""
        drawn = read_rater_maps(
            case,
            config.classes,
            ignore_label=config.ignore_label,
            resample_to_first=self.resample_to_first,
        )
        fused = fuse_maps(drawn, self.fusion)
        maps = dict(zip(drawn.raters, drawn.maps, strict=True))
        return SoftCase(
            drawn.geometry,
            fused.labels,
            mixture=fused.mixture,
            maps=maps if self.keep_raters else {},
            raters=fused.raters_json(drawn.raters),
            note="; ".join(drawn.notes) or None,
        )
