"""What a checkpoint says of its run: all but the weights, read without PyTorch."""

from __future__ import annotations

import io
import pickle
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import ZipFile

from svls_cli.errors import InputError
from svls_cli.training.epoch_log import EpochLog
from svls_cli.training.plan import Plan

FORMAT = "svls-training-run"
FORMAT_VERSION = 1


@dataclass(frozen=True)
class RunState:
    """How far a run is."""

    plan: Plan
    history: tuple[EpochLog, ...]  # log of each epoch so far

    def to_json(self) -> dict[str, Any]:
        """The state as saved."""
        return {
            "plan": self.plan.to_json(),
            "history": [log.to_json() for log in self.history],
        }

    @classmethod
    def load(cls, path: Path) -> RunState:
        """Read the state of a checkpoint; nothing in the file is executed.

        Raises
        ------
        InputError
            If the file is missing, damaged, not a checkpoint, or of a newer svls-cli.
        """
        if not path.is_file():
            raise InputError(f"{path}: no such checkpoint")
        try:
            record = _without_tensors(path)
            known, version = record["format"] == FORMAT, record["format_version"]
            if known and version <= FORMAT_VERSION:
                history = tuple(EpochLog(**log) for log in record["history"])
                return cls(Plan.from_json(record["plan"]), history)
        except Exception as error:  # damaged files make the unpickler raise anything
            raise damaged(path) from error
        if not known:
            raise InputError(f"{path}: not a checkpoint of svls-cli train")
        raise InputError(
            f"{path}: format version {version} is newer than this svls-cli "
            f"({FORMAT_VERSION}); upgrade svls-cli"
        )


def damaged(path: Path) -> InputError:
    """The error of a file that is no checkpoint, or no longer."""
    return InputError(f"{path}: damaged, or not a checkpoint of svls-cli train")


def _without_tensors(path: Path) -> Mapping[str, Any]:
    """The record that `torch.save` wrote, None in the place of every tensor."""
    with ZipFile(path) as archive:
        names = archive.namelist()
        name = next(each for each in names if each.endswith("/data.pkl"))
        content = archive.read(name)  # checks its checksum
    record: Mapping[str, Any] = _Unpickler(io.BytesIO(content)).load()
    return record


class _Unpickler(pickle.Unpickler):
    """Makes numbers, text, lists and dicts; whatever else a file asks for is None."""

    def find_class(self, module: str, name: str) -> Any:
        return _nothing

    def persistent_load(self, pid: Any) -> None:
        return None


def _nothing(*arguments: Any) -> None:
    return None
