"""A report on a store: an index page, and a page for each case."""

from __future__ import annotations

import json
from collections.abc import Collection, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from svls_cli.batch.records import Outcome, Record
from svls_cli.batch.run import Batch, run_cases
from svls_cli.batch.version import __version__
from svls_cli.errors import InputError
from svls_cli.evaluation.evaluate_case import Measures
from svls_cli.evaluation.predictions import (
    PredictedCase,
    Predictions,
    find_predictions,
)
from svls_cli.labels.header import check_regular
from svls_cli.labels.scans import Scan, find_scans
from svls_cli.labels.values import listed
from svls_cli.report.case_page import MOST_SLICES, case_page, case_thumbnail
from svls_cli.report.folder import ReportFolder
from svls_cli.report.index_page import index_page
from svls_cli.report.reading import CaseToReport, read_case
from svls_cli.report.rendering import check_libraries
from svls_cli.report.shown import shown_slices
from svls_cli.report.summary import CaseSummary, measure_case
from svls_cli.store.export import folder_outside
from svls_cli.store.reader import Store, StoredCase, open_store


def report_cases(
    store: str | Path,
    prediction: str | Path | None = None,
    *,
    images: str | Path | Sequence[str | Path] = (),
    pattern: str | None = None,
    out: str | Path | None = None,
    batch: Batch | None = None,
) -> list[Record]:
    """Make pages on which people look at a store's cases.

    A page shows the slices where raters differ most, or where a prediction is wrong, or
    else those of the most entropy: contours of each rater and of the consensus, lines
    of equal probability, and the entropy; with a prediction its contours, errors and
    reliability. The index has every case, the worst first, with what looks wrong.

    Parameters
    ----------
    store
        A soft-label store.
    prediction
        Predictions of its cases, as `evaluate_cases` takes them.
    images
        Image files or folders of them, as in `find_scans`; a case may lack one.
    pattern
        Path of the images inside ``images``.
    out
        Folder for the pages; made if it does not exist. Default: `report_folder`.
    batch
        As in `smooth_cases`.

    Returns
    -------
    list of Record
        One per case, in the order in which they finish; incomplete and damaged ones
        have failed. A case is skipped if its page is there, made from the same.

    Raises
    ------
    InvalidParameterError
        If a library of the extra ``report`` is missing.
    InputError
        If ``out`` holds something else, the classes of the predictions are others, or
        no case has an image or a prediction.
    StoreError
        If a store is none that can be read.
    """
    check_libraries()
    batch, opened = batch or Batch(), open_store(store)
    folder = ReportFolder(folder_outside(opened, out or report_folder(store)))
    cases = _cases(opened, prediction, images, pattern)
    about = {
        "tool_version": __version__,
        # Without the folders that they lie in: pages are handed on.
        "store": _name(store),
        "prediction": None if prediction is None else _name(prediction),
    }
    folder.prepare(about)
    damaged = opened.incomplete()
    records = [Record.failure(name, damage) for name, damage in damaged.items()]
    for record in records:
        batch.on_record(record)
    if not (records and batch.fail_fast):
        work = CaseReporter(folder, opened.config.ignore_label)
        finished = run_cases(work, cases, batch, doing="report")
        records += [each.record for each in finished]
    own = [record for record in records if record.status != "failed"]
    page = index_page(
        [folder.summary(record.case) for record in own],
        [record for record in records if record.status == "failed"],
        config=opened.config,
        about=about,
    )
    folder.remove_others({case.name for case in cases} | damaged.keys())
    folder.write_index(page)
    return records


def report_folder(store: str | Path) -> Path:
    """Folder of a store's report, if no other is given: ``a-report`` beside a.zarr.

    Examples
    --------
    >>> report_folder("data/out.zarr").as_posix()
    'data/out-report'
    """
    beside = Path() if "://" in str(store) else Path(store).parent
    return beside / f"{_name(store).removesuffix('.zarr')}-report"


