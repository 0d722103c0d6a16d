"""The folder of a training run: checkpoints, a log and learning curves."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import BadZipFile, ZipFile

import torch

from svls_cli.batch.version import __version__
from svls_cli.errors import InputError, check_choice
from svls_cli.files import UNFINISHED, clear_unfinished, replacing, write_csv
from svls_cli.training.choices import CHECKPOINTS
from svls_cli.training.curves import draw_curves
from svls_cli.training.epoch_log import EpochLog
from svls_cli.training.image_cache import clear_cache
from svls_cli.training.plan import Plan

FORMAT = "svls-training-run"
FORMAT_VERSION = 1


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """The state of a training run after an epoch."""

    plan: Plan
    history: tuple[EpochLog, ...]  # log of each epoch so far
    # State dicts of the network and the optimizer.
    network: Mapping[str, Any]
    optimizer: Mapping[str, Any]

    def save(self, path: Path) -> None:
        """Write the checkpoint, whole or not at all."""
        record = {
            "format": FORMAT,
            "format_version": FORMAT_VERSION,
            "tool_version": __version__,
            "plan": self.plan.to_json(),
            "history": [log.to_json() for log in self.history],
            "network": dict(self.network),
            "optimizer": dict(self.optimizer),
        }
        # Saved to a file, torch hides the error of a full disk.
        content = io.BytesIO()
        torch.save(record, content)
        with replacing(path) as part:
            part.write_bytes(content.getbuffer())

    def trained_network(self) -> torch.nn.Module:
        """Build the network, with its trained weights.

        Raises
        ------
        InputError
            If the weights do not fit the network of the plan.
        """
        network = self.plan.network()
        try:
            network.load_state_dict(self.network)
        except (RuntimeError, TypeError, AttributeError) as error:
            raise InputError("the checkpoint's weights do not fit its plan") from error
        return network

    @classmethod
    def load(cls, path: Path) -> Checkpoint:
        """Read a checkpoint; only numbers and text, so nothing in it is ever executed.

        Raises
        ------
        InputError
            If the file is missing, damaged, not a checkpoint, or of a newer svls-cli.
        """
        if not path.is_file():
            raise InputError(f"{path}: no such checkpoint")
        try:
            with ZipFile(path) as archive:
                if broken := archive.testzip():  # torch does not look at checksums
                    raise BadZipFile(broken)
            record = torch.load(path, map_location="cpu", weights_only=True)
            version = record["format_version"]
            if record["format"] == FORMAT and version <= FORMAT_VERSION:
                return cls(
                    Plan.from_json(record["plan"]),
                    tuple(EpochLog(**log) for log in record["history"]),
                    dict(record["network"]),
                    dict(record["optimizer"]),
                )
        except Exception as error:  # damaged files make the unpickler raise anything
            raise InputError(
                f"{path}: damaged, or not a checkpoint of svls-cli train"
            ) from error
        if record["format"] != FORMAT:
            raise InputError(f"{path}: not a checkpoint of svls-cli train")
        raise InputError(
            f"{path}: format version {version} is newer than this svls-cli "
            f"({FORMAT_VERSION}); upgrade svls-cli"
        )


@dataclass(frozen=True)
class RunFolder:
    """The folder of a run, and the files in it."""

    path: Path

    def checkpoint(self, name: str) -> Path:
        """Path of the checkpoint ``last`` or ``best``.

        Raises
        ------
        InvalidParameterError
            If ``name`` is neither of them.
        """
        check_choice("checkpoint", name, CHECKPOINTS)
        return self.path / f"{name}.pt"

    @property
    def tensorboard(self) -> Path:
        """Folder of TensorBoard's event files."""
        return self.path / "tensorboard"

    @property
    def cache(self) -> Path:
        """Folder of unpacked images, unless the run was told another."""
        return self.path / "cache"

    @property
    def _log(self) -> Path:
        return self.path / "log.csv"

    @property
    def _curves(self) -> Path:
        return self.path / "curves.png"

    def clear_cache(self) -> None:
        """Remove unpacked images, and unfinished files of a killed process."""
        clear_cache(self.cache)
        for folder in (self.path, self.cache):
            clear_unfinished(folder)

    def clear_run(self) -> None:
        """Remove a run's files, except the last checkpoint, which is replaced."""
        events = self.tensorboard.glob("events.out.tfevents.*")
        for path in (self.checkpoint("best"), self._log, self._curves, *events):
            path.unlink(missing_ok=True)

    def prepare(self, plan: Plan, *, overwrite: bool) -> Checkpoint | None:
        """Create the folder, or return the checkpoint to resume from.

        Raises
        ------
        InputError
            If it holds other files, or a run of another plan that is not to be
            overwritten.
        """
        last = self.checkpoint("last")
        if not last.exists():
            if self.path.exists() and not self.path.is_dir():
                raise InputError(f"{self.path}: a file; expected a folder")
            self.path.mkdir(parents=True, exist_ok=True)
            if foreign := self._foreign():
                raise InputError(
                    f"{self.path}: a folder with other files, {foreign[0]} among them; "
                    "expected a new name"
                )
            return None
        checkpoint = Checkpoint.load(last)
        if overwrite:
            return None
        if difference := checkpoint.plan.difference(plan):
            raise InputError(
                f"{self.path} holds another run: {difference}. Use the same "
                "parameters, another folder, or train --overwrite"
            )
        return checkpoint

    def _foreign(self) -> list[str]:
        """Names of files that no run leaves before its first checkpoint."""
        own = (self.cache.name, self.tensorboard.name)
        names = sorted(path.name for path in self.path.iterdir())
        return [n for n in names if n not in own and not n.startswith(UNFINISHED)]

    def keep(self, checkpoint: Checkpoint) -> None:
        """Save a checkpoint as the last one, then all that is derived from it."""
        checkpoint.save(self.checkpoint("last"))
        self.derive(checkpoint)

    def derive(self, checkpoint: Checkpoint) -> None:
        """Write the log, the curves and, if the last epoch is the best, ``best.pt``."""
        history = checkpoint.history
        known = [each.dice for each in history if each.dice is not None]
        highest = bool(known) and history[-1].dice == max(known)
        if highest and not self._holds("best", history):
            checkpoint.save(self.checkpoint("best"))
        header = list(history[0].to_json())
        rows = [list(log.to_json().values()) for log in history]
        write_csv([header, *rows], self._log)
        draw_curves(history, self._curves)

    def _holds(self, name: str, history: tuple[EpochLog, ...]) -> bool:
        """Whether a checkpoint has this history."""
        path = self.checkpoint(name)
        return path.exists() and Checkpoint.load(path).history == history
