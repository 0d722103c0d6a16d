"""`svls-cli predict`: a network's probabilities as a store."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
import torch

from svls_cli import evaluate_cases, open_store, predict_cases, train
from svls_cli.errors import InputError, InvalidParameterError, StoreError
from svls_cli.store.verify import verify_case
from svls_cli.training import TrainingConfig
from svls_cli.training.checkpoint import Checkpoint
from svls_cli.training.image_cache import Scaling
from svls_cli.training.network import planned_network
from svls_cli.training.predictor import Predictor
from tests.helpers.commands import SAMPLE, Run, records, tree
from tests.helpers.label_maps import blobs, write_image
from tests.helpers.stores import edit_svls, reseal, smoothed

Predict = Callable[..., Path]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose network knows something: boundaries of the organ, at least."""
    folder = tmp_path_factory.mktemp("run")
    smoothed(SAMPLE / "labels", folder / "a.zarr")
    config = TrainingConfig(
        patch_size=(8, 32, 32),
        epochs=1,
        steps_per_epoch=60,
        filters=4,
        learning_rate=1e-2,
        validation="0",
    )
    train(folder / "a.zarr", SAMPLE / "images", folder / "run", config=config)
    return folder / "run"


def predictor(run: Path, **more: Any) -> Predictor:
    settings = {"device": "cpu", "overlap": 0.5, "batch_size": 1, **more}
    return Predictor.load(run / "last.pt", **settings)


def test_command(trained: Path, tmp_path: Path, run: Run, installed: Run) -> None:
    images = [SAMPLE / "images" / name for name in ("case_01.nii.gz", "case_04.nrrd")]
    result = installed("predict", trained, *images, "pred.zarr")
    assert result.stdout.startswith("pred.zarr: 2 predicted (")
    assert result.stderr == ""
    store = open_store(tmp_path / "pred.zarr")
    labels = open_store(trained.parent / "a.zarr")
    assert sorted(store) == ["case_01", "case_04"]
    for name, case in store.items():
        assert verify_case(case) == []
        assert case.geometry.difference(labels[name].geometry) == ""
        assert case.classes == labels.classes
        hard = case.classes.values[case.patch().argmax(axis=0)]
        np.testing.assert_array_equal(case.label_patch("hard"), hard)
    given = ("pred.zarr", "--reference", SAMPLE / "labels")
    scores = installed("evaluate", *given, "--json")
    dice = records(scores.stdout)["case_01"]["classes"][0]["dice"]
    assert dice > 0.5  # of the organ
    before = tree(tmp_path / "pred.zarr")
    again = records(run("predict", trained, *images, "pred.zarr", "--json").stdout)
    assert {record["status"] for record in again.values()} == {"skipped"}
    assert tree(tmp_path / "pred.zarr") == before
    run("export", "pred.zarr", "case_01", "out/")
    assert len(list((tmp_path / "out").iterdir())) == 4


def test_only_some_cases(trained: Path, tmp_path: Path, run: Run) -> None:
    loaded = Checkpoint.load(trained / "last.pt")
    plan = replace(loaded.plan, validation=("case_02", "case_07"))
    replace(loaded, state=replace(loaded.state, plan=plan)).save(tmp_path / "last.pt")
    images = SAMPLE / "images"
    run("predict", ".", "--cases", "validation", images, "held.zarr")
    assert sorted(open_store(tmp_path / "held.zarr")) == ["case_02", "case_07"]
    (tmp_path / "names.txt").write_text("case_07\n\ncase_01\n")
    run("predict", ".", "--cases", "names.txt", images, "named.zarr")
    assert sorted(open_store(tmp_path / "named.zarr")) == ["case_01", "case_07"]
    predict_cases(tmp_path, images, tmp_path / "a.zarr", cases=["case_04"])
    assert sorted(open_store(tmp_path / "a.zarr")) == ["case_04"]
    one, out = images / "case_02.nii.gz", tmp_path / "b.zarr"
    with pytest.raises(InputError, match="no image for 1 of 2 cases: case_07; there"):
        predict_cases(tmp_path, one, out, cases="validation")
    with pytest.raises(InvalidParameterError, match="'x' is neither 'validation' nor"):
        predict_cases(tmp_path, one, out, cases="x")
    with pytest.raises(InputError, match="the run held out none"):
        predict_cases(trained, one, out, cases="validation")
    assert not out.exists()


def test_records_on_standard_input(trained: Path, tmp_path: Path, run: Run) -> None:
    image = str(SAMPLE / "images" / "case_01.nii.gz")
    lines = [json.dumps({"case": "patient 7", "image": image}), image]
    run("predict", trained, "-", "p.zarr", input="\n".join(lines))
    assert sorted(open_store(tmp_path / "p.zarr")) == ["case_01", "patient 7"]
    # The order of the channels is what whoever lists them says.
    loaded = Checkpoint.load(trained / "last.pt")
    plan = replace(loaded.plan, channels=("t1", "t2"))
    network = planned_network(plan).state_dict()
    state = replace(loaded.state, plan=plan)
    replace(loaded, state=state, network=network).save(tmp_path / "last.pt")
    both = json.dumps({"case": "b", "images": [image, image]})
    [record] = predict_cases(tmp_path, "-", tmp_path / "q.zarr", lines=[both])
    assert (record.case, record.status) == ("b", "done")