@dataclass(frozen=True)
class CaseReporter:
    """Makes the page of one case, in a worker process."""

    folder: ReportFolder
    ignore_label: int | None  # label value of the store that is none

    def __call__(self, source: CaseToReport) -> Outcome[CaseSummary]:
        """Read a case, measure and draw it, unless its page is there."""
        key, page = _key(source), str(self.folder.page(source.name))
        if self.folder.finished(source.name, key):
            return Outcome(page, skipped="already complete")
        content = read_case(source, ignore_label=self.ignore_label)
        measured = measure_case(content, Measures())
        shown = shown_slices(content, MOST_SLICES)
        size = self.folder.write(
            source.name,
            key,
            case_page(content, measured, shown),
            case_thumbnail(content, shown),
            measured.summary,
        )
        return Outcome(page, size)


def _name(path: str | Path) -> str:
    return str(path).rstrip("/").rpartition("/")[2]


def _cases(
    store: Store,
    prediction: str | Path | None,
    images: str | Path | Sequence[str | Path],
    pattern: str | None,
) -> list[CaseToReport]:
    cases = dict(store)
    predicted = None if prediction is None else find_predictions(prediction)
    if predicted is not None:
        _check_predictions(predicted, store, cases)
    scans: dict[str, Scan] = {}
    if images:
        scans = find_scans(images, pattern=pattern, wanted=cases)
        if not scans.keys() & cases:
            raise InputError(
                f"no case of {store.path} has an image: there are images of "
                f"{listed(sorted(scans), 3)}"
            )
    everyone = dict.fromkeys(rater for case in cases.values() for rater in case.raters)
    predictions: Mapping[str, PredictedCase] = {}
    if predicted is not None:
        predictions = predicted.cases
    notes = {
        "the network was trained on it": {
            name for name, p in predictions.items() if p.attributes.get("trained_on")
        },
        "no prediction": _lack(cases, predictions),
        "no image": _lack(cases, scans),
    }
    broken = {} if predicted is None else predicted.damaged
    return [
        CaseToReport(
            case,
            predictions.get(name),
            scans.get(name),
            tuple(rater for rater in everyone if rater not in case.raters),
            (f"prediction: {broken[name]}",)
            if name in broken
            else tuple(note for note, names in notes.items() if name in names),
        )
        for name, case in cases.items()
    ]


def _lack(cases: Collection[str], found: Container[str]) -> set[str]:
    """Cases that lack what more than half of them have."""
    without = {name for name in cases if name not in found}
    return without if 2 * len(without) < len(cases) else set()


def _check_predictions(
    predicted: Predictions, store: Store, cases: Iterable[str]
) -> None:
    mine, theirs = (
        table.values.tolist() for table in (store.classes, predicted.classes)
    )
    if mine != theirs:
        raise InputError(
            f"the classes differ: the label values of {store.path} are {listed(mine)}, "
            f"those of {predicted.location} are {listed(theirs)}"
        )
    if not predicted.cases.keys() & set(cases):
        raise InputError(
            f"no case of {store.path} has a prediction of the same name in "
            f"{predicted.location}"
        )


def _key(source: CaseToReport) -> str:
    """A digest of all that a case's page depends on."""
    parts: list[Any] = [
        __version__,
        _version_of(source.case),
        source.missing,
        source.notes,
    ]
    if isinstance(source.prediction, StoredCase):
        parts.append(_version_of(source.prediction))
    elif source.prediction is not None:
        parts.append(_files([source.prediction.path]))
    parts.append(None if source.scan is None else _files(source.scan.paths))
    return sha256(json.dumps(parts).encode()).hexdigest()


def _version_of(case: StoredCase) -> list[Any]:
    """What changes when a stored case does."""
    attributes = case.attributes
    made_from = [file["sha256"] for file in attributes["inputs"]]
    return [attributes["config_hash"], attributes.get("sha256"), made_from]


def _files(paths: Iterable[Path]) -> list[list[Any]]:
    """Path, size and time of files, which tell them from others without reading."""
    found = []
    for path in paths:
        check_regular(path)
        status = path.stat()
        found.append([str(path.absolute()), status.st_size, status.st_mtime_ns])
    return found
