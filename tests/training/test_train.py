"""`svls-cli train`: repeatable, resumed to the same weights, clear about bad input."""

import csv
import json
import os
import shutil
import signal
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from svls_cli import evaluate_cases, open_store, score_run, train
from svls_cli.cli.group import main
from svls_cli.cli.train import command
from svls_cli.errors import InputError, InvalidParameterError, StoreError
from svls_cli.labels.scans import Scan, find_images
from svls_cli.training import TrainingConfig
from svls_cli.training.augmentation import Augmentation
from svls_cli.training.checkpoint import Checkpoint
from svls_cli.training.config import read_toml
from svls_cli.training.epoch_log import EpochLog
from svls_cli.training.fingerprints import inputs_hash, voxels_hash
from svls_cli.training.memory import memory_bytes
from svls_cli.training.plan import Plan, plan_training
from svls_cli.training.run_folder import RunFolder
from svls_cli.training.run_state import RunState
from svls_cli.training.splitting import split_cases, write_names
from tests.helpers.commands import SAMPLE, Run, run_installed, start, tree
from tests.helpers.label_maps import blobs, write_image
from tests.helpers.stores import edit_svls, smoothed

SMALL = TrainingConfig(
    patch_size=(8, 16, 16), epochs=3, steps_per_epoch=3, filters=4, validation="0.25"
)
OPTIONS = ["--patch-size", "8,16,16", "--epochs", "3", "--steps-per-epoch", "3"]
OPTIONS += ["--filters", "4", "--validation", "0.25"]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("store") / "a.zarr"
    smoothed(SAMPLE / "labels", path)
    return path


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def undisturbed(
    store: Path, cache: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """Folder of a run that nothing disturbed."""
    out = tmp_path_factory.mktemp("run") / "run"
    logs = train(store, SAMPLE / "images", out, config=SMALL, cache=cache)
    assert [log.epoch for log in logs] == [1, 2, 3]
    return out


@pytest.fixture(scope="module")
def weights(undisturbed: Path) -> Any:
    return network_of(undisturbed)


def network_of(run: Path) -> Any:
    return Checkpoint.load(run / "last.pt").network


def equal(one: Any, other: Any) -> bool:
    same = [torch.equal(value, other[key]) for key, value in one.items()]
    return one.keys() == other.keys() and all(same)


@pytest.mark.slow
def test_learning(tmp_path: Path, store: Path, cache: Path) -> None:
    config = replace(SMALL, steps_per_epoch=60, learning_rate=1e-2, filters=8)
    out = tmp_path / "run"
    logs = train(store, SAMPLE / "images", out, config=config, cache=cache)
    # The least that cross-entropy can be is the entropy of the soft labels.
    assert logs[-1].loss < 0.9 * logs[0].loss
    assert logs[-1].validation_loss is not None
    assert logs[0].validation_loss is not None
    assert logs[-1].validation_loss < logs[0].validation_loss
    assert logs[-1].step == 180
    written = sorted(path.name for path in out.iterdir())
    expected = ["best.pt", "curves.png", "last.pt", "log.csv", "validation.txt"]
    assert written == expected
    rows = list(csv.DictReader((out / "log.csv").read_text().splitlines()))
    assert [float(row["loss"]) for row in rows] == [log.loss for log in logs]
    dice = [log.dice or 0 for log in logs]
    assert dice[-1] > dice[0] + 0.1
    best = Checkpoint.load(out / "best.pt")
    last_of_the_best = len(dice) - dice[::-1].index(max(dice))
    assert best.history[-1].epoch == last_of_the_best


def test_runs_repeat(tmp_path: Path, store: Path, cache: Path, weights: Any) -> None:
    train(store, SAMPLE / "images", tmp_path / "a", config=SMALL, cache=cache)
    assert equal(network_of(tmp_path / "a"), weights)
    other = replace(SMALL, seed=1)
    train(store, SAMPLE / "images", tmp_path / "b", config=other, cache=cache)
    assert not equal(network_of(tmp_path / "b"), weights)


class StopError(Exception):
    """Ends a run after its first epoch."""


def stop(log: EpochLog) -> None:
    raise StopError


@pytest.mark.parametrize("loaders", [0, pytest.param(2, marks=pytest.mark.slow)])
def test_resumed_runs_end_with_the_same_weights(
    loaders: int, tmp_path: Path, store: Path, cache: Path, weights: Any
) -> None:
    out = tmp_path / "run"
    given: dict[str, Any] = {"config": SMALL, "cache": cache, "loaders": loaders}
    with pytest.raises(StopError):
        train(store, SAMPLE / "images", out, on_epoch=stop, **given)
    rest = train(store, SAMPLE / "images", out, **given)
    assert [log.epoch for log in rest] == [2, 3]
    assert equal(network_of(out), weights)
    before = tree(out)
    assert train(store, SAMPLE / "images", out, **given) == []
    assert tree(out) == before


def test_what_a_killed_run_leaves_is_mended(
    tmp_path: Path, store: Path, cache: Path, weights: Any
) -> None:
    out = tmp_path / "run"
    (out / ".svls-abc").mkdir(parents=True)  # killed while it wrote its first files
    (out / "validation.txt").write_text("case_01")
    given: dict[str, Any] = {"config": SMALL, "cache": cache}
    train(store, SAMPLE / "images", out, **given)
    assert equal(network_of(out), weights)
    before = tree(out)
    last = Checkpoint.load(out / "last.pt")
    best_is_last = last.history[-1].dice == max(log.dice or 0 for log in last.history)
    lost = ("log.csv", "curves.png", "validation.txt", *["best.pt"] * best_is_last)
    for name in lost:
        (out / name).unlink()
    train(store, SAMPLE / "images", out, **given)
    after = tree(out)
    assert after.keys() == before.keys()
    assert {n for n in after if after[n] != before[n]} <= {"best.pt"}
    if best_is_last:
        assert equal(Checkpoint.load(out / "best.pt").network, last.network)


def test_overwriting_replaces_a_run_and_nothing_else(
    tmp_path: Path, store: Path, cache: Path
) -> None:
    out = tmp_path / "run"
    short = replace(SMALL, epochs=1)
    given: dict[str, Any] = {"cache": cache, "tensorboard": True}
    train(store, SAMPLE / "images", out, config=short, **given)
    given["overwrite"] = True
    (out / "notes.txt").write_text("mine")
    score_run(out, store, SAMPLE / "images")
    before = tree(out)
    assert {"best.pt", "validation.txt", "validation.zarr/zarr.json"} <= {*before}
    # Until the first epoch is done, the old run stays.
    broken = replace(short, learning_rate=1e30)
    with pytest.raises(InputError, match="the loss is no longer a finite number"):
        train(store, SAMPLE / "images", out, config=broken, **given)
    assert tree(out) == before
    other = replace(short, filters=5, validation="0")
    logs = train(store, SAMPLE / "images", out, config=other, **given)
    assert [log.epoch for log in logs] == [1]
    after = tree(out)
    assert Checkpoint.load(out / "last.pt").plan.config.filters == 5
    # There is no validation.
    assert not any(name.startswith(("best", "validation")) for name in after)
    with pytest.raises(InputError, match="the run held out none"):
        score_run(out, store, SAMPLE / "images")
    assert after["notes.txt"] == b"mine"
    events = [name for name in after if "tfevents" in name]
    assert len(events) == 1
    assert events[0] not in before
    # A checkpoint of something else is never replaced.
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    torch.save({"model": 1}, foreign / "last.pt")
    before = tree(foreign)
    with pytest.raises(InputError, match=r"last\.pt: damaged, or not a checkpoint"):
        train(store, SAMPLE / "images", foreign, config=short, overwrite=True)
    assert tree(foreign) == before


@pytest.mark.slow
@pytest.mark.parametrize("after_s", [0.0, 0.4, 0.9])
def test_killed_and_resumed(
    after_s: float, tmp_path: Path, store: Path, weights: Any, cache: Path
) -> None:
    """`kill -9` some time after the first checkpoint, in an epoch or between two."""
    out = tmp_path / "run"
    arguments = ["train", store, "--images", SAMPLE / "images", "--out", out]
    arguments += ["--cache", cache, *OPTIONS]
    process = start(*arguments, cwd=tmp_path)
    assert process.stdout is not None
    assert process.stdout.readline().startswith("epoch 1/3")
    time.sleep(after_s)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    run_installed(*arguments, cwd=tmp_path)
    assert equal(network_of(out), weights)


def test_command(tmp_path: Path, store: Path, run: Run, installed: Run) -> None:
    given = ("train", store, "--images", SAMPLE / "images", *OPTIONS)
    result = installed(*given, "--out", "run")
    lines = result.stdout.splitlines()
    assert result.stderr == ""
    assert lines[0].startswith("epoch 1/3  loss ")
    assert "validation" in lines[0]
    assert "Dice" in lines[0]
    assert (
        lines[3] == "run: trained on 6 cases; 2 held out, named in run/validation.txt"
    )
    assert lines[4].startswith("2 cases, 1 reference label map each: means over cases")
    assert lines[-1] == "next: svls-cli predict run IMAGES... OUT.zarr"
    assert not (tmp_path / "run" / "cache").exists()
    # Nothing is done again, and the scores are those of `evaluate`.
    before = tree(tmp_path / "run")
    [record] = map(
        json.loads, run(*given, "--out", "run", "--json").stdout.splitlines()
    )
    assert tree(tmp_path / "run") == before
    scored = evaluate_cases(tmp_path / "run" / "validation.zarr", store).to_json()
    assert record["validation"]["summary"] == scored["summary"]
    assert record["validation"]["summary"]["cases"] == 2
    assert len(record["validation"]["classes"]) == 3
    held = (tmp_path / "run" / "validation.txt").read_text().split()
    assert sorted(open_store(tmp_path / "run" / "validation.zarr")) == held
    listed = [*given, "--validation", "run/validation.txt", "--no-evaluate"]
    result = run(*listed, "--out", "again")
    assert (tmp_path / "again" / "validation.txt").read_text().split() == held
    assert not (tmp_path / "again" / "validation.zarr").exists()
    assert "Dice 0" not in result.stdout.splitlines()[-2]
    more = ("--json", "--validation", "0", "--tensorboard", "--cache", "cache")
    result = run(*given, "--out", "json", *more)
    records = [json.loads(line) for line in result.stdout.splitlines()]
    assert [record["step"] for record in records] == [3, 6, 9]
    assert records[0]["dice"] is None
    assert list((tmp_path / "json" / "tensorboard").iterdir())
    left_out = ("best.pt", "validation.txt", "validation.zarr")
    assert not any((tmp_path / "json" / name).exists() for name in left_out)
    assert len(list((tmp_path / "cache").glob("*.npy"))) == 8


def trained_by_file(text: str, *more: str, store: Path, cache: Path) -> Any:
    """The plan of a run with a configuration file."""
    folder = Path(tempfile.mkdtemp(dir=cache.parent))
    (folder / "a.toml").write_text(text)
    arguments = [store, "--images", SAMPLE / "images", "--out", folder / "run"]
    arguments += ["--cache", cache, "--config", folder / "a.toml", *more]
    given = list(map(str, arguments))
    result = CliRunner().invoke(command, given, catch_exceptions=False)
    assert result.exit_code == 0
    return Checkpoint.load(folder / "run" / "last.pt").plan


def test_parameters_of_a_file(store: Path, cache: Path) -> None:
    text = (
        "patch_size = [8, 16, 16]\nepochs = 2\nsteps_per_epoch = 1\nfilters = 4\n"
        'augment = false\nwindow = [-100, 200]\nvalidation = "1/4"\ntarget = "hard"\n'
    )
    found = trained_by_file(text, "--epochs", "1", store=store, cache=cache)
    assert found.config == TrainingConfig(
        patch_size=(8, 16, 16),
        epochs=1,
        steps_per_epoch=1,
        filters=4,
        augment=False,
        window=(-100, 200),
        validation="1/4",
        target="hard",
    )
    assert len(found.validation) == 2


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("epoch = 3", "unknown training parameters: epoch"),
        ("epochs = 0", "epochs must be from 1 to 1000000, found 0"),
        (f"filters = 1{99 * '0'}", "filters must be from 1 to 320, found 1"),
        (f"epochs = {5000 * '1'}", "a.toml: .*4300 digits"),
        (f"epochs = {100_000 * '['}{100_000 * ']'}", "a.toml: .*recursion"),
        ("epochs = 'many'", "epochs is of the wrong type: 'many'"),
        ("batch_size = 2.7", r"batch_size is of the wrong type: 2\.7"),
        ("augment = 1", "augment is of the wrong type: 1"),
        ("patch_size = [8.5, 8, 8]", "patch_size is of the wrong type"),
        ("window = ['a', 'b']", "window is of the wrong type"),
        ("epochs", "a.toml: "),
    ],
)
def test_files_that_hold_no_parameters(text: str, reason: str, tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text(text)
    with pytest.raises(InvalidParameterError, match=reason):
        read_toml(tmp_path / "a.toml")
    with pytest.raises(InvalidParameterError, match=r"none\.toml"):
        read_toml(tmp_path / "none.toml")


def test_a_share_in_a_file_is_a_number(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text("validation = 0.25")
    assert read_toml(tmp_path / "a.toml") == {"validation": "0.25"}


def test_files_from_windows(tmp_path: Path) -> None:
    parameters, names = tmp_path / "a.toml", tmp_path / "names.txt"
    parameters.write_bytes(b"\xef\xbb\xbfepochs = 3\r\nfilters = 8\r\n")
    assert read_toml(parameters) == {"epochs": 3, "filters": 8}
    names.write_bytes(b"\xef\xbb\xbfa\r\nb\r\n")
    assert split_cases(["a", "b", "c"], str(names), seed=0) == (["c"], ["a", "b"])


@pytest.mark.parametrize("given", [["--patch-size", "16"], []])
def test_one_number_is_the_patch_size_of_every_axis(
    given: list[str], store: Path, cache: Path
) -> None:
    text = "patch_size = 16\nepochs = 1\nfilters = 4\nsteps_per_epoch = 1\n"
    plan = trained_by_file(text, *given, store=store, cache=cache)
    assert plan.patch_size == (16, 16, 16)


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        ({"target": "best"}, "target must be one of soft, hard, rater"),
        ({"batch_size": 0}, "batch_size must be from 1 to 1024"),
        ({"learning_rate": 0.0}, "learning_rate must be above 0"),
        ({"weight_decay": -1.0}, "weight_decay must be at least 0"),
        ({"foreground_share": 1.5}, r"foreground_share must be in \[0, 1\]"),
        ({"foreground_share": 0.9}, "more than all patches: 0.9"),
        ({"patch_size": (8,)}, "patch_size must be one number, or 2 or 3, one"),
        ({"patch_size": 3}, "one of them at least 4, found 3"),
        ({"patch_size": (1, 1, 3)}, "patch_size must be one number, or 2 or 3, one"),
        ({"seed": 2**63}, "seed must be from 0 to"),
        ({"learning_rate": float("inf")}, "must be above 0, and finite, found inf"),
        ({"window": (0.0, float("inf"))}, "window must be two ascending numbers"),
        ({"window": (3, 1)}, "window must be two ascending numbers"),
        ({"mirror": "left"}, "mirror must be some of zyx, or none"),
    ],
)
def test_parameters_out_of_range(wrong: dict[str, Any], reason: str) -> None:
    with pytest.raises(InvalidParameterError, match=reason):
        TrainingConfig(**wrong)


