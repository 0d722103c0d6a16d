"""Checkpoints: weights, and all that a run needs to go on."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import BadZipFile, ZipFile

import torch

from svls_cli.batch.version import __version__
from svls_cli.errors import InputError
from svls_cli.files import replacing
from svls_cli.training.epoch_log import EpochLog
from svls_cli.training.network import planned_network
from svls_cli.training.plan import Plan
from svls_cli.training.run_state import FORMAT, FORMAT_VERSION, RunState, damaged


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """The state of a training run after an epoch."""

    state: RunState
    # State dicts of the network and the optimizer.
    network: Mapping[str, Any]
    optimizer: Mapping[str, Any]

    @property
    def plan(self) -> Plan:
        """The run's plan."""
        return self.state.plan

    @property
    def history(self) -> tuple[EpochLog, ...]:
        """Log of each epoch so far."""
        return self.state.history

    def save(self, path: Path) -> None:
        """Write the checkpoint, whole or not at all."""
        record = {
            "format": FORMAT,
            "format_version": FORMAT_VERSION,
            "tool_version": __version__,
            **self.state.to_json(),
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
        network = planned_network(self.plan)
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
            As `RunState.load`.
        """
        state = RunState.load(path)
        try:
            with ZipFile(path) as archive:
                if broken := archive.testzip():  # torch does not look at checksums
                    raise BadZipFile(broken)
            record = torch.load(path, map_location="cpu", weights_only=True)
            return cls(state, dict(record["network"]), dict(record["optimizer"]))
        except Exception as error:  # damaged files make the unpickler raise anything
            raise damaged(path) from error
