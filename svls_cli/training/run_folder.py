"""The folder of a training run: checkpoints, a log and learning curves."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from svls_cli.errors import InputError, StoreError, check_choice
from svls_cli.files import UNFINISHED, clear_unfinished, unfinished_folder, write_csv
from svls_cli.store.reader import open_store
from svls_cli.training.choices import CHECKPOINTS
from svls_cli.training.curves import draw_curves
from svls_cli.training.image_cache import clear_cache
from svls_cli.training.plan import Plan
from svls_cli.training.run_state import RunState
from svls_cli.training.splitting import write_names

if TYPE_CHECKING:
    from svls_cli.training.checkpoint import Checkpoint


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
    def validation(self) -> Path:
        """File of the names of the cases that are not trained on."""
        return self.path / "validation.txt"

    @property
    def predictions(self) -> Path:
        """Store of the predictions of these cases, by the last weights."""
        return self.path / "validation.zarr"

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

    def begin(self, plan: Plan) -> None:
        """Create the folder of a new run, and write down what it holds out."""
        self.path.mkdir(parents=True, exist_ok=True)
        if not self.checkpoint("last").exists():
            write_names(plan.validation, self.validation)

    def clear_run(self) -> None:
        """Remove a run's files, except those that its next checkpoint replaces."""
        events = self.tensorboard.glob("events.out.tfevents.*")
        for path in (self.checkpoint("best"), self._log, self._curves, *events):
            path.unlink(missing_ok=True)

    def check(self, plan: Plan, *, overwrite: bool) -> RunState | None:
        """Check that a plan's run may be here; return the state of one to resume.

        Raises
        ------
        InputError
            If the folder holds other files, or a run of another plan, or of more epochs
            than the plan's, that is not to be overwritten.
        """
        last = self.checkpoint("last")
        if not last.exists():
            if self.path.exists() and not self.path.is_dir():
                raise InputError(f"{self.path}: a file; expected a folder")
            if foreign := self._foreign():
                raise InputError(
                    f"{self.path}: a folder with other files, {foreign[0]} among them; "
                    "expected a new name"
                )
            return None
        state = RunState.load(last)
        if overwrite:
            return None
        longer = replace(state.plan.config, epochs=plan.config.epochs)
        if difference := replace(state.plan, config=longer).difference(plan):
            raise InputError(
                f"{self.path} holds another run: {difference}. Use the same "
                "parameters, another folder, or train --overwrite"
            )
        if (done := len(state.history)) > plan.config.epochs:
            raise InputError(
                f"{self.path} has done {done} epochs, {plan.config.epochs} are fewer: "
                "give more, another folder, or train --overwrite"
            )
        return state

    def _foreign(self) -> list[str]:
        """Names of files that no run leaves before its first checkpoint."""
        known = (self.cache, self.tensorboard, self.validation)
        own = [path.name for path in known]
        if not self.path.exists():
            return []
        names = sorted(path.name for path in self.path.iterdir())
        return [n for n in names if n not in own and not n.startswith(UNFINISHED)]

    def keep(self, checkpoint: Checkpoint) -> None:
        """Save a checkpoint as the last one, then all that is derived from it.

        Predictions are removed: they are another checkpoint's.
        """
        with suppress(StoreError):
            if open_store(self.predictions).config.made_by == "predict":
                with unfinished_folder(self.path) as aside:  # whole or not at all
                    self.predictions.rename(aside / self.predictions.name)
        checkpoint.save(self.checkpoint("last"))
        self.derive(checkpoint)

    def derive(self, checkpoint: Checkpoint) -> None:
        """Write all that is known from a checkpoint, but for the predictions.

        These are the names of the validation cases, the log, the curves and, if the
        last epoch is the best, ``best.pt``.
        """
        write_names(checkpoint.plan.validation, self.validation)
        history = checkpoint.history
        known = [each.dice for each in history if each.dice is not None]
        highest = bool(known) and history[-1].dice == max(known)
        best = self.checkpoint("best")
        if highest and not (best.exists() and RunState.load(best).history == history):
            checkpoint.save(best)
        header = list(history[0].to_json())
        rows = [list(log.to_json().values()) for log in history]
        write_csv([header, *rows], self._log)
        draw_curves(history, self._curves)
