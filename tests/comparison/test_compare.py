"""`svls-cli compare`: the paper's experiment."""

import json
import shutil
import statistics
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from svls_cli import Batch
from svls_cli.comparison.compare import compare_methods
from svls_cli.comparison.differences import Interval, paired_difference
from svls_cli.comparison.recipes import parse_recipes
from svls_cli.comparison.result import Comparison, Spread, Trial
from svls_cli.comparison.tables import markdown, mean_tables, meaning
from svls_cli.errors import InputError, InvalidParameterError
from svls_cli.labels.raters import find_rated_cases
from svls_cli.soften.methods import Method
from svls_cli.soften.parsing import parse_method
from svls_cli.store.reader import open_store
from svls_cli.training import TrainingConfig
from svls_cli.training.run_state import RunState
from svls_cli.tuning.tune import tune_smoothing
from tests.helpers.commands import SAMPLE, Run, tree
from tests.helpers.stores import edit_svls

OPTIONS = ["--patch-size", "8,16,16", "--epochs", "1", "--steps-per-epoch", "2"]
OPTIONS += ["--filters", "4", "--validation", "0.25"]


@pytest.mark.parametrize(
    ("text", "method"),
    [
        ("onehot", Method("onehot")),
        ("ls:0.2", Method("ls", alpha=0.2)),
        ("ls:alpha=0.2", Method("ls", alpha=0.2)),
        ("svls", Method()),
        ("svls:2", Method(sigma=2)),
        ("svls:sigma=1x2x2:size=3x5x5", Method(sigma=(1, 2, 2), size=(3, 5, 5))),
        (
            "svls:sigma_mm=1:size=auto:strength=0.8",
            Method(sigma_mm=1, size="auto", strength=0.8),
        ),
        ("gaussian:1.5", Method("gaussian", sigma=1.5)),
        (
            "bilateral:sigma=3:size=auto:strength=0.9:intensity_scale=0.7",
            Method(
                "bilateral", sigma=3, size="auto", strength=0.9, intensity_scale=0.7
            ),
        ),
    ],
)
def test_methods_by_name(text: str, method: Method) -> None:
    assert parse_method(text) == method


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("svsl", "method must be one of svls"),
        ("svls:sigma=wide", "'wide' is no number"),
        ("svls:sigm=2", "no parameter 'sigm'; it has sigma, sigma_mm, size, strength"),
        ("soft:sigm=2", "method must be one of svls"),
        ("svls:1:sigma=2", "sigma is given twice"),
        ("onehot:sigma=1", "onehot has no parameter 'sigma'; it has none"),
        ("svls:strength=3", "strength"),
    ],
)
def test_no_methods(text: str, reason: str) -> None:
    with pytest.raises(InvalidParameterError, match=reason):
        parse_method(text)