def test_splits(tmp_path: Path) -> None:
    names = [f"case_{n}" for n in range(10)]
    train_names, held = split_cases(names, "0.3", seed=0)
    assert len(held) == 3
    assert sorted(train_names + held) == names
    assert split_cases(names[::-1], "0.3", seed=0) == (train_names, held)
    assert split_cases(names, "0.3", seed=1)[1] != held
    folds = [split_cases(names, f"{k}/5", seed=0)[1] for k in range(1, 6)]
    assert sorted(name for fold in folds for name in fold) == names
    assert split_cases(names, "0", seed=0) == (names, [])
    listed = tmp_path / "held.txt"
    listed.write_text("case_3\n\n case_7\n")
    assert split_cases(names, str(listed), seed=0)[1] == ["case_3", "case_7"]
    listed.write_text("mu\u0308ller", "utf-8")
    assert split_cases(["müller", "a"], str(listed), seed=0)[1] == ["müller"]
    listed.write_text("case_3\ncase_33\n")
    with pytest.raises(InputError, match=r"names unknown cases: .*case_33"):
        split_cases(names, str(listed), seed=0)


def test_splits_by_patient(tmp_path: Path) -> None:
    names = [f"p{patient}_n{nodule}" for patient in range(10) for nodule in range(3)]
    for validation, patients in (("0.3", 3), ("2/5", 2), ("0", 0)):
        by_patient = split_cases(names, validation, seed=1, patients="{patient}_n*")
        trained, held = ({name[:2] for name in side} for side in by_patient)
        assert (len(held), len(trained & held)) == (patients, 0)
        assert sorted([*by_patient[0], *by_patient[1]]) == sorted(names)
    listed = tmp_path / "held.txt"
    listed.write_text("p0_n0\np0_n1\np1_n0\np1_n1\np1_n2\n")
    reason = "some cases of a patient, but not all: p0$"
    with pytest.raises(InputError, match=reason):
        split_cases(names, str(listed), seed=0, patients="{patient}_n*")


