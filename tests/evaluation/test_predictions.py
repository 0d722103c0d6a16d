"""Predictions as nnU-Net saves them, beside the same ones in a store."""

import json
import pickle
from pathlib import Path

import nibabel
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from svls_cli import Batch, InputError, StoreError, evaluate_cases, parse_classes
from svls_cli.evaluation.predictions import find_predictions
from tests.helpers.label_maps import LabelMap, blobs, write_image
from tests.helpers.stores import smoothed

ONE = Batch(jobs=1)
LABELS = {"background": 0, "a": 1, "b": 2}


def saved(
    folder: Path, probabilities: dict[str, np.ndarray], *, labels: object = LABELS
) -> Path:
    """A folder as nnU-Net writes it with `--save_probabilities`."""
    folder.mkdir(exist_ok=True)
    (folder / "dataset.json").write_text(json.dumps({"labels": labels}))
    for name, values in probabilities.items():
        shape = values.shape[1:]
        as_slices = values if len(shape) == 3 else values[:, np.newaxis]
        np.savez_compressed(folder / f"{name}.npz", probabilities=as_slices)
        write_image(folder / f"{name}.nii.gz", values.argmax(axis=0).astype(np.uint8))
        (folder / f"{name}.pkl").write_bytes(pickle.dumps({"spacing": [1, 1, 1]}))
    return folder


@pytest.mark.parametrize("shape", [(8, 12, 10), (12, 10)])
@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_scores_are_those_of_a_store(
    tmp_path: Path, shape: tuple[int, ...], dtype: str
) -> None:
    references = tmp_path / "labels"
    references.mkdir()
    maps: dict[str, LabelMap] = {}
    for seed, name in enumerate("xy"):
        maps[name] = blobs(shape, 3, seed=seed)
        write_image(references / f"{name}.nii.gz", np.roll(maps[name], 1, axis=-1))
        write_image(tmp_path / f"{name}.nii.gz", maps[name])
    files = [tmp_path / f"{name}.nii.gz" for name in maps]
    named = saved(tmp_path / "predicted", {}) / "dataset.json"
    classes = parse_classes(str(named))
    store = smoothed(files, tmp_path / "s.zarr", dtype=dtype, classes=classes)
    soft = {name: store[name].patch() for name in maps}
    folder = saved(tmp_path / "predicted", soft)
    for name, values in maps.items():  # ties go to the own class in a store
        write_image(folder / f"{name}.nii.gz", values)
    options = {"tolerance_mm": 1.0, "batch": ONE}
    theirs = evaluate_cases(folder, references, **options).to_json()
    ours = evaluate_cases(store.path, references, **options).to_json()
    assert theirs["summary"] == ours["summary"]
    assert theirs["classes"] == ours["classes"]


def test_classes_lie_in_the_trainer_s_folder_of_a_validation(tmp_path: Path) -> None:
    trainer = tmp_path / "nnUNetTrainer__nnUNetPlans__2d"
    folder = trainer / "fold_0" / "validation"
    folder.mkdir(parents=True)
    saved(folder, {"x": np.eye(3, dtype=np.float32).reshape(3, 1, 3, 1)})
    (folder / "dataset.json").rename(trainer / "dataset.json")
    assert [c.name for c in find_predictions(folder).classes.classes] == [*LABELS]
    (trainer / "dataset.json").unlink()
    with pytest.raises(InputError, match=r"no dataset\.json"):
        find_predictions(folder)


def test_regions_have_no_probabilities_of_classes(tmp_path: Path) -> None:
    regions = {"background": 0, "whole": [1, 2], "b": 2}
    folder = saved(tmp_path / "p", {"x": np.ones((3, 2, 2), "f4")}, labels=regions)
    with pytest.raises(InputError, match="region"):
        find_predictions(folder)


@pytest.mark.parametrize("seed", range(4))
def test_probabilities_of_reorienting_readers(tmp_path: Path, seed: int) -> None:
    """Nibabel's order of RAS, transposed, as nnU-Net's reader has it."""
    labels = blobs((5, 7, 6), 3, seed=seed)
    rng = np.random.default_rng(seed)
    axes = np.eye(3)[rng.permutation(3)] * rng.choice([-1, 1], 3)
    tilted = Rotation.from_euler("xyz", [10, -20, 15], degrees=True).as_matrix() @ axes
    folder, references = tmp_path / "p", tmp_path / "labels"
    direction = tilted.ravel().tolist()
    for each in (folder, references):
        write_image(each / "x.nii.gz", labels, direction=direction)
    (folder / "dataset.json").write_text(json.dumps({"labels": LABELS}))
    image = nibabel.load(folder / "x.nii.gz")
    seen = np.asarray(nibabel.as_closest_canonical(image).dataobj).transpose(2, 1, 0)
    onehot = (seen == np.arange(3).reshape(3, 1, 1, 1)).astype(np.float32)
    np.savez(folder / "x.npz", probabilities=onehot)
    report = evaluate_cases(folder, references, batch=ONE)
    assert report.failed == ()
    assert report.overlaps["dice"].mean == 1


def test_predictions_without_probabilities_are_named(tmp_path: Path) -> None:
    (tmp_path / "summary.json").write_text("{}")
    with pytest.raises(InputError, match="--save_probabilities"):
        find_predictions(tmp_path)


def test_a_folder_without_predictions_is_no_store(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="not a Zarr v3 group"):
        find_predictions(tmp_path)


def damage(folder: Path, what: str) -> None:
    """Spoil case x."""
    path = folder / "x.npz"
    values = np.load(path)["probabilities"]
    if what == "cut":
        path.write_bytes(path.read_bytes()[:-40])
    elif what == "pickled":
        np.savez(path, probabilities=np.array([{"a": 1}], dtype=object))
    elif what == "shape":
        np.savez(path, probabilities=values[:, 1:])
    elif what == "name":
        np.savez(path, softmax=values)
    elif what == "integers":
        np.savez(path, probabilities=(255 * values).astype(np.uint8))
    elif what == "flipped":
        np.savez(path, probabilities=values[..., ::-1])
    else:
        (folder / "x.nii.gz").unlink()


@pytest.mark.parametrize(
    ("what", "named"),
    [
        ("cut", "cannot be read"),
        ("pickled", "of type object"),
        ("shape", "expected (3, 6, 7, 5)"),
        ("name", "probabilities.npy"),
        ("integers", "of type uint8"),
        ("flipped", "in RAS: it is another"),
        ("labels", "no label map beside x.npz"),
    ],
)
def test_a_damaged_case_fails_alone(tmp_path: Path, what: str, named: str) -> None:
    maps = {name: blobs((6, 7, 5), 3, seed=at) for at, name in enumerate("xy")}
    classes = np.arange(3).reshape(3, 1, 1, 1)
    soft = {name: (v == classes).astype(np.float32) for name, v in maps.items()}
    folder, references = saved(tmp_path / "p", soft), tmp_path / "labels"
    references.mkdir()
    for name, values in maps.items():
        write_image(references / f"{name}.nii.gz", values)
    damage(folder, what)
    report = evaluate_cases(folder, references, batch=ONE)
    (failed,) = report.failed
    assert failed.case == "x"
    assert named in (failed.reason or "")
    assert len(report.scores) == 1
