"""`svls-cli nnunet`, and nnU-Net's own training, prediction and scores after it."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import blosc2
import numpy as np
import pytest
from nnunetv2.training.dataloading.nnunet_dataset import nnUNetDatasetBlosc2

import svls_cli.nnunet
from svls_cli import (
    Batch,
    InputError,
    InvalidParameterError,
    Method,
    Store,
    nnunet_cases,
)
from svls_cli.labels.class_files import ClassSpec
from svls_cli.nnunet.trainer import SoftLabelCases
from tests.helpers.commands import ROOT, SAMPLE, Run
from tests.helpers.nnunet import PLANS, NnunetFolders
from tests.helpers.stores import smoothed

ONE = Batch(jobs=1)
# Trainers of one epoch of two steps, as users write theirs.
SHORT = """
import torch
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from svls_cli.nnunet.trainer import nnUNetTrainerSVLS


class Short(nnUNetTrainerSVLS):
    def __init__(self, plans, configuration, fold, dataset_json, device):
        super().__init__(plans, configuration, fold, dataset_json, device)
        self.num_epochs = 1
        self.num_iterations_per_epoch = 2
        self.num_val_iterations_per_epoch = 1
"""


def soft_files(folders: NnunetFolders, configuration: str) -> dict[str, np.ndarray]:
    (base,) = folders.preprocessed.glob("Dataset901*")
    folder = base / f"nnUNetPlans_{configuration}_svls"
    return {path.stem: blosc2.open(str(path))[:] for path in folder.glob("*.b2nd")}


@pytest.fixture
def copy(
    nnunet: NnunetFolders, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """A copy of the preprocessed data set, to be changed."""
    (base,) = nnunet.preprocessed.glob("Dataset901*")
    target = tmp_path / "preprocessed" / base.name
    shutil.copytree(base, target, ignore=shutil.ignore_patterns("*_svls"))
    monkeypatch.setenv("nnUNet_preprocessed", str(target.parent))
    return target


def readme() -> list[str]:
    """The README's commands, with the plans and the trainer that take seconds."""
    text = (ROOT / "README.md").read_text("utf-8").split("## nnU-Net\n")[1]
    lines = text.split("```bash\n")[1].split("```")[0].splitlines()
    changes = {
        "nnUNetTrainerSVLS__nnUNetPlans__3d_fullres": f"Short__{PLANS}__2d",
        "3d_fullres": "2d",
        "nnUNetTrainerSVLS --npz": f"Short -p {PLANS} -device cpu --npz",
        "soft.zarr 901": f"soft.zarr 901 -p {PLANS}",
    }
    for old, new in changes.items():
        lines = [line.replace(old, new) for line in lines]
    return lines


def test_end_to_end(sample: NnunetFolders, tmp_path: Path) -> None:
    smooth, preprocess, ours, export, train, evaluate = readme()
    assert preprocess == "nnUNetv2_plan_and_preprocess -d 901"  # done by the fixture
    sample.shell(smooth, tmp_path)
    told = sample.shell(ours, tmp_path)
    assert "soft.zarr: 16 brought onto nnU-Net's grid" in told
    assert "no less than 100.00% of the foreground" in told
    trainers = Path(sample.shell(f"{export}; echo $nnUNet_extTrainer", tmp_path)[:-1])
    assert f"export nnUNet_extTrainer={trainers}\n" in told
    assert [path.name for path in trainers.glob("*.py")] == ["nnUNetTrainerSVLS.py"]
    assert f"nnUNetv2_train 901 3d_fullres 0 -p {PLANS} -tr nnUNetTrainerSVLS" in told
    again = sample.shell(f"{export}; {ours}", tmp_path)
    assert "16 already complete" in again
    assert "export" not in again

    (tmp_path / "short.py").write_text(SHORT)
    one = "export nnUNet_n_proc_DA=0"
    log = sample.shell(f"{export}:{tmp_path}; {one}; {train}", tmp_path)
    assert "nnUNetPlans_2d_svls (svls, sigma 1" in log
    (run,) = sample.results.glob(f"*/Short__{PLANS}__2d/fold_0")
    assert (run / "checkpoint_final.pth").is_file()

    told = sample.shell(f"{evaluate} --json", tmp_path)
    records = [json.loads(line) for line in told.splitlines()]
    scored = {r["case"]: r for r in records if r["status"] == "done"}
    summary = json.loads((run / "validation" / "summary.json").read_text())
    assert len(scored) == len(summary["metric_per_case"]) == 2
    for case in summary["metric_per_case"]:
        name = Path(case["prediction_file"]).name.removesuffix(".nii.gz")
        mine = {str(c["value"]): c["dice"] for c in scored[name]["classes"]}
        for value, theirs in case["metrics"].items():
            assert mine[value] == pytest.approx(theirs["Dice"], abs=1e-6)