@pytest.mark.parametrize(
    ("validation", "reason"),
    [
        ("0/5", "expected fold I/N"),
        ("6/5", "expected fold I/N"),
        ("1/1", "expected fold I/N with N at least 2 and I from 1 to N"),
        ("1", "'1' is all cases: expected a share below 1, such as 0.2"),
        ("1.0", "'1.0' is all cases: expected a share below 1"),
        ("1.5", "neither a share such as 0.2, nor a fold"),
        ("nobody.txt", "neither a share such as 0.2, nor a fold"),
    ],
)
def test_no_splits(validation: str, reason: str) -> None:
    with pytest.raises(InvalidParameterError, match=reason):
        split_cases(["a", "b"], validation, seed=0)


def test_validation_without_a_case(tmp_path: Path) -> None:
    (tmp_path / "none.txt").write_text("\n")
    with pytest.raises(InputError, match="holds none of the cases"):
        split_cases(["a", "b"], str(tmp_path / "none.txt"), seed=0)
    with pytest.raises(InputError, match="'1/3': 3 folds of 2 cases; expected"):
        split_cases(["a", "b"], "1/3", seed=0)
    names, patients = ["p1_a", "p1_b", "p2_a"], "{patient}_*"
    with pytest.raises(InputError, match="'1/3': 3 folds of 2 patients; expected"):
        split_cases(names, "1/3", seed=0, patients=patients)