def test_command(tmp_path: Path, run: Run, installed: Run) -> None:
    labels, images = SAMPLE / "labels", SAMPLE / "images"
    arguments = ["compare", labels, "--images", images, "--out", "c", *OPTIONS]
    arguments += ["--methods", "onehot,svls:strength=0.8", "--seeds", "2"]
    result = installed(*arguments)
    lines = result.stdout.splitlines()
    begun = [line.split(":")[0] for line in lines[:4]]
    assert begun == ["onehot ce seed 0", "svls", "onehot ce seed 1", "svls"]
    assert result.stderr.splitlines() == [
        "[1/4] onehot ce seed 0",
        "[2/4] svls:strength=0.8 ce seed 0",
        "[3/4] onehot ce seed 1",
        "[4/4] svls:strength=0.8 ce seed 1",
    ]
    table = (tmp_path / "c" / "comparison.md").read_text(encoding="utf-8")
    shown = result.stdout[result.stdout.index("2 validation cases, 2 seeds") :]
    assert "|" not in shown
    assert max(map(len, shown.splitlines())) <= 100
    titles = [line for line in shown.splitlines() if line.startswith("calibration in")]
    assert len(titles) == 3
    assert shown.count("\nonehot  ") > 4  # tables that are too wide are cut
    assert table.count("| onehot |") == 4
    assert table.count("| svls:strength=0.8 |") == 8  # means and differences
    assert "2 validation cases, 2 seeds" in table
    assert "±" in table
    assert (tmp_path / "c" / "comparison.png").stat().st_size > 10_000
    found = json.loads((tmp_path / "c" / "comparison.json").read_text())
    expected = [(m, seed) for seed in (0, 1) for m in ("onehot", "svls:strength=0.8")]
    assert [(t["method"], t["seed"]) for t in found["trials"]] == expected
    for name in ("band.nll", "band.nll.scaled", "temperature"):
        assert all(0 < trial["scores"][name] < 9 for trial in found["trials"])
    first, second = (
        statistics.fmean(
            trial["scores"]["band.nll"]
            for trial in found["trials"]
            if trial["method"] == method
        )
        for method in ("onehot", "svls:strength=0.8")
    )
    (differs,) = (d for d in found["differences"] if d["score"] == "band.nll")
    assert (differs["method"], differs["to"]) == ("svls:strength=0.8", "onehot")
    assert differs["difference"]["value"] == pytest.approx(second - first)
    assert differs["ratio"]["value"] == pytest.approx(second / first)
    assert differs["difference"]["low"] is None  # of two cases
    # A piece that is lost is made again, and nothing else.
    before = tree(tmp_path / "c")
    lost = [name for name in before if name.startswith("scores/onehot_ce_seed_1")]
    for name in lost:
        (tmp_path / "c" / name).unlink()
    assert len(lost) == 1
    run(*arguments)
    after = tree(tmp_path / "c")
    changed = {name for name in before if before[name] != after[name]}
    assert changed <= {"comparison.png", *lost}
    assert after.keys() == before.keys()
    other = [*arguments, "--filters", "5"]
    assert "filters is 4 in the run, 5 now" in run(*other, code=3).stderr
    other = [*arguments, "--dice-weight", "1"]  # --losses says it
    assert "No such option" in run(*other, code=2).stderr


def test_wrong_comparisons(tmp_path: Path) -> None:
    given = (SAMPLE / "labels", SAMPLE / "images", tmp_path / "c")
    for wrong, reason in (
        ({"seeds": 0}, "seeds must be at least 1"),
        ({"methods": ["svls", "svls"]}, "method 'svls' is named twice"),
        ({"methods": []}, "expected at least one method"),
        ({"config": TrainingConfig(validation="0")}, "needs validation cases"),
        ({"config": TrainingConfig(validation="0.0")}, "needs validation cases"),
        ({"config": TrainingConfig(validation="0.1")}, "'0.1' gives case_0"),
        ({"methods": ["best"]}, "method must be one of"),
        ({"losses": []}, "expected at least one loss"),
        ({"losses": ["ce", "ce"]}, "loss 'ce' is named twice"),
        ({"losses": ["dice"]}, "loss must be one of ce, ce\\+dice"),
        ({"methods": ["svls", "mean+svls"]}, "write majority\\+svls, mean\\+svls or"),
        ({"methods": ["tuned"]}, "expected mean\\+tuned or majority\\+tuned, of sev"),
        ({"methods": ["staple+tuned"]}, "expected mean\\+tuned or majority\\+tuned"),
        ({"methods": ["mean+tuned:2"]}, "without parameters, which tune chooses"),
        ({"methods": ["rater+svls"]}, "rater stands alone"),
        ({"methods": ["rater:0.1"]}, "rater stands alone"),
        ({"methods": ["rater"]}, "is of several raters, and no case has two"),
        ({"methods": ["all+svls"]}, "fusion must be one of"),
        ({"band_mm": 0}, "band_mm must be positive"),
    ):
        with pytest.raises(InvalidParameterError, match=reason):
            compare_methods(*given, **wrong)  # type: ignore[arg-type]
    assert not (tmp_path / "c").exists()
    (tmp_path / "labels").mkdir()
    (tmp_path / "labels" / "case_03.nrrd").write_bytes(b"nothing")
    shutil.copy(SAMPLE / "labels" / "case_04.nrrd", tmp_path / "labels")
    for number in (1, 2):
        shutil.copy(SAMPLE / "labels" / f"case_0{number}.nii.gz", tmp_path / "labels")
    config = TrainingConfig(validation="0.5")
    with pytest.raises(InputError, match=r"cannot be used: case_03: not an NRRD"):
        compare_methods(tmp_path / "labels", *given[1:], config=config)