def test_every_configuration_gets_the_cases(
    nnunet: NnunetFolders, sample_store: Store
) -> None:
    (base,) = nnunet.preprocessed.glob("Dataset901*")
    for folder in base.glob("*_svls"):
        shutil.rmtree(folder)
    bridged = nnunet_cases(sample_store.path, "901", batch=ONE)
    assert bridged.configurations == ("2d", "3d_fullres")
    assert [record.status for record in bridged.records] == ["done"] * 16
    assert min(bridged.agreements) == 1
    for configuration in bridged.configurations:
        soft = soft_files(nnunet, configuration)
        assert sorted(soft) == sorted(sample_store)
        for name, values in soft.items():
            assert values.dtype == np.uint8
            assert (values.sum(axis=0) == 255).all()
            labels = blosc2.open(
                str(base / f"nnUNetPlans_{configuration}" / f"{name}_seg.b2nd")
            )
            assert (values.argmax(axis=0) == np.maximum(labels[:][0], 0)).all()
    again = nnunet_cases(sample_store.path, "Dataset901_Sample", batch=ONE)
    assert {record.status for record in again.records} == {"skipped"}


def test_a_store_of_other_parameters_takes_overwrite(
    copy: Path, sample_store: Store, tmp_path: Path
) -> None:
    options = {"configurations": ["2d"], "batch": ONE}
    nnunet_cases(sample_store.path, "901", **options)
    classes = ClassSpec(sample_store.classes)
    same = smoothed(SAMPLE / "labels", tmp_path / "x.zarr", classes=classes)
    again = nnunet_cases(same.path, "901", **options).records
    assert {record.status for record in again} == {"skipped"}
    method = Method(strength=0.3)
    other = smoothed(SAMPLE / "labels", tmp_path / "y.zarr", method=method)
    with pytest.raises(InputError, match=r"strength 0\.5.*strength 0\.3.*--overwrite"):
        nnunet_cases(other.path, "901", **options)
    anew = nnunet_cases(other.path, "901", overwrite=True, **options).records
    assert {record.status for record in anew} == {"done"}


@pytest.mark.parametrize("harm", ["cut", "changed", "of another array"])
def test_a_damaged_file_is_made_again(
    copy: Path, sample_store: Store, harm: str
) -> None:
    options = {"configurations": ["2d"], "batch": ONE}
    nnunet_cases(sample_store.path, "901", **options)
    folder = copy / "nnUNetPlans_2d_svls"
    path = folder / "case_01.b2nd"
    content = path.read_bytes()
    half = len(content) // 2
    if harm == "cut":
        path.write_bytes(content[:100])
    elif harm == "changed":
        path.write_bytes(content[:half] + bytes(200) + content[half + 200 :])
    else:
        blosc2.asarray(np.zeros((4, 3, 3, 3), np.uint8), urlpath=str(path), mode="w")
    records = nnunet_cases(sample_store.path, "901", **options).records
    assert [r.case for r in records if r.status == "done"] == ["case_01"]
    assert path.read_bytes() == content