def test_a_share_is_at_least_one_case() -> None:
    assert len(split_cases(["a", "b"], "0.2", seed=0)[1]) == 1


def test_loss_that_is_no_number(tmp_path: Path, store: Path, cache: Path) -> None:
    config = replace(SMALL, learning_rate=1e36, epochs=1, steps_per_epoch=1)
    out = tmp_path / "run"
    with pytest.raises(InputError, match="no longer a finite number in epoch 1; lower"):
        train(store, SAMPLE / "images", out, config=config, cache=cache)
    assert not (out / "last.pt").exists()


def test_nothing_left_to_train_on() -> None:
    reason = "leaves none of 1 cases to train on; --validation 0 holds none out"
    with pytest.raises(InputError, match=reason):
        split_cases(["a"], "0.9", seed=0)
    names, patients = ["a_1", "a_2", "b_1"], "{patient}_*"
    with pytest.raises(InputError, match="leaves none of 3 cases of 2 patients to"):
        split_cases(names, "0.9", seed=0, patients=patients)
    for validation in ("0.2", "1/5"):
        with pytest.raises(InputError, match="all 2 cases are of one patient, a, so"):
            split_cases(names[:2], validation, seed=0, patients=patients)


def test_a_plan_depends_on_the_split_not_on_what_says_it(
    tmp_path: Path, store: Path
) -> None:
    opened = open_store(store)
    cases = dict(opened)
    scans = find_images(cases, SAMPLE / "images")

    def plan(**options: Any) -> Plan:
        return plan_training(opened, cases, scans, replace(SMALL, **options))

    tables = [tmp_path / "one.csv", tmp_path / "two.csv"]
    for table in tables:
        rows = "".join(f"{name},{name}\n" for name in cases)
        table.write_text(f"case,patient\n{rows}")
    by_share = plan(validation="0.25")
    held = tmp_path / "held.txt"
    write_names(by_share.validation, held)
    same = (
        {"validation": "0.25", "patients": str(tables[0])},
        {"validation": "0.25", "patients": str(tables[1])},
        {"validation": str(held), "split_seed": 5},
    )
    for options in same:
        assert by_share.difference(plan(**options)) == ""
    found = by_share.difference(plan(validation="0.5"))
    assert found.startswith("validation is 0.25 in the run, 0.5 now; train cases only")
    assert "seed is 0 in the run" in by_share.difference(plan(**same[2], seed=1))