def test_cases_that_were_trained_on_are_told(
    tmp_path: Path, run: Run, caplog: pytest.LogCaptureFixture
) -> None:
    images, labels = SAMPLE / "images", SAMPLE / "labels"
    config = TrainingConfig(
        patch_size=(8, 16, 16), epochs=1, steps_per_epoch=1, filters=4, validation="0.4"
    )
    smoothed(labels, tmp_path / "a.zarr")
    train(tmp_path / "a.zarr", images, tmp_path / "run", config=config)
    held = (tmp_path / "run" / "validation.txt").read_text().split()
    # Known by their voxels: under another name, in another format, and not another
    # image of the name.
    known = sorted({path.name[:7] for path in images.iterdir()} - {*held})
    assert (len(known), len(held)) == (5, 3)
    other, *same = known
    scans = {path.name[:7]: path for path in images.iterdir()}
    mine = tmp_path / "mine"
    write_image(mine / f"{other}.nrrd", blobs((20, 56, 60), 3).astype(np.float32))
    for name in (*same, *held):
        shutil.copy(scans[name], mine)
    image = sitk.Cast(sitk.ReadImage(str(scans[other])), sitk.sitkFloat64)
    sitk.WriteImage(image, str(mine / "renamed.nii"))
    predict_cases(tmp_path / "run", mine, tmp_path / "p.zarr")
    stored = open_store(tmp_path / "p.zarr")
    found = {name for name, case in stored.items() if case.attributes["trained_on"]}
    assert found == {*same, "renamed"}
    given = ("--reference", labels, "--report", "r.json")
    result = run("evaluate", "p.zarr", *given, code=4)  # one lies elsewhere
    warning = f"4 of 8 cases were trained on, and say little of new ones: {same[0]}, "
    assert result.stderr.count(warning) == 1
    report = json.loads((tmp_path / "r.json").read_text())
    assert report["summary"]["trained_on"] == 4
    marked = [case["case"] for case in report["cases"] if case.get("trained_on")]
    assert marked == same
    # Old stores and old runs do not tell.
    edit_svls(tmp_path / "p.zarr" / same[0], lambda svls: svls.pop("trained_on"))
    reseal(tmp_path / "p.zarr" / same[0])
    evaluate_cases(tmp_path / "p.zarr", labels)
    assert "3 of 8 cases were trained on" in caplog.text
    loaded = Checkpoint.load(tmp_path / "run" / "last.pt")
    plan = replace(loaded.plan, train_voxels=frozenset())
    replace(loaded, state=replace(loaded.state, plan=plan)).save(tmp_path / "last.pt")
    predict_cases(tmp_path, scans[held[0]], tmp_path / "q.zarr")
    assert "trained_on" not in open_store(tmp_path / "q.zarr")[held[0]].attributes


def test_one_window_is_the_network_itself(trained: Path) -> None:
    given = predictor(trained)
    voxels = np.random.default_rng(0).integers(0, 99, (1, *given.plan.patch_size))
    scaled = torch.from_numpy(Scaling.of(voxels).apply(voxels))[None]
    with torch.no_grad():
        expected = torch.softmax(given.network(scaled), dim=1)[0].numpy()
    np.testing.assert_allclose(given.probabilities(voxels), expected, atol=1e-6)


@pytest.mark.parametrize("shape", [(20, 56, 60), (3, 20, 40), (8, 33, 31)])
def test_probabilities_sum_to_one(trained: Path, shape: tuple[int, ...]) -> None:
    voxels = np.random.default_rng(0).normal(size=(1, *shape))
    for batch_size in (1, 3):
        found = predictor(trained, batch_size=batch_size).probabilities(voxels)
        assert found.shape == (4, *shape)
        np.testing.assert_allclose(found.sum(axis=0), 1, atol=1e-5)


@pytest.mark.parametrize("dtype", ["uint16", "float32"])
def test_types(dtype: str, trained: Path, tmp_path: Path) -> None:
    image = SAMPLE / "images" / "case_01.nii.gz"
    for kind in ("uint8", dtype):
        [record] = predict_cases(trained, image, tmp_path / f"{kind}.zarr", dtype=kind)
        assert record.status == "done", record.reason
    coarse, fine = (open_store(tmp_path / f"{k}.zarr") for k in ("uint8", dtype))
    difference = coarse["case_01"].probabilities() - fine["case_01"].probabilities()
    assert np.abs(difference).max() < 1 / 255