def test_a_case_that_does_not_fit_is_named_and_not_written(
    copy: Path, sample_store: Store, tmp_path: Path
) -> None:
    labels = tmp_path / "labels"
    shutil.copytree(SAMPLE / "labels", labels)
    shutil.copy(labels / "case_02.nii.gz", labels / "case_01.nii.gz")  # another's
    (labels / "case_03.nii.gz").unlink()
    store = smoothed(labels, tmp_path / "other.zarr")
    options = {"configurations": ["3d_fullres"], "batch": ONE}
    nnunet_cases(sample_store.path, "901", **options)  # the right ones
    records = {r.case: r for r in nnunet_cases(store.path, "901", **options).records}
    failed = {name: r.reason for name, r in records.items() if r.status == "failed"}
    assert sorted(failed) == ["case_01", "case_03"]
    assert "other labels, of another case" in failed["case_01"]
    assert "other.zarr: has no case of this name" in failed["case_03"]
    written = {path.stem for path in (copy / "nnUNetPlans_3d_fullres_svls").iterdir()}
    assert written == set(records) - set(failed)


def edit(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


@pytest.mark.parametrize(
    ("arguments", "error", "named"),
    [
        (("902",), InvalidParameterError, "no data set 902; there are Dataset901"),
        (
            ("901", "other"),
            InvalidParameterError,
            "no plans 'other'; there are nnUNetPlans",
        ),
        (
            ("901", "nnUNetPlans", ["3d"]),
            InvalidParameterError,
            "no configuration 3d; there are 2d",
        ),
        (
            ("901", "nnUNetPlans", ["3d_cascade_fullres"]),
            InvalidParameterError,
            "second stage of a cascade",
        ),
    ],
)
def test_what_nnunet_does_not_have_is_named(
    copy: Path,
    sample_store: Store,
    arguments: tuple[Any, ...],
    error: type[Exception],
    named: str,
) -> None:
    cascade = {"previous_stage": "3d_fullres", "inherits_from": "3d_fullres"}
    edit(
        copy / "nnUNetPlans.json",
        lambda plans: plans["configurations"].update(
            {"3d_cascade_fullres": {**cascade, "data_identifier": "cascade"}}
        ),
    )
    dataset, plans, configurations = (*arguments, "nnUNetPlans", ())[:3]
    if len(arguments) == 2:
        configurations = ()
    with pytest.raises(error, match=named):
        nnunet_cases(
            sample_store.path,
            dataset,
            plans=plans,
            configurations=configurations,
            batch=ONE,
        )


def test_configurations_that_are_not_preprocessed(
    copy: Path, sample_store: Store
) -> None:
    shutil.rmtree(copy / "nnUNetPlans_2d")
    with pytest.raises(InvalidParameterError, match="nnUNetv2_preprocess -d 901"):
        nnunet_cases(sample_store.path, "901", configurations=["2d"], batch=ONE)
    assert nnunet_cases(sample_store.path, "901", batch=ONE).configurations == (
        "3d_fullres",
    )


def test_damaged_files_of_nnunet_are_named(copy: Path, sample_store: Store) -> None:
    folder = copy / "nnUNetPlans_2d"
    (folder / "case_01.pkl").write_bytes(b"no pickle")
    (folder / "case_02_seg.b2nd").write_bytes(b"no array")
    options = {"configurations": ["2d"], "batch": ONE}
    records = nnunet_cases(sample_store.path, "901", **options).records
    failed = {r.case: r.reason or "" for r in records if r.status == "failed"}
    assert sorted(failed) == ["case_01", "case_02"]
    assert all("preprocessed case cannot be read" in why for why in failed.values())
    (folder / "notes.txt").write_text("by hand")
    with pytest.raises(InputError, match="or other files"):
        nnunet_cases(sample_store.path, "901", **options)
    (copy / "nnUNetPlans.json").write_text("{")
    with pytest.raises(InputError, match=r"nnUNetPlans\.json cannot be read"):
        nnunet_cases(sample_store.path, "901", **options)


@pytest.mark.parametrize(
    ("labels", "error", "named"),
    [
        (
            {"background": 0, "organ": [1, 2], "vessel": 2, "lesion": 3},
            InvalidParameterError,
            "regions",
        ),
        ({"background": 0, "organ": 1, "vessel": 2}, InputError, "label values 3"),
        (
            {"background": 0, "organ": 1, "vessel": 2, "lesion": 3, "ignore": 4},
            InputError,
            "ignore label is None",
        ),
    ],
)
def test_other_classes_are_refused(
    copy: Path,
    sample_store: Store,
    labels: dict[str, Any],
    error: type[Exception],
    named: str,
) -> None:
    edit(copy / "dataset.json", lambda content: content.update(labels=labels))
    with pytest.raises(error, match=named):
        nnunet_cases(sample_store.path, "901", batch=ONE)


def test_nnunet_preprocessed_must_be_set(
    sample_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("nnUNet_preprocessed", raising=False)
    with pytest.raises(InvalidParameterError, match="nnUNet_preprocessed is not set"):
        nnunet_cases(sample_store.path, "901")


def test_a_class_that_no_label_map_has_is_empty(
    copy: Path, sample_store: Store
) -> None:
    edit(
        copy / "dataset.json",
        lambda content: content["labels"].update(rare=4),
    )
    bridged = nnunet_cases(sample_store.path, "901", configurations=["2d"], batch=ONE)
    assert {record.status for record in bridged.records} == {"done"}
    path = copy / "nnUNetPlans_2d_svls" / "case_01.b2nd"
    assert not blosc2.open(str(path))[4].any()


def test_the_trainer_refuses_soft_labels_that_are_not_right(
    copy: Path, sample_store: Store, tmp_path: Path
) -> None:
    nnunet_cases(sample_store.path, "901", configurations=["2d"], batch=ONE)
    stock = nnUNetDatasetBlosc2(str(copy / "nnUNetPlans_2d"))
    folder = copy / "nnUNetPlans_2d_svls"
    assert SoftLabelCases(stock, folder).store.startswith("svls, sigma 1")
    _, both, _, _ = SoftLabelCases(stock, folder).load_case("case_01")
    patch = both[:, 2:4, 10:20, 5:9]
    assert patch.shape == (5, 2, 10, 4)
    assert patch.dtype == np.int16
    assert (patch[1:].sum(axis=0) == 255).all()

    labels = copy / "nnUNetPlans_2d" / "case_03_seg.b2nd"
    shutil.copy(copy / "nnUNetPlans_2d" / "case_04_seg.b2nd", labels)
    with pytest.raises(InputError, match=r"older label maps for 1 of 8 .*case_03"):
        SoftLabelCases(stock, folder)
    shutil.copy(copy / "nnUNetPlans_3d_fullres" / "case_03_seg.b2nd", labels)
    onehot = smoothed(SAMPLE / "labels", tmp_path / "o.zarr", method=Method("onehot"))
    kept = tmp_path / "kept"
    shutil.copytree(folder, kept)
    options = {"configurations": ["2d"], "batch": ONE, "overwrite": True}
    nnunet_cases(onehot.path, "901", **options)
    shutil.copy(folder / "case_05.b2nd", kept / "case_05.b2nd")
    shutil.copy(folder / "case_03.b2nd", kept / "case_03.b2nd")
    with pytest.raises(InputError, match=r"another store for 2 .*case_03.*case_05"):
        SoftLabelCases(stock, kept)
    (folder / "case_02.b2nd").unlink()
    with pytest.raises(InputError, match=r"no soft labels for 1 of 8 cases.*case_02"):
        SoftLabelCases(stock, folder)


def test_the_command_says_what_is_missing(
    run: Run, sample_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("nnUNet_preprocessed", raising=False)
    told = run("nnunet", sample_store.path, "901", code=2)
    assert "nnUNet_preprocessed is not set" in told.stderr
    assert Path(svls_cli.nnunet.__path__[0], "trainers").is_dir()