@pytest.mark.parametrize("mirrored", [(), (0, 1, 2), (2,)])
def test_augmentation(mirrored: tuple[int, ...]) -> None:
    target = torch.arange(2 * 3 * 4 * 5).reshape(2, 3, 4, 5).to(torch.uint8)
    sample = {
        "image": torch.arange(60.0).reshape(1, 3, 4, 5),
        "target": target,
        "weight": torch.ones(1, 3, 4, 5, dtype=torch.uint8),
        "case": "a",
    }
    change = Augmentation(mirrored)
    flips = [[at + 1 for at in mirrored if bits >> at & 1] for bits in range(8)]
    expected = [torch.flip(target, axes) for axes in flips]
    seen = set()
    for seed in range(40):
        change.set_random_state(seed=seed)
        changed = change(sample)
        change.set_random_state(seed=seed)
        again = change(sample)
        assert torch.equal(changed["image"], again["image"])
        assert changed["target"].dtype == torch.uint8
        assert type(changed["target"]) is torch.Tensor
        same = [torch.equal(changed["target"], each) for each in expected]
        seen.add(same.index(True))
    assert len(seen) == 2 ** len(mirrored)


def constants(images: list[torch.Tensor]) -> torch.Tensor:
    """Values of the images that have one value, which are those without noise."""
    values = [image.unique() for image in images]
    return torch.cat([each for each in values if len(each) == 1])


def test_augmentation_of_images() -> None:
    """Scale and shift half of the time, noise a quarter, as large as they are to be."""
    zero = {key: torch.zeros(1, 4, 4) for key in ("image", "target", "weight")}
    sample, change = {**zero, "image": torch.full((1, 4, 4), 10.0)}, Augmentation(())
    images, shifts = [], []
    for seed in range(2000):
        change.set_random_state(seed)
        images.append(change(sample)["image"])
        change.set_random_state(seed)
        shifts.append(change(zero)["image"])
    quiet = constants(images)
    assert len(quiet) / 2000 == pytest.approx(0.75, abs=0.03)
    assert (quiet == 10).float().mean() == pytest.approx(0.25, abs=0.03)
    assert 1.0 < (quiet - 10).abs().max() <= 1.1
    still = constants(shifts)
    assert (still == 0).float().mean() == pytest.approx(0.5, abs=0.03)
    assert 0.09 < still.abs().max() <= 0.1
    noise = torch.stack([each.std() for each in shifts if each.std() > 1e-6])
    assert 0.04 < noise.mean() < 0.06


