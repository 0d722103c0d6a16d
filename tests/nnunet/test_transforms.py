"""Soft labels through nnU-Net's own augmentation."""

from typing import Any

import numpy as np
import pytest
import torch
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

from svls_cli.errors import InputError
from svls_cli.nnunet.trainer import nnUNetTrainerSVLS

CLASSES, IGNORED = 3, 3
SCALES = [[1.0, 1.0, 1.0], [0.5, 0.5, 0.5], [0.25, 0.5, 0.5]]


def patch(seed: int, shape: tuple[int, ...], *, ignores: bool = False) -> torch.Tensor:
    """Label map and one-hot soft labels (1 + c, ...) int16, -1 outside the volume."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, CLASSES + ignores, [n // 4 for n in shape])
    labels = coarse
    for axis in range(len(shape)):
        labels = labels.repeat(4, axis)
    soft = 255 * (labels == np.arange(CLASSES).reshape(-1, *(1,) * len(shape)))
    both = np.stack([labels, *soft]).astype(np.int16)
    both[..., :3] = -1
    return torch.from_numpy(both)


def transforms(
    trainer: type[nnUNetTrainer],
    shape: tuple[int, ...],
    *,
    scales: list[list[float]] | None = None,
    ignore_label: int | None = None,
    masked: bool = False,
    flat: bool = False,
) -> Any:
    return trainer.get_training_transforms(
        shape,
        (-0.5, 0.5),
        scales,
        tuple(range(len(shape))),
        flat,
        use_mask_for_norm=[masked],
        ignore_label=ignore_label,
    )


def run(transform: Any, both: torch.Tensor, seed: int) -> dict[str, torch.Tensor]:
    np.random.seed(seed)
    torch.manual_seed(seed)
    image = torch.ones(1, *both.shape[1:])
    result: dict[str, torch.Tensor] = transform(image=image, segmentation=both)
    return result


@pytest.mark.parametrize("shape", [(16, 24, 20), (24, 20)])
@pytest.mark.parametrize("ignore_label", [None, IGNORED])
def test_soft_labels_follow_the_label_map(
    shape: tuple[int, ...], ignore_label: int | None
) -> None:
    soft = transforms(nnUNetTrainerSVLS, shape, ignore_label=ignore_label)
    hard = transforms(nnUNetTrainer, shape, ignore_label=ignore_label)
    for seed in range(12):  # some are rotated, some scaled, some mirrored
        both = patch(seed, shape, ignores=ignore_label is not None)
        mine = run(soft, both.clone(), seed)["segmentation"].float()
        theirs = run(hard, both[:1].clone(), seed)["segmentation"][0]
        total = mine.sum(dim=0)
        assert mine.shape == (CLASSES, *shape)
        assert mine.min() >= 0
        assert total.max() < 1.001
        if ignore_label is None:
            torch.testing.assert_close(total, torch.ones(shape), atol=2e-3, rtol=0)
        # Where one class is nearly certain, it is the label map's; so is the ignored.
        certain = mine.max(dim=0)
        sure = certain.values > 0.9
        assert sure.float().mean() > 0.1
        assert torch.equal(certain.indices[sure], theirs[sure].long())
        assert (theirs[total < 0.1] == IGNORED).all()


def test_no_change_keeps_every_value() -> None:
    shape = (16, 16, 16)
    transform = transforms(nnUNetTrainerSVLS, shape)
    transform.transforms = [transform.transforms[0], transform.transforms[-1]]
    rng = np.random.default_rng(0)
    both = torch.from_numpy(rng.integers(0, 256, (1 + CLASSES, *shape), dtype=np.int16))
    both[1:] = both[1:] * (255 / both[1:].sum(dim=0).clamp(min=1))  # less than 255
    found = run(transform, both, 0)["segmentation"].float()
    expected = both[1:].float() / 255
    expected[0] += 1 - expected.sum(dim=0)
    torch.testing.assert_close(found, expected, atol=6e-4, rtol=0)


def test_coarser_scales_are_means_of_areas() -> None:
    shape = (16, 16, 16)
    transform = transforms(nnUNetTrainerSVLS, shape, scales=SCALES)
    stock = transforms(nnUNetTrainer, shape, scales=SCALES)
    both = patch(5, shape)
    mine = run(transform, both.clone(), 0)["segmentation"]
    theirs = run(stock, both[:1].clone(), 0)["segmentation"]
    assert [each.shape[1:] for each in mine] == [each.shape[1:] for each in theirs]
    assert {each.dtype for each in mine} == {torch.float16}
    finest, half, _ = (each.float() for each in mine)
    blocks = finest.reshape(CLASSES, 8, 2, 8, 2, 8, 2).mean(dim=(2, 4, 6))
    torch.testing.assert_close(half, blocks, atol=1e-3, rtol=0)


def test_masked_images_stay_masked() -> None:
    shape = (16, 24, 20)
    soft = transforms(nnUNetTrainerSVLS, shape, masked=True)
    hard = transforms(nnUNetTrainer, shape, masked=True)
    both = patch(0, shape)
    mine, theirs = run(soft, both.clone(), 3), run(hard, both[:1].clone(), 3)
    assert torch.equal(mine["image"], theirs["image"])


def test_anisotropic_patches_are_turned_in_plane() -> None:
    shape = (4, 24, 24)
    soft = transforms(nnUNetTrainerSVLS, shape, flat=True)
    assert run(soft, patch(1, shape), 2)["segmentation"].shape == (CLASSES, *shape)


def test_cascades_and_regions_are_refused() -> None:
    for more, word in (
        ({"is_cascaded": True}, "cascades"),
        ({"regions": [1]}, "region"),
    ):
        with pytest.raises(InputError, match=word):
            nnUNetTrainerSVLS.get_training_transforms(
                (8, 8), (0, 1), None, (), False, **more
            )
