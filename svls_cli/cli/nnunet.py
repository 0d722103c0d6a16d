"""`svls-cli nnunet`."""

from __future__ import annotations

import os
import shlex
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import click

from svls_cli.cli import console, options
from svls_cli.cli.command import PATH, Command, option
from svls_cli.errors import InvalidParameterError

DEFAULT_PLANS = "nnUNetPlans"


@click.command("nnunet", cls=Command)
@click.argument("store", metavar="STORE.zarr", type=PATH)
@click.argument("dataset", metavar="DATASET")
@option(
    "-p",
    "--plans",
    group="Input",
    default=DEFAULT_PLANS,
    metavar="NAME",
    help="Name of nnU-Net's plans.",
)
@option(
    "-c",
    "--configuration",
    "configurations",
    group="Input",
    multiple=True,
    metavar="NAME",
    help="Configuration such as 3d_fullres; may be given several times. [default: all "
    "that are preprocessed]",
)
@options.overwrite("Replace soft labels of a store with other parameters.")
@options.as_json
@options.jobs
@options.fail_fast
def command(store: str, dataset: str, plans: str, as_json: bool, **rest: Any) -> int:
    """Bring soft labels to nnU-Net.

    Puts the soft labels of STORE.zarr onto the grid of the cases that nnU-Net has
    preprocessed, by nnU-Net's own steps, for the trainer nnUNetTrainerSVLS. DATASET is
    the number or name of nnU-Net's data set, in the folder that nnUNet_preprocessed
    names. The store must be made from its label maps, with its classes. Validation and
    prediction stay what they are in nnU-Net.

    Cases that are there already are skipped: to resume, run the same command again.
    Requires pip install 'svls-cli[nnunet]'.

    \b
      svls-cli smooth --classes $nnUNet_raw/Dataset004_Hippocampus/dataset.json \\
        $nnUNet_raw/Dataset004_Hippocampus/labelsTr out.zarr
      nnUNetv2_plan_and_preprocess -d 4
      svls-cli nnunet out.zarr 4
    """
    if find_spec("nnunetv2") is None:
        raise InvalidParameterError(
            "nnunet needs nnunetv2: pip install 'svls-cli[nnunet]'"
        )
    from svls_cli.nnunet.nnunet import nnunet_cases

    reporter = console.Reporter(
        as_json=as_json, done="brought onto nnU-Net's grid", where=store
    )
    with console.batch(rest, on_record=reporter) as batch:
        bridged = nnunet_cases(store, dataset, plans=plans, batch=batch, **rest)
    code = reporter.finish()
    if not as_json:
        if bridged.agreements:
            console.echo(
                "in every case nnU-Net's label is the most probable class at no less "
                f"than {min(bridged.agreements):.2%} of the foreground"
            )
        if not code:
            _show_next(dataset, bridged.configurations[-1], plans)
    return code


def _show_next(dataset: str, configuration: str, plans: str) -> None:
    """Say how nnU-Net finds the trainer, and how it is started."""
    import svls_cli.nnunet

    known = os.environ.get("nnUNet_extTrainer", "")  # noqa: SIM112
    folders = known.split(os.pathsep)
    ours = str(Path(svls_cli.nnunet.__path__[0], "trainers"))
    if ours not in folders:
        path = os.pathsep.join([*filter(None, folders), ours])
        console.echo(f"export nnUNet_extTrainer={shlex.quote(path)}")
    named = "" if plans == DEFAULT_PLANS else f" -p {shlex.quote(plans)}"
    console.echo(
        f"nnUNetv2_train {dataset} {configuration} 0{named} -tr nnUNetTrainerSVLS"
    )