def test_labels_of_other_kinds(
    caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    """Raters without fusions, and raters who are missing."""
    raters = [tmp_path / name for name in "ab"]
    for rater in raters:
        shutil.copytree(SAMPLE / "raters" / rater.name, rater)
    given: Any = (SAMPLE / "images", tmp_path / "c")
    reason = "methods name their fusion, as majority\\+svls"
    with pytest.raises(InputError, match=reason):
        compare_methods(raters, *given, methods=["svls"])
    with pytest.raises(InvalidParameterError, match=reason):
        compare_methods(tmp_path, *given, methods=["svls"], pattern="{rater}/{case}.*")
    (tmp_path / "b" / "case_02.nii.gz").unlink()
    with pytest.raises(InvalidParameterError, match="gives case_0"):
        compare_methods(raters, *given, methods=["mean+svls"])
    assert "1 of 3 cases lack raters: case_02" in caplog.text


def test_folders_of_something_else(tmp_path: Path) -> None:
    """Nothing is written: the comparison that is there can go on."""
    for out in ("s3://bucket/c", Path("s3://bucket/c")):
        with pytest.raises(InputError, match="expected a folder on a disk"):
            compare_methods(SAMPLE / "labels", SAMPLE / "images", out)
    config = TrainingConfig(
        patch_size=(8, 16, 16), epochs=1, steps_per_epoch=1, filters=4, validation="0.6"
    )
    labels = [SAMPLE / "labels" / f"case_0{n}.nii.gz" for n in (1, 2)]
    labels.append(SAMPLE / "labels" / "case_04.nrrd")
    settings: dict[str, Any] = {"methods": ["svls"], "seeds": 1, "config": config}
    out = tmp_path / "c"
    shown: list[str] = []

    def progress(items: Iterator[Any], total: int, doing: str) -> Iterator[Any]:
        shown.append(doing)
        return items

    batch = Batch(jobs=1, progress=progress)
    given = (labels, SAMPLE / "images", out)
    comparison = compare_methods(*given, batch=batch, **settings)
    assert len(comparison.trials) == 1
    of_trial = [doing for doing in shown if doing.startswith("[1/1] svls ce seed 0: ")]
    expected = ["read images", "epoch 1/1", "predict", "fit temperature", "evaluate"]
    assert [doing.split(": ")[1] for doing in of_trial] == expected
    # With more epochs all that follows is done anew.
    settings["config"] = replace(config, epochs=2)
    longer = compare_methods(*given, **settings)
    assert longer.trials[0].report["summary"] != comparison.trials[0].report["summary"]
    assert (
        RunState.load(out / "runs" / "svls_ce_seed_0" / "last.pt").history[-1].epoch
        == 2
    )
    before = tree(out)
    # Another case of the store is made again, as the trial needs it.
    edit_svls(
        out / "stores" / "svls.zarr" / "case_01", lambda svls: svls.update(state="x")
    )
    compare_methods(labels, SAMPLE / "images", out, **settings)
    assert tree(out) == before
    more = [*labels, SAMPLE / "labels" / "case_03.nii.gz"]
    with pytest.raises(InputError, match="compares other cases: case_03 are only"):
        compare_methods(more, SAMPLE / "images", out, **settings)
    assert tree(out) == before
    with pytest.raises(InputError, match="holds something else"):
        compare_methods(labels, SAMPLE / "images", out / "runs", **settings)
    assert tree(out) == before


def test_spread() -> None:
    assert str(Spread.of([0.5])) == "0.5000"
    assert str(Spread.of([0.1, 0.3, None])) == "0.2000 ± 0.1414"
    assert str(Spread.of([None])) == "-"


def trial(method: str, seed: int, counts: list[int], accuracy: list[Any]) -> Trial:
    confidence = [None if n == 0 else 0.5 for n in counts]
    curve = {"count": counts, "confidence": confidence, "accuracy": accuracy}
    return Trial(method, "ce", seed, {"reliability": {"band": curve}})


def test_reliability_is_of_all_seeds_together() -> None:
    first = trial("a", 0, [1, 0, 0], [1.0, None, None])
    second = trial("a", 1, [3, 0, 2], [0.0, None, 0.5])
    other = trial("b", 0, [9, 9, 9], [1.0, 1.0, 1.0])
    comparison = Comparison((first, second, other), (), TrainingConfig(), {})
    assert comparison.methods == ["a", "b"]
    confidence, accuracy = comparison.reliability(("a", "ce"), "band")
    assert confidence.tolist() == [0.5, 0.5]
    assert accuracy.tolist() == [0.25, 0.5]


def test_several_raters(tmp_path: Path, run: Run) -> None:
    """All fusions and targets, and what `tune` recommends."""
    raters = [SAMPLE / "raters" / name for name in "abc"]
    methods = "majority+onehot,mean+bilateral,staple+onehot,rater,mean+tuned"
    arguments = ["compare", *raters, "--images", SAMPLE / "images", "--out", "c"]
    arguments += [*OPTIONS, "--seeds", "1", "--methods", methods]
    arguments += ["--losses", "ce+dice", "--validation", "0.67"]
    shown = run(*arguments).stdout
    stores = sorted(path.stem for path in (tmp_path / "c" / "stores").glob("*.zarr"))
    expected = ["majority+onehot", "mean+bilateral", "mean+onehot", "mean+tuned"]
    assert stores == [*expected, "staple+onehot"]
    found = json.loads((tmp_path / "c" / "comparison.json").read_text())
    assert [trial["method"] for trial in found["trials"]] == methods.split(",")
    for name in ("rater", "mean+bilateral"):
        run_folder = tmp_path / "c" / "runs" / f"{name}_ce+dice_seed_0"
        config = RunState.load(run_folder / "last.pt").plan.config
        assert config.target == ("rater" if name == "rater" else "soft")
        assert config.dice_weight == 1
    path = tmp_path / "c" / "scores" / "rater_ce+dice_seed_0.json"
    score = json.loads(path.read_text())
    assert all(case["raters"] == ["a", "b", "c"] for case in score["report"]["cases"])
    assert "rater ce+dice seed 0: Dice" in shown
    # The recommendation is of the cases to train on alone.
    held = {case["case"] for case in score["report"]["cases"]}
    cases = [case for case in find_rated_cases(raters) if case.name not in held]
    store = open_store(tmp_path / "c" / "stores" / "mean+tuned.zarr")
    tuned = tune_smoothing(cases).fused
    assert tuned is not None
    assert store.config.method == tuned.recommended.to_json()


def test_patients_stay_together(tmp_path: Path) -> None:
    """The split, the temperature's folds and the intervals are by patient."""
    labels, images = tmp_path / "labels", tmp_path / "images"
    labels.mkdir()
    images.mkdir()
    source = SAMPLE / "labels" / "case_01.nii.gz"
    image = SAMPLE / "images" / "case_01.nii.gz"
    for patient in range(4):
        for visit in range(2):
            shutil.copy(source, labels / f"p{patient}_{visit}.nii.gz")
            shutil.copy(image, images / f"p{patient}_{visit}.nii.gz")
    config = TrainingConfig(
        patch_size=(8, 16, 16),
        epochs=1,
        steps_per_epoch=1,
        filters=4,
        validation="0.5",
        patients="{patient}_*",
    )
    given: Any = (labels, images, tmp_path / "c")
    settings: Any = {"methods": ["onehot", "svls"], "seeds": 1, "config": config}
    settings["losses"] = ["ce", "ce+dice"]
    comparison = compare_methods(*given, **settings)
    arms = [
        (method, loss) for loss in settings["losses"] for method in settings["methods"]
    ]
    assert comparison.arms == arms
    # Each is compared with the first method of the same loss.
    assert {arm for arm, _ in comparison.differences} == {("svls", "ce"), arms[3]}
    for title, header, rows in mean_tables(comparison):
        assert header[:2] == ["method", "loss"]
        assert [tuple(row[:2]) for row in rows] == arms, title
    of_cases = comparison.patients_of_cases
    assert (len(of_cases), len(set(of_cases))) == (4, 2)
    assert {d.patients for d in comparison.differences.values()} == {2}
    assert "4 validation cases of 2 patients" in meaning(comparison)
    alone = replace(config, validation="0.25")
    with pytest.raises(InvalidParameterError, match="at least two patients"):
        compare_methods(labels, images, tmp_path / "d", config=alone)


def made_trial(method: str, seed: int, dice: list[float]) -> Trial:
    """A trial of cases with these Dice scores, all else being the same."""
    region = {"nll": 0.5, "brier": 0.1, "ece": None, "tace": 0.0, "rater_ece": 0.1}
    regions = {"regions": dict.fromkeys(("whole", "foreground", "band"), region)}
    other = {"surface_dice": 0.5, "soft_dice": 0.5, "ged": 0.5, "crps_ml": 1.0}
    cases = [
        {"case": f"c{n}", "dice": d, "temperature": 1 + d, "raters": ["a", "b"]}
        | other
        | regions
        | {"scaled": {"dice": d, **other, **regions}}
        for n, d in enumerate(dice)
    ]
    parameters: Any = {"tolerance_mm": 1.0, "band_mm": 2.0, "in_plane": True}
    parameters |= {"bins": 15, "temperature_scaling": "band"}
    return Trial(method, "ce", seed, {"cases": cases, "parameters": parameters})


@pytest.mark.parametrize("n_cases", [5, 6])
def test_stars_and_intervals(n_cases: int) -> None:
    """They take six patients at least, and say what is no noise."""
    first = [0.5 + 0.01 * n for n in range(n_cases)]
    noise = [d + 0.1 * (-1) ** n for n, d in enumerate(first)]
    better = [d + 0.01 for d in first]
    recipes = parse_recipes(["onehot", "svls", "ls:0.1"])
    trials = tuple(
        made_trial(recipe.name, seed, dice)
        for seed in (0, 1)
        for recipe, dice in zip(recipes, (first, better, noise), strict=True)
    )
    patients = {f"c{n}": f"p{n}" for n in range(n_cases)}
    comparison = Comparison(trials, tuple(recipes), TrainingConfig(), patients)
    rows = {row[0]: row for row in mean_tables(comparison)[0][2]}
    many = n_cases == 6
    assert rows["svls"][1].endswith(" *") == many
    assert not rows["ls:0.1"][1].endswith("*")
    assert not rows["svls"][-1].endswith("*")  # no score is the temperature
    text = markdown(comparison)
    shown = "+0.01 [+0.01, +0.01]" if many else "| +0.01 |"
    assert shown in text
    assert ("5 cases are too few to tell" in text) != many
    assert ("over cases and seeds does not hold 0" in text) == many
    assert "- svls: svls, sigma 1, size 3, strength 0.5\n" in text
    assert "against 2 raters, 2 seeds" in text
    assert "in the boundary band" in meaning(comparison)
    found = comparison.to_json()
    assert found["training"]["epochs"] == 100
    assert found["methods"][1]["method"]["strength"] == 0.5
    assert found["raters"] == ["a", "b"]


def test_intervals_over_patients_and_seeds() -> None:
    rng = np.random.default_rng(0)
    patients = np.repeat(np.arange(30), 2).tolist()
    theirs = rng.uniform(1, 2, (3, 60))
    found = paired_difference(theirs - 0.25, theirs, patients, seed=0)
    assert found is not None
    assert found.difference == Interval(*[pytest.approx(-0.25)] * 3)
    assert (found.patients, found.settled) == (30, True)
    noise = rng.normal(0, 1, 30)[patients]
    found = paired_difference(theirs + noise, theirs, patients, seed=0)
    assert found is not None
    low, high = found.difference.low, found.difference.high
    assert low is not None
    assert high is not None
    # As wide as the noise of 30 patients has it, not of 60 cases.
    assert high - low == pytest.approx(2 * 1.96 * noise.std() / 30**0.5, rel=0.15)
    # Seeds that differ widen it, and many cases do not help.
    by_seed = theirs + np.array([[-1.0], [0.0], [1.0]])
    found = paired_difference(by_seed, theirs, patients, seed=0)
    assert found is not None
    assert found.difference.low == pytest.approx(-0.67, abs=0.35)
    assert not found.settled


def test_undefined_scores_are_left_out_of_differences() -> None:
    nan = np.nan
    ours, theirs = np.array([[1.0, nan, 3.0]]), np.array([[1.0, 1.0, 2.0]])
    found = paired_difference(ours, theirs, "abc", seed=0)
    assert found is not None
    assert (found.difference.value, found.patients) == (0.5, 2)
    assert paired_difference(ours[:, 1:2], theirs[:, 1:2], "b", seed=0) is None
    alone = paired_difference(ours[:, 2:], theirs[:, 2:], "c", seed=0)
    assert alone is not None
    assert alone.difference == Interval(1.0, None, None)
    assert not alone.settled
    zero = paired_difference(ours[:, ::2], np.zeros((1, 2)), "ac", seed=0)
    assert zero is not None
    assert zero.ratio is None