def test_images_that_cannot_be_used(trained: Path, tmp_path: Path, run: Run) -> None:
    scan = blobs((20, 56, 60), 3).astype(np.float32)
    write_image(tmp_path / "images" / "good.nrrd", scan)
    write_image(tmp_path / "images" / "slice.nrrd", scan[0])
    scan[1, 2, 3] = np.nan
    write_image(tmp_path / "images" / "nan.nrrd", scan)
    (tmp_path / "images" / "broken.nii.gz").write_bytes(b"nothing")
    result = run("predict", trained, "images", "pred.zarr", "--json", code=4)
    found = records(result.stdout)
    assert found["good"]["status"] == "done"
    reasons = {name: record["reason"] for name, record in found.items()}
    assert "nan at voxel (1, 2, 3)" in reasons["nan"]
    assert "1 channels of 2 axes; the network was trained on 1 of 3" in reasons["slice"]
    assert "gzip" in reasons["broken"]
    assert sorted(open_store(tmp_path / "pred.zarr")) == ["good"]
    result = run("predict", trained, "images/broken.nii.gz", "none.zarr", code=4)
    assert result.stdout == "none.zarr: 0 predicted (0 B), 1 failed\n"


def test_a_missing_channel_is_told(trained: Path, tmp_path: Path) -> None:
    loaded = Checkpoint.load(trained / "last.pt")
    plan = replace(loaded.plan, channels=("0000", "0001"))
    network = planned_network(plan).state_dict()
    other = replace(loaded, state=replace(loaded.state, plan=plan), network=network)
    other.save(tmp_path / "last.pt")
    scan, spacing = blobs((8, 32, 32), 3), (1, 1, 3)
    for name in ("a_0000", "a_0001", "b_0000", "c_0000", "c_0002"):
        write_image(tmp_path / "images" / f"{name}.nrrd", scan, spacing=spacing)
    found = predict_cases(tmp_path, tmp_path / "images", tmp_path / "a.zarr")
    assert {record.case: record.reason for record in found} == {
        "a": None,
        "b": "1 channels; the network was trained on 2",
        "c": "channels 0000, 0002; the network was trained on 0000, 0001",
    }


def test_other_spacing_is_told(trained: Path, tmp_path: Path, run: Run) -> None:
    scan = blobs((8, 32, 32), 3)
    write_image(tmp_path / "images" / "same.nrrd", scan, spacing=(1, 1, 2.5))
    write_image(tmp_path / "images" / "thick.nrrd", scan, spacing=(1, 1, 8))
    result = run("predict", trained, "images", "pred.zarr")
    assert result.stdout.startswith("pred.zarr: 2 predicted")
    trained_on = "the network was trained on 3 x 1 x 1 mm"
    note, advice = result.stderr.split(": resample the image to that with ")
    assert note == f"note: thick: voxels of 8 x 1 x 1 mm; {trained_on}"
    advised = "SimpleITK's Resample or MONAI's Spacing, and the prediction back\n"
    assert advice == advised


def test_other_weights_are_not_mixed_in(trained: Path, tmp_path: Path) -> None:
    image, out = SAMPLE / "images" / "case_01.nii.gz", tmp_path / "a.zarr"
    predict_cases(trained, image, out)
    before = tree(out)
    with pytest.raises(StoreError, match=r"overlap is 0\.5 in the store, 0\.25 now"):
        predict_cases(trained, image, out, overlap=0.25)
    assert tree(out) == before
    [record] = predict_cases(trained, image, out, overlap=0.25, overwrite=True)
    assert record.status == "done"
    assert tree(out) != before


def test_weights_of_another_network(trained: Path, tmp_path: Path) -> None:
    loaded = Checkpoint.load(trained / "last.pt")
    some = dict(list(loaded.network.items())[1:])
    replace(loaded, network=some).save(tmp_path / "last.pt")
    with pytest.raises(InputError, match="weights do not fit its plan"):
        predict_cases(tmp_path, SAMPLE / "images", tmp_path / "a.zarr")
    lost = {name: value * torch.nan for name, value in loaded.network.items()}
    replace(loaded, network=lost).save(tmp_path / "last.pt")
    image = SAMPLE / "images" / "case_01.nii.gz"
    [record] = predict_cases(tmp_path, image, tmp_path / "a.zarr")
    assert record.reason == "what the network predicts for it is no number"


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"overlap": 1}, InvalidParameterError, r"overlap must lie in \[0, 1\)"),
        ({"batch_size": 0}, InvalidParameterError, "batch_size must be at least 1"),
        ({"checkpoint": "best"}, InputError, r"best\.pt: no such checkpoint"),
        ({"run": SAMPLE}, InputError, r"last\.pt: no such checkpoint"),
    ],
)
def test_wrong_parameters(
    options: dict[str, Any],
    error: type[Exception],
    message: str,
    trained: Path,
    tmp_path: Path,
) -> None:
    given = {"run": trained, **options}
    given |= {"images": SAMPLE / "images", "out": tmp_path / "a.zarr"}
    with pytest.raises(error, match=message):
        predict_cases(**given)
    assert not (tmp_path / "a.zarr").exists()