def test_slices_and_several_channels(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for number in range(4):
        labels = blobs((40, 48), 2, seed=number)
        write_image(tmp_path / "labels" / f"s_{number}.nrrd", labels)
        for channel in (0, 1):
            scan = labels + rng.normal(size=labels.shape).astype(np.float32)
            write_image(tmp_path / "images" / f"s_{number}_000{channel}.nii.gz", scan)
    smoothed(tmp_path / "labels", tmp_path / "a.zarr")
    config = replace(SMALL, patch_size=None, epochs=1, dice_weight=1.0)
    out = tmp_path / "run"
    train(tmp_path / "a.zarr", tmp_path / "images", out, config=config)
    plan = Checkpoint.load(out / "last.pt").plan
    assert plan.channels == ("0000", "0001")
    assert plan.patch_size == (40, 48)


def test_bad_input_changes_nothing(
    tmp_path: Path, store: Path, cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, images = tmp_path / "run", SAMPLE / "images"
    settings = ["--cache", cache, *OPTIONS, "--epochs", "1"]

    def run(*arguments: str | Path, code: int) -> str:
        with pytest.raises(SystemExit) as ended:
            main(["train", *map(str, arguments)])
        assert ended.value.code == code
        return capsys.readouterr().err

    assert run(store, "--images", images, "--out", out, *settings, code=0) == ""
    before = tree(out)

    def fails(reason: str, *arguments: str | Path, code: int = 3) -> None:
        complaint = run(*arguments, code=code)
        assert reason in complaint
        assert complaint.startswith("svls-cli: ")
        assert complaint.count("\n") == 1
        assert tree(out) == before

    given = [store, "--images", images, "--out", out, *settings]
    fails("filters is 4 in the run, 5 now. Use the same", *given, "--filters", "5")
    reason = "validation is 0.25 in the run, 0 now; train cases only now: case_0"
    fails(reason, *given, "--validation", "0")
    assert run(*given, code=0) == ""
    assert tree(out) == before
    fails("epochs must be from 1 to", *given, "--epochs", "0", code=2)
    fails("2 values, the store's cases 3 axes", *given, "--patch-size", "8,8", code=2)
    fails("device 'cuda:7'", *given, "--device", "cuda:7", code=2)
    reason, url = "expected a folder on a disk", "s3://b/run"
    fails(reason, *given, "--out", url)
    fails(reason, *given, "--out", tmp_path / "y", "--cache", url)
    fails("gpu (or cuda) or cuda:N, found 'meta'", *given, "--device", "meta", code=2)
    reason = "the label map that case 'case_01' was made from, no image"
    fails(reason, store, "--images", SAMPLE / "labels", *given[3:], "--overwrite")
    others = tmp_path / "others"
    shutil.copytree(images, others)
    write_image(others / "case_02.nii.gz", blobs((20, 56, 60), 3))
    reason = "what labels and images were made from is"
    changed = [store, "--images", others, *given[3:]]
    fails(reason, *changed)
    few = tmp_path / "few"
    shutil.copytree(images, few)
    elsewhere = [store, "--images", few, "--out", tmp_path / "x", *settings]
    (few / "case_05.nii.gz").unlink()
    fails("no image for 1 of 8 cases: case_05", *elsewhere)
    nan = blobs((20, 56, 60), 2).astype(np.float32)
    nan[3, 4, 5] = np.nan
    write_image(few / "case_05.nii.gz", nan)
    fails("case_05: case_05.nii.gz: nan at voxel (3, 4, 5)", *elsewhere)
    fails("a folder with other files", *given[:3], "--out", few, *settings)
    foreign = tmp_path / "other.zarr"
    foreign.mkdir()
    (foreign / "zarr.json").write_text('{"zarr_format": 3, "node_type": "group"}')
    fails("not a soft-label store", foreign, *given[1:])


def test_images_are_known_by_all_their_content(tmp_path: Path) -> None:
    labels = blobs((4, 30, 30), 2)
    write_image(tmp_path / "labels" / "a.nii", labels)
    store = smoothed(tmp_path / "labels", tmp_path / "a.zarr")
    hashes = []
    for value in (1, 2):  # within a wide border of air
        image = np.zeros((4, 30, 30), np.float32)
        image[2, 10, 10] = value
        path = write_image(tmp_path / str(value) / "a.nii", image)
        scans = {"a": Scan("a", (path,))}
        hashes.append((inputs_hash(store, store, scans), voxels_hash(image[None])))
    assert hashes[0][0] != hashes[1][0]
    assert hashes[0][1] != hashes[1][1]
    whole = image[None].astype(np.int16)
    assert voxels_hash(whole[:, :, ::-1][:, :, ::-1]) == hashes[1][1]


def test_store_with_a_damaged_case(tmp_path: Path, store: Path, cache: Path) -> None:
    damaged = tmp_path / "damaged.zarr"
    shutil.copytree(store, damaged)
    edit_svls(damaged / "case_01", lambda svls: svls.update(state="writing"))
    reason = "made the store again, or remove their folders: case_01: .* own sha256"
    with pytest.raises(StoreError, match=reason):
        train(damaged, SAMPLE / "images", tmp_path / "run", config=SMALL, cache=cache)
    assert not (tmp_path / "run").exists()


def test_checkpoints_from_elsewhere(tmp_path: Path) -> None:
    path, mark = tmp_path / "last.pt", tmp_path / "executed"
    with pytest.raises(InputError, match="no such checkpoint"):
        Checkpoint.load(path)
    path.write_bytes(b"something else")
    with pytest.raises(InputError, match="damaged, or not a checkpoint"):
        Checkpoint.load(path)
    for content, message in (
        (
            {"format": "other", "format_version": 1},
            r"last\.pt: not a checkpoint of svls",
        ),
        ({"format": "svls-training-run", "format_version": 9}, "9 is newer than this"),
        ({"format": Malicious(str(mark))}, "not a checkpoint of svls-cli train"),
    ):
        torch.save(content, path)
        for kind in (RunState, Checkpoint):
            with pytest.raises(InputError, match=message):
                kind.load(path)
    assert not mark.exists()


def test_damaged_checkpoints(tmp_path: Path, undisturbed: Path) -> None:
    """PyTorch reads a flipped bit without a word."""
    good, path = (undisturbed / "last.pt").read_bytes(), tmp_path / "last.pt"
    largest = max(
        ZipFile(undisturbed / "last.pt").infolist(), key=lambda m: m.file_size
    )
    bad = bytearray(good)
    bad[largest.header_offset + largest.file_size // 2] ^= 4
    for content in (bad, good[: len(good) // 2], b""):
        path.write_bytes(content)
        with pytest.raises(InputError, match="damaged, or not a checkpoint"):
            Checkpoint.load(path)
    record = torch.load(undisturbed / "last.pt", weights_only=True)
    torch.save(record | {"network": [1, 2]}, path)
    with pytest.raises(InputError, match="damaged, or not a checkpoint"):
        Checkpoint.load(path)
    torch.save(record | {"network": {"a": 1}}, path)
    with pytest.raises(InputError, match="weights do not fit its plan"):
        Checkpoint.load(path).trained_network()


class Malicious:
    """Makes a file when it is unpickled."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return (open, (self.path, "w"))


def test_unknown_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(InvalidParameterError, match="must be one of last, best"):
        RunFolder(tmp_path).checkpoint("first")


def test_spacings_that_vary(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for number, spacing in enumerate([1.0, 1.0, 1.0, 4.0]):
        labels = blobs((8, 16, 16), 2, seed=number)
        for folder, kind in (("labels", "uint8"), ("images", "float32")):
            path = tmp_path / folder / f"a_{number}.nrrd"
            write_image(path, labels.astype(kind), spacing=(1, 1, spacing))
    smoothed(tmp_path / "labels", tmp_path / "a.zarr")
    config = replace(SMALL, epochs=1, steps_per_epoch=1, validation="0")
    out = tmp_path / "run"
    train(tmp_path / "a.zarr", tmp_path / "images", out, config=config)
    assert "4.0 times as long as another's" in caplog.text
    assert "one spacing, such as 1 x 1 x 1 mm, with SimpleITK's" in caplog.text


def test_one_tiny_case_among_others(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for name, shape in (("a", (16, 16, 16)), ("b", (16, 17, 18)), ("tiny", (1, 1, 1))):
        for folder, kind in (("labels", "uint8"), ("images", "float32")):
            scan = blobs(shape, 2).astype(kind)
            write_image(tmp_path / folder / f"{name}.nrrd", scan)
    smoothed(tmp_path / "labels", tmp_path / "a.zarr")
    config = replace(SMALL, patch_size=None, epochs=1, steps_per_epoch=1)
    store, images, out = (tmp_path / name for name in ("a.zarr", "images", "run"))
    train(store, images, out, config=replace(config, validation="0"))
    assert Checkpoint.load(out / "last.pt").plan.patch_size == (16, 16, 16)
    assert "smaller than any patch, whose patches are filled up: tiny" in caplog.text
    (tmp_path / "names.txt").write_text("a\nb")
    alone = replace(config, validation=str(tmp_path / "names.txt"))
    with pytest.raises(InputError, match="case 'tiny' has 1 x 1 x 1 voxels, and a"):
        train(store, images, tmp_path / "run2", config=alone)
    with pytest.raises(
        InvalidParameterError, match="largest case has 1 x 1 x 1 voxels"
    ):
        train(store, images, tmp_path / "r", config=replace(alone, patch_size=8))


def test_patches_beyond_the_largest_case_are_clipped(
    tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, shape in (("a", (3, 40, 30)), ("b", (3, 20, 37)), ("c", (3, 20, 30))):
        for folder, kind in (("labels", "uint8"), ("images", "float32")):
            scan = blobs(shape, 2).astype(kind)
            write_image(tmp_path / folder / f"{name}.nrrd", scan)
    smoothed(tmp_path / "labels", tmp_path / "a.zarr")
    given = ["train", "a.zarr", "--images", "images", "--out", "run", "--filters", "4"]
    given += ["--epochs", "1", "--steps-per-epoch", "1", "--validation", "0"]
    result = run(*given, "--patch-size", "256,256,16")
    note = (
        "patch_size 256 x 256 x 16 reaches beyond the largest case, 3 x 40 x 37 voxels"
    )
    rounded = "the case rounded up to what the network can halve"
    assert result.stderr == f"{note}: clipped to 4 x 40 x 16, {rounded}\n"
    before = tree(tmp_path / "run")
    assert RunState.load(tmp_path / "run" / "last.pt").plan.patch_size == (4, 40, 16)
    run(*given, "--patch-size", "256,256,16")
    assert tree(tmp_path / "run") == before
    # What cannot fit into memory is told, not tried.
    monkeypatch.setattr("svls_cli.training.memory.memory_bytes", lambda: 1e6)
    big = run(*given, "--patch-size", "256", "--overwrite", "--device", "cpu", code=3)
    reason = "2 patches of 4 x 40 x 40 voxels takes at least 0.0 GB with 4 filters"
    assert reason in big.stderr
    assert tree(tmp_path / "run") == before


def test_memory_of_this_machine() -> None:
    assert 1e8 < memory_bytes() < 1e14


def test_more_epochs(tmp_path: Path, store: Path, cache: Path, weights: Any) -> None:
    out, given = tmp_path / "run", {"cache": cache}
    images = SAMPLE / "images"

    def go_on(epochs: int) -> list[EpochLog]:
        config = replace(SMALL, epochs=epochs, patients="{patient}")
        return train(store, images, out, config=config, **given)

    first = go_on(1)
    score_run(out, store, images)
    before = tree(out)
    rest = go_on(3)
    assert not (out / "validation.zarr").exists()  # it was of other weights
    assert [log.epoch for log in first + rest] == [1, 2, 3]
    # From there on the learning rate is that of a longer run: 9 steps.
    rates = [1e-3 * (1 - step / 9) ** 0.9 for step in (5, 8)]
    assert [log.learning_rate for log in rest] == pytest.approx(rates)
    config = RunState.load(out / "last.pt").plan.config
    assert config == replace(SMALL, patients="{patient}")
    assert not equal(network_of(out), weights)  # its first epoch had other rates
    # Its predictions are made anew, and its intervals are over its patients.
    report = score_run(out, store, images)
    assert report.scores
    assert report.parameters["patients"] == "{patient}"
    after = tree(out)
    changed = {name for name in before if after[name] != before[name]}
    assert {"last.pt", "log.csv", "validation.zarr/zarr.json"} <= changed
    assert before["validation.txt"] == after["validation.txt"]
    for epochs, reason in ((2, "has done 3 epochs, 2 are fewer"), (0, "from 1 to")):
        with pytest.raises((InputError, InvalidParameterError), match=reason):
            go_on(epochs)
    longer = replace(SMALL, epochs=5, filters=5)
    with pytest.raises(InputError, match="another run: filters is 4 in the run, 5 now"):
        train(store, images, out, config=longer, cache=cache)
    assert tree(out) == after


def test_the_state_of_a_run_is_read_without_its_weights(undisturbed: Path) -> None:
    whole = Checkpoint.load(undisturbed / "last.pt")
    assert RunState.load(undisturbed / "last.pt") == whole.state
    assert len(whole.history) == 3
    assert whole.network


def test_torch_is_an_extra(tmp_path: Path, store: Path, run: Run) -> None:
    arguments = ["train", store, "--images", SAMPLE / "images", "--out", "run"]

    def without(library: str, code: str) -> str:
        (tmp_path / "sitecustomize.py").write_text(code)
        env = {"PYTHONPATH": str(tmp_path)}
        return run(*arguments, code=2, env=env).stderr.replace(library, "LIBRARY")

    expected = "svls-cli: training needs LIBRARY: pip install 'svls-cli[train]'\n"
    for library in ("torch", "monai", "matplotlib"):
        missing = f"import sys\nsys.modules[{library!r}] = None\n"
        assert without(library, missing) == expected
    (tmp_path / "torch.py").write_text("raise ImportError('libcudart is missing')")
    assert (
        without("torch", "")
        == "svls-cli: training needs PyTorch: libcudart is missing\n"
    )
    assert not (tmp_path / "run").exists()
    assert len(open_store(store)) == 8


def test_arguments_are_checked_before_torch_is_imported(
    tmp_path: Path, store: Path, undisturbed: Path, run: Run
) -> None:
    """Whoever imports the libraries here sees a traceback, and exit code 1."""
    for library in ("torch", "monai"):
        (tmp_path / "stub" / f"{library}.py").parent.mkdir(exist_ok=True)
        (tmp_path / "stub" / f"{library}.py").write_text("raise AssertionError('!')")
    env = {"PYTHONPATH": str(tmp_path / "stub")}
    trained = Checkpoint.load(undisturbed / "last.pt")
    plan = replace(trained.plan, channels=("0000", "0001"))
    (tmp_path / "mri").mkdir()
    replace(trained, state=RunState(plan, ())).save(tmp_path / "mri" / "last.pt")
    images, labels = SAMPLE / "images", SAMPLE / "labels"
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "notes.txt").write_text("mine")
    (tmp_path / "two").mkdir()
    for channel in (0, 1):
        scan = SAMPLE / "images" / "case_01.nii.gz"
        shutil.copy(scan, tmp_path / "two" / f"case_01_000{channel}.nii.gz")

    def fails(reason: str, *arguments: str | Path, code: int = 3) -> None:
        complaint = run(*arguments, code=code, env=env).stderr
        assert reason in complaint
        assert complaint.count("\n") == 1

    good: list[str | Path] = ["train", store, "--images", images, "--out", "run"]
    fails("imagse: no such file", *good[:2], "--images", "imagse", *good[4:])
    fails("no.zarr: no such store", "train", "no.zarr", *good[2:])
    fails("at least 4, found 3", *good, "--patch-size", "3", code=2)
    fails("cases 3 axes", *good, "--patch-size", "8,8", code=2)
    fails("a folder with other files", *good, "--out", "full")
    fails("none for case_01", *good, "--target", "rater")
    fails(
        "filters is 4 in the run", *good, "--out", undisturbed, *OPTIONS, "--filters=5"
    )
    fails("no image for 7 of 8 cases", *good[:3], "two", *good[4:])
    fails("validation '5/4'", *good, "--validation", "5/4", code=2)
    fails("device must be", *good, "--device", "meta", code=2)
    end = [images, "p.zarr"]
    fails("none/last.pt: no such checkpoint", "predict", "none", *end)
    fails("imagse: no such file", "predict", undisturbed, "imagse", "p.zarr")
    fails("1 channels; the network was trained on 2", "predict", "mri", *end)
    fails("not a Zarr v3 group", "predict", undisturbed, images, "full")
    fails("last.pt: a file; expected", "predict", undisturbed / "last.pt", *end)
    fails("overlap must lie", "predict", undisturbed, *end, "--overlap", "2", code=2)
    fails("labelz: no such file", "compare", "labelz", *good[2:])
    fails("imagse: no such", "compare", labels, "--images", "imagse", "--out", "cmp")
    fails("holds something else", "compare", labels, *good[2:], "--out", "full")
    assert not (tmp_path / "run").exists()
    assert not (tmp_path / "p.zarr").exists()
    assert not (tmp_path / "cmp").exists()


def test_help_names_every_default(run: Run) -> None:
    text = " ".join(run("train", "--help").stdout.split())
    config = TrainingConfig()
    for name in ("batch_size", "epochs", "learning_rate", "filters", "validation"):
        flag = f"--{name.replace('_', '-')}"
        assert f"[default: {getattr(config, name)}]" in text.split(f"{flag} ")[-1][:200]
