"""Patches of a soft-label store and its images, for any PyTorch training loop."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
from torch import Tensor, from_numpy
from torch.utils.data import Dataset

from svls_cli.arrays import FloatArray, Region
from svls_cli.errors import InputError, InvalidParameterError
from svls_cli.labels.raters import HARD
from svls_cli.labels.values import listed
from svls_cli.soften.levels import levels
from svls_cli.store.reader import StoredCase
from svls_cli.training.choices import Target
from svls_cli.training.config import TrainingConfig
from svls_cli.training.image_cache import CachedImage
from svls_cli.training.sampling import Landmarks, corner_of

Sample = dict[str, Any]
# Streams of random numbers: positions of patches, order of cases.
_PATCH, _ORDER = 1, 2
# Called with a sample and a seed of its own.
Transform = Callable[[Sample, int], Sample]


class SoftLabelDataset(Dataset[Sample]):
    """An endless, repeatable sequence of patches; ``len`` is one pass over the cases.

    Patch n is the same whenever and wherever it is asked for, so any sampler, number of
    workers or resumed run sees the same ones: ``dataset[n]`` is defined for every
    n >= 0, and each case comes once in ``len(cases)`` of them. No file stays open
    between two patches or travels to a worker, so workers may be forked or spawned.

    Each sample is a dict: ``image`` (c, z, y, x) float32, if there are images;
    ``target`` (classes, z, y, x) as stored: uint8, where 255 is certain, takes a
    quarter of the bytes of probabilities (`as_probabilities` makes them on the device;
    uint16 comes as int32); ``weight`` (1, z, y, x) uint8, 0 where the voxel is ignored
    or outside the volume, so that its target is all 0; ``case``; ``corner``, the
    patch's first voxel; ``affine`` (4, 4) or (3, 3), from the patch's voxels to mm, in
    array order (z, y, x) and (S, P, L).

    Parameters
    ----------
    cases
        Cases by name: a `Store`, or some of its cases.
    images
        Images by name, from `unpack_images`; None for targets only.
    patch_size
        Voxels per spatial axis; what reaches beyond the volume is 0.
    target, foreground_share, boundary_share
        As in `TrainingConfig`.
    seed
        Seed of the order of the cases and of the positions of patches.
    transform
        Function applied to each sample, with a seed of its own.

    Raises
    ------
    InvalidParameterError
        If a parameter is out of its range.
    InputError
        If there are no cases, or one lacks its image or its raters' label maps.
    """

    def __init__(
        self,
        cases: Mapping[str, StoredCase],
        images: Mapping[str, CachedImage] | None = None,
        *,
        patch_size: Sequence[int],
        target: Target = "soft",
        foreground_share: float = 0.33,
        boundary_share: float = 0.33,
        seed: int = 0,
        transform: Transform | None = None,
    ) -> None:
        self._cases = dict(cases)
        self._images = None if images is None else dict(images)
        self._names = sorted(self._cases)
        TrainingConfig(  # knows what is out of range
            target=target,
            patch_size=tuple(patch_size),
            foreground_share=foreground_share,
            boundary_share=boundary_share,
            seed=seed,
        )
        self._shares = foreground_share, boundary_share
        self._seed, self._transform = seed, transform
        self.patch_size, self.target = tuple(patch_size), target
        self._check()

    def _check(self) -> None:
        if not self._names:
            raise InputError("no cases")
        unrated = [name for name in self._names if not self._cases[name].raters]
        if self.target == "rater" and unrated:
            raise InputError(
                "target rater needs a store of fuse-raters, which keeps each rater's "
                f"label map; there are none for {listed(unrated)}"
            )
        if self._images is not None and (
            lost := sorted({*self._names} - {*self._images})
        ):
            raise InputError(f"no image for {listed(lost)}")
        for name, case in self._cases.items():
            if case.geometry.ndim != len(self.patch_size):
                raise InvalidParameterError(
                    f"patch size {self.patch_size} has {len(self.patch_size)} axes, "
                    f"case {name} {case.geometry.ndim}"
                )

    def __len__(self) -> int:
        return len(self._names)

    def __iter__(self) -> Iterator[Sample]:
        """One pass over the cases."""
        return map(self.__getitem__, range(len(self)))

    def __getitem__(self, number: int) -> Sample:
        """Return patch ``number``, any whole number from 0 on."""
        rng = np.random.default_rng((self._seed, _PATCH, number))
        name = self._name(number)
        case = self._cases[name]
        foreground, boundary = self._shares
        centre = self._landmarks_of(case).centre(
            rng, foreground_share=foreground, boundary_share=boundary
        )
        corner = corner_of(rng, case.geometry.shape, self.patch_size, centre)
        sample = self._sample(case, corner, rng)
        if self._transform is not None:
            sample = self._transform(sample, int(rng.integers(2**32)))
        return sample

    def _name(self, number: int) -> str:
        """Name of the case of a patch; each pass has an order of its own."""
        passed, at = divmod(number, len(self._names))
        rng = np.random.default_rng((self._seed, _ORDER, passed))
        order: list[int] = rng.permutation(len(self._names)).tolist()
        return self._names[order[at]]

    def _sample(
        self, case: StoredCase, corner: Sequence[int], rng: np.random.Generator
    ) -> Sample:
        shape = case.geometry.shape
        region = tuple(
            slice(max(0, at), min(at + size, n))
            for at, size, n in zip(corner, self.patch_size, shape, strict=True)
        )
        target = self._padded(self._target(case, region, rng), corner, shape)
        weight = np.any(target, axis=0, keepdims=True).astype(np.uint8)
        sample: Sample = {
            "target": _tensor(target),
            "weight": _tensor(weight),
            "case": case.name,
            "corner": from_numpy(np.array(corner)),
            "affine": from_numpy(_affine(case, corner)),
        }
        if self._images is not None:
            image = self._images[case.name].patch(region)
            sample["image"] = _tensor(self._padded(image, corner, shape))
        return sample

    def _target(
        self, case: StoredCase, region: Region, rng: np.random.Generator
    ) -> npt.NDArray[Any]:
        if self.target == "soft":
            return case.patch(region)
        name = HARD
        if self.target == "rater":
            name = case.raters[rng.integers(len(case.raters))]
        labels = case.label_patch(name, region)
        dtype = np.dtype(case.attributes["dtype"])
        values = case.classes.values.reshape(-1, *(1,) * labels.ndim)
        onehot: npt.NDArray[Any] = (labels[np.newaxis] == values).astype(dtype)
        onehot *= dtype.type(levels(dtype))
        return onehot

    def _padded(
        self, values: npt.NDArray[Any], corner: Sequence[int], shape: Sequence[int]
    ) -> npt.NDArray[Any]:
        missing = [
            (max(0, -at), max(0, at + size - n))
            for at, size, n in zip(corner, self.patch_size, shape, strict=True)
        ]
        return np.pad(values, [(0, 0), *missing]) if any(map(any, missing)) else values

    @cached_property
    def _landmarks(self) -> dict[str, Landmarks]:
        return {}

    def _landmarks_of(self, case: StoredCase) -> Landmarks:
        if case.name not in self._landmarks:
            self._landmarks[case.name] = Landmarks.of(
                case.label_patch(HARD),
                ignore_label=case.attributes["ignore_label"],
                name=case.name,
            )
        return self._landmarks[case.name]

    def __getstate__(self) -> dict[str, Any]:
        return {k: v for k, v in self.__dict__.items() if k != "_landmarks"}


def _tensor(values: npt.NDArray[Any]) -> Tensor:
    """Convert to a tensor; uint16 to int32, as PyTorch computes little with uint16."""
    if values.dtype == np.uint16:
        values = values.astype(np.int32)
    return from_numpy(np.ascontiguousarray(values))


def _affine(case: StoredCase, corner: Sequence[int]) -> FloatArray:
    geometry, n = case.geometry, case.geometry.ndim
    affine = np.eye(n + 1)
    affine[:n, :n] = np.reshape(geometry.direction, (n, n)) * geometry.spacing_mm
    affine[:n, n] = affine[:n, :n] @ np.asarray(corner) + geometry.origin_mm
    return affine
