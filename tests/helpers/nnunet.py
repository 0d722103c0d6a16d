"""nnU-Net's own commands, on data sets that tests make."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from svls_cli.labels.images import open_image_file
from svls_cli.labels.output import write_image

PLANS = "smallPlans"
# Folder that makes nnU-Net run beside a CPU build of PyTorch.
OPERATORS = Path(__file__).with_name("torchvision_operators")


@dataclass(frozen=True)
class NnunetFolders:
    """Folders of raw and preprocessed data sets, and of results."""

    root: Path

    @property
    def raw(self) -> Path:
        return self.root / "raw"

    @property
    def preprocessed(self) -> Path:
        return self.root / "preprocessed"

    @property
    def results(self) -> Path:
        return self.root / "results"

    @property
    def environment(self) -> dict[str, str]:
        """What nnU-Net is told, and how it uses little of the machine."""

        return {
            **os.environ,
            "nnUNet_raw": str(self.raw),
            "nnUNet_preprocessed": str(self.preprocessed),
            "nnUNet_results": str(self.results),
            "nnUNet_def_n_proc": "1",
            "PYTHONPATH": str(OPERATORS),
        }

    def shell(self, line: str, cwd: Path) -> str:
        """Run a line of commands, nnU-Net's or ours, and return what it prints."""
        programs = Path(sys.executable).parent
        path = f"{programs}{os.pathsep}{os.environ['PATH']}"
        result = subprocess.run(
            ["bash", "-ec", line],
            cwd=cwd,
            env={**self.environment, "PATH": path},
            capture_output=True,
            text=True,
            check=False,
        )
        assert result.returncode == 0, result.stdout[-4000:] + result.stderr[-4000:]
        return result.stdout

    def add(
        self,
        name: str,
        images: Mapping[str, Path],
        labels: Mapping[str, Path],
        classes: Mapping[str, Any],
    ) -> Path:
        """Make a raw data set; all its files become NIfTI."""
        folder = self.raw / name
        for case in labels:
            _as_nifti(images[case], folder / "imagesTr" / f"{case}_0000.nii.gz")
            _as_nifti(labels[case], folder / "labelsTr" / f"{case}.nii.gz")
        content = {
            "channel_names": {"0": "MRI"},
            "labels": dict(classes),
            "numTraining": len(labels),
            "file_ending": ".nii.gz",
        }
        (folder / "dataset.json").write_text(json.dumps(content))
        return folder

    def preprocess(self, number: str, configurations: Sequence[str]) -> Path:
        """Preprocess a data set, and add plans that a CPU trains in seconds."""
        self.preprocessed.mkdir(exist_ok=True)
        self.results.mkdir(exist_ok=True)
        names, one = " ".join(configurations), " 1" * len(configurations)
        self.shell(
            f"nnUNetv2_plan_and_preprocess -d {number} -npfp 1 -c {names} -np{one}",
            self.root,
        )
        (folder,) = self.preprocessed.glob(f"Dataset{int(number):03d}_*")
        plans = json.loads((folder / "nnUNetPlans.json").read_text())
        plans["plans_name"] = PLANS
        for each in plans["configurations"].values():
            if "architecture" in each:
                _shrink(each)
        (folder / f"{PLANS}.json").write_text(json.dumps(plans))
        return folder


def _as_nifti(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.name.endswith(".nii.gz"):
        target.write_bytes(source.read_bytes())
        return
    with open_image_file(source) as file:
        voxels = file.read(slice(0, file.geometry.shape[0]))
        write_image(target, voxels, file.geometry)


def _shrink(configuration: dict[str, Any]) -> None:
    network = configuration["architecture"]["arch_kwargs"]
    configuration["batch_size"] = 2
    for key in ("kernel_sizes", "strides", "n_conv_per_stage"):
        network[key] = network[key][:3]
    network["n_conv_per_stage_decoder"] = network["n_conv_per_stage_decoder"][:2]
    # With two, deep supervision's only weight is 0.
    network["n_stages"], network["features_per_stage"] = 3, [4, 8, 8]
