"""Soft labels for medical image segmentation (Spatially Varying Label Smoothing).

What the commands do, for Python. `smooth` works on arrays; all others on files, stores
and folders, with a `Batch` that says how they go through the cases: `find_cases` and
`smooth_cases`, `find_rated_cases` and `fuse_cases`, `tune_smoothing`, `train` and
`score_run`, `predict_cases`, `evaluate_cases`, `compare_methods`, `inspect_cases`,
`export_cases`, `report_cases`, `nnunet_cases`; for DICOM, `find_cases` with
`DicomFiles`, and `export_segmentations`.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from svls_cli.batch.version import __version__
from svls_cli.errors import InputError, InvalidParameterError, StoreError, SvlsError

if TYPE_CHECKING:
    from svls_cli.batch.cluster import Cluster as Cluster
    from svls_cli.batch.part import Part as Part
    from svls_cli.batch.records import Record as Record
    from svls_cli.batch.run import Batch as Batch
    from svls_cli.comparison.compare import compare_methods as compare_methods
    from svls_cli.comparison.result import Comparison as Comparison
    from svls_cli.compiling.consensus import write_consensus as write_consensus
    from svls_cli.compiling.fuse import fuse_cases as fuse_cases
    from svls_cli.compiling.smooth import smooth_cases as smooth_cases
    from svls_cli.dicom.export import export_segmentations as export_segmentations
    from svls_cli.dicom.finding import DicomFiles as DicomFiles
    from svls_cli.evaluation.evaluate import evaluate_cases as evaluate_cases
    from svls_cli.evaluation.report import EvaluationReport as EvaluationReport
    from svls_cli.labels.cases import LabelMapFiles as LabelMapFiles
    from svls_cli.labels.cases import find_cases as find_cases
    from svls_cli.labels.class_files import parse_classes as parse_classes
    from svls_cli.labels.raters import find_rated_cases as find_rated_cases
    from svls_cli.labels.scans import pair_images as pair_images
    from svls_cli.nnunet.nnunet import nnunet_cases as nnunet_cases
    from svls_cli.raters.fusion import Fusion as Fusion
    from svls_cli.raters.measuring import measure_cases as measure_cases
    from svls_cli.raters.report import AgreementReport as AgreementReport
    from svls_cli.report.report import report_cases as report_cases
    from svls_cli.soften.kernel import svls_kernel as svls_kernel
    from svls_cli.soften.methods import Method as Method
    from svls_cli.soften.volume import smooth as smooth
    from svls_cli.store.export import export_cases as export_cases
    from svls_cli.store.inspect import inspect_cases as inspect_cases
    from svls_cli.store.reader import Store as Store
    from svls_cli.store.reader import StoredCase as StoredCase
    from svls_cli.store.reader import open_store as open_store
    from svls_cli.training.predict import predict_cases as predict_cases
    from svls_cli.training.score import score_run as score_run
    from svls_cli.training.train import train as train
    from svls_cli.tuning.result import TuningResult as TuningResult
    from svls_cli.tuning.tune import tune_smoothing as tune_smoothing

# Imported at first use: `svls-cli --help` waits for neither NumPy nor Zarr.
_HOME = {
    "AgreementReport": "raters.report",
    "Batch": "batch.run",
    "Cluster": "batch.cluster",
    "Comparison": "comparison.result",
    "DicomFiles": "dicom.finding",
    "EvaluationReport": "evaluation.report",
    "Fusion": "raters.fusion",
    "LabelMapFiles": "labels.cases",
    "Method": "soften.methods",
    "Part": "batch.part",
    "Record": "batch.records",
    "Store": "store.reader",
    "StoredCase": "store.reader",
    "TuningResult": "tuning.result",
    "compare_methods": "comparison.compare",
    "evaluate_cases": "evaluation.evaluate",
    "export_cases": "store.export",
    "export_segmentations": "dicom.export",
    "find_cases": "labels.cases",
    "find_rated_cases": "labels.raters",
    "fuse_cases": "compiling.fuse",
    "inspect_cases": "store.inspect",
    "measure_cases": "raters.measuring",
    "nnunet_cases": "nnunet.nnunet",
    "open_store": "store.reader",
    "pair_images": "labels.scans",
    "parse_classes": "labels.class_files",
    "predict_cases": "training.predict",
    "report_cases": "report.report",
    "score_run": "training.score",
    "smooth": "soften.volume",
    "smooth_cases": "compiling.smooth",
    "svls_kernel": "soften.kernel",
    "train": "training.train",
    "tune_smoothing": "tuning.tune",
    "write_consensus": "compiling.consensus",
}

__all__ = [
    "InputError",
    "InvalidParameterError",
    "StoreError",
    "SvlsError",
    "__version__",
    *_HOME,
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
