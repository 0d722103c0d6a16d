"""`nnUNetTrainerSVLS`: nnU-Net's trainer, on soft labels."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

from nnunetv2.training.loss.deep_supervision import DeepSupervisionWrapper
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from torch import nn

from svls_cli.errors import InputError
from svls_cli.labels.values import listed
from svls_cli.nnunet.losses import SoftLabelLoss
from svls_cli.nnunet.preprocessed import labels_digest, soft_folder
from svls_cli.nnunet.soft_files import (
    SUFFIX,
    LabelsWithSoft,
    open_soft_file,
    origin_of,
)
from svls_cli.nnunet.transforms import with_soft_labels


class SoftLabelCases:
    """nnU-Net's data set, whose label maps bring their soft labels along.

    Parameters
    ----------
    stock
        nnU-Net's own data set.
    folder
        Folder that `nnunet_cases` filled.

    Raises
    ------
    InputError
        If a case has no soft labels there, they belong to another label map than
        nnU-Net's, or not all come from stores of the same parameters.
    """

    def __init__(self, stock: Any, folder: Path) -> None:
        self.identifiers: list[str] = stock.identifiers
        self._stock, self._folder = stock, folder
        if lost := [n for n in self.identifiers if not self._file(n).is_file()]:
            self._refuse("has no soft labels", lost)
        origins = {name: origin_of(self._file(name)) for name in self.identifiers}
        digest = partial(labels_digest, stock.source_folder)
        if old := [n for n, origin in origins.items() if digest(n) != origin.labels]:
            self._refuse("has soft labels of older label maps", old)
        self.store = Counter(o.store for o in origins.values()).most_common(1)[0][0]
        if other := [n for n, origin in origins.items() if origin.store != self.store]:
            self._refuse("has soft labels of another store", other)

    def _refuse(self, what: str, names: list[str]) -> NoReturn:
        count = f"{len(names)} of {len(self.identifiers)}"
        raise InputError(
            f"{self._folder} {what} for {count} cases to train on: {listed(names, 3)}; "
            "run svls-cli nnunet again"
        )

    def _file(self, name: str) -> Path:
        return self._folder / f"{name}{SUFFIX}"

    def load_case(self, name: str) -> tuple[Any, LabelsWithSoft, Any, dict[str, Any]]:
        """Images, label map with soft labels, nothing, properties; all read lazily."""
        images, labels, _, properties = self._stock.load_case(name)
        path = self._file(name)
        both = LabelsWithSoft(labels, open_soft_file(path), path)
        return images, both, None, properties


class nnUNetTrainerSVLS(nnUNetTrainer):  # type: ignore[misc]  # noqa: N801
    """Trains on the soft labels that ``svls-cli nnunet`` put on nnU-Net's grid.

    All else is nnU-Net's: the images and their augmentation, which soft labels follow;
    the schedule; and validation, on the label maps, so that results compare.
    """

    def get_tr_and_val_datasets(self) -> tuple[SoftLabelCases, Any]:
        """Cases to train on, with soft labels, and nnU-Net's own for validation."""
        train, validation = super().get_tr_and_val_datasets()
        folder = soft_folder(self.preprocessed_dataset_folder)
        cases = SoftLabelCases(train, folder)
        self.print_to_log_file(f"Soft labels: {folder} ({cases.store})")
        return cases, validation

    @staticmethod
    def get_training_transforms(
        patch_size: Any,
        rotation_for_DA: Any,  # noqa: N803
        deep_supervision_scales: Sequence[Sequence[float]] | None,
        mirror_axes: Any,
        do_dummy_2d_data_aug: bool,
        use_mask_for_norm: list[bool] | None = None,
        is_cascaded: bool = False,
        foreground_labels: Any = None,
        regions: Any = None,
        ignore_label: int | None = None,
    ) -> Any:
        """nnU-Net's augmentation, which moves soft labels as it moves images."""
        if is_cascaded or regions is not None:
            what = "cascades" if is_cascaded else "regions"
            raise InputError(f"nnUNetTrainerSVLS does not train {what}")
        stock = nnUNetTrainer.get_training_transforms(
            patch_size,
            rotation_for_DA,
            None,
            mirror_axes,
            do_dummy_2d_data_aug,
            use_mask_for_norm=use_mask_for_norm,
            ignore_label=ignore_label,
        )
        return with_soft_labels(
            stock,
            keep_labels=any(use_mask_for_norm or ()),
            ignores=ignore_label is not None,
            scales=deep_supervision_scales,
        )

    def _build_loss(self) -> nn.Module:
        stock: Any = super()._build_loss()
        wrapper = stock if isinstance(stock, DeepSupervisionWrapper) else None
        loss = SoftLabelLoss(
            stock if wrapper is None else wrapper.loss,
            batch_dice=self.configuration_manager.batch_dice,
            ddp=self.is_ddp,
        )
        if wrapper is None:
            return loss
        wrapper.loss = loss
        wrapped: nn.Module = wrapper
        return wrapped
