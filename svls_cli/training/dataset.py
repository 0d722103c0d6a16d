"""Patches of a soft-label store and its images, for any PyTorch training loop."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, overload

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, from_numpy
from torch.utils.data import Dataset

from svls_cli.arrays import Region
from svls_cli.errors import InputError, InvalidParameterError, check_type
from svls_cli.labels.geometry import Geometry
from svls_cli.labels.raters import HARD
from svls_cli.labels.values import listed
from svls_cli.soften.levels import levels
from svls_cli.store.reader import StoredCase
from svls_cli.training.choices import Target
from svls_cli.training.config import TrainingConfig
from svls_cli.training.image_cache import CachedImage
from svls_cli.training.plan import check_target
from svls_cli.training.randomness import (
    Rank,
    distributed_rank,
    launched_rank,
    sample_generator,
)
from svls_cli.training.sampling import Landmarks, corner_of

Sample = dict[str, Any]
Transform = Callable[[Sample], Any]
# By the number of axes: world coordinates as a grid has them, (P, L, S) of a slice and
# (S, P, L), to RAS.
_TO_RAS = {
    2: np.array([[0, -1, 0, 0], [-1, 0, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]),
    3: np.array([[0, 0, -1, 0], [0, -1, 0, 0], [1, 0, 0, 0], [0, 0, 0, 1]]),
}


class SoftLabelDataset(Dataset[Sample]):
    """Random patches of a store's cases: ``dataset[i]`` draws a new one each time.

    ``dataset[i]`` is a patch of case ``dataset.names[i % len(dataset.names)]``. A
    `DataLoader` gives other patches in every epoch, worker and rank, and the same ones
    after the same `torch.manual_seed` with the same ``num_workers`` and
    ``persistent_workers``; not in threads that share a generator. Workers may be forked
    or spawned, those that read from an object store spawned only. Each searches a case
    for its boundaries once; with ``persistent_workers=True`` it need not do so again in
    every epoch.

    Each sample is a dict: ``image`` (c, z, y, x) float32, if there are images;
    ``target`` (classes, z, y, x) float32, probabilities; ``weight`` (1, z, y, x) uint8,
    0 where the voxel is ignored or outside the volume, so that its target is all 0;
    ``case``, its name; ``corner``, the patch's first voxel; ``affine`` (4, 4) float32,
    from the patch's voxels (z, y, x) to RAS in mm, as MONAI and TorchIO have it. That
    of a slice is for (y, x, 0): its third axis is S, 1 mm per voxel.

    Parameters
    ----------
    cases
        Cases by name: a `Store`, or some of its cases.
    images
        Images by name, from `unpack_images`; None for targets only.
    patch_size : one int, or one per spatial axis in array order
        Voxels of a patch; what reaches beyond the volume is 0.
    patches_per_case
        Number of patches of each case in an epoch.
    target, foreground_share, boundary_share
        As in `TrainingConfig`.
    stored
        Leave ``target`` as it is stored, for loops that `as_probabilities` on the
        device: uint8, where 255 is certain, is a quarter of the bytes (uint16 comes as
        int32). The sample's ``scale``, () float32, times it is a probability; other
        losses than ours need that, and do not say so.
    transform
        Function applied to each sample. PyTorch's generator is seeded for it, and its
        own if it has `set_random_state`, as MONAI's transforms do.

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
        patch_size: int | Sequence[int],
        patches_per_case: int = 1,
        target: Target = "soft",
        foreground_share: float = 0.33,
        boundary_share: float = 0.33,
        stored: bool = False,
        transform: Transform | None = None,
    ) -> None:
        check_type("cases", cases, Mapping, "a store, as open_store opens it")
        check_type("patch_size", patch_size, int | Iterable, "one int, or one per axis")
        self._cases = dict(cases)
        if not self._cases:
            raise InputError("no cases")
        self._images = None if images is None else _checked(images)
        self.names = tuple(sorted(self._cases))
        if isinstance(patch_size, int):
            axes = self._cases[self.names[0]].geometry.ndim
            patch_size = (patch_size,) * axes
        TrainingConfig(  # knows what is out of range
            target=target,
            patch_size=tuple(patch_size),
            foreground_share=foreground_share,
            boundary_share=boundary_share,
        )
        self._shares = foreground_share, boundary_share
        self._stored, self._transform = stored, transform
        self.patch_size, self.target = tuple(patch_size), target
        self.patches_per_case = patches_per_case
        self._landmarks: dict[str, Landmarks] = {}
        self._rank: Rank | None = None
        self._check()

    def _check(self) -> None:
        count = self.patches_per_case
        if not isinstance(count, int) or count < 1:
            raise InvalidParameterError(
                f"patches_per_case must be a whole number from 1 on, found {count!r}"
            )
        check_target(self._cases, self.target)
        if self._images is not None and (
            lost := sorted({*self.names} - {*self._images})
        ):
            raise InputError(f"no image for {listed(lost)}")
        for name, case in self._cases.items():
            if case.geometry.ndim != len(self.patch_size):
                raise InvalidParameterError(
                    f"patch size {self.patch_size} has {len(self.patch_size)} axes, "
                    f"case {name} {case.geometry.ndim}"
                )

    def __len__(self) -> int:
        return len(self.names) * self.patches_per_case

    def __iter__(self) -> Iterator[Sample]:
        """One epoch, in order."""
        return map(self.__getitem__, range(len(self)))

    @overload
    def __getitem__(self, index: int) -> Sample: ...
    @overload
    def __getitem__(self, index: slice) -> list[Sample]: ...
    def __getitem__(self, index: int | slice) -> Sample | list[Sample]:
        """Draw a patch of a case, or a list of them for a slice."""
        if isinstance(index, bool):
            raise TypeError("a patch's index is an integer, no bool")
        chosen = range(len(self))[index]  # any integer, and what is wrong raises
        if isinstance(chosen, range):
            return [self[each] for each in chosen]
        rank = distributed_rank() or self._rank or launched_rank()
        rng = sample_generator(chosen, rank)
        return self.draw(self.names[chosen % len(self.names)], rng)

    def draw(self, name: str, rng: np.random.Generator) -> Sample:
        """Draw a patch of a case, by these random numbers alone."""
        case = self._cases[name]
        foreground, boundary = self._shares
        centre = self._landmarks_of(case).centre(
            rng, foreground_share=foreground, boundary_share=boundary
        )
        corner = corner_of(rng, case.geometry.shape, self.patch_size, centre)
        sample = self._sample(case, corner, rng)
        if self._transform is None:
            return sample
        return _transformed(self._transform, sample, int(rng.integers(2**32)))

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
        top = levels(target.dtype)
        sample: Sample = {
            "weight": _tensor(weight),
            "case": case.name,
            "corner": from_numpy(np.array(corner)),
            "affine": from_numpy(_affine(case.geometry, corner)),
        }
        if self._stored:
            scale = from_numpy(np.array(1 / top, np.float32))
            sample |= {"target": _tensor(target), "scale": scale}
        else:
            sample["target"] = _tensor(np.divide(target, top, dtype=np.float32))
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

    def _landmarks_of(self, case: StoredCase) -> Landmarks:
        if case.name not in self._landmarks:
            self._landmarks[case.name] = Landmarks.of(
                case.label_patch(HARD),
                ignore_label=case.attributes["ignore_label"],
                name=case.name,
            )
        return self._landmarks[case.name]

    def __getstate__(self) -> dict[str, Any]:
        # Spawned workers cannot ask `torch.distributed`; landmarks are much to send.
        rank = distributed_rank() or self._rank
        return {**self.__dict__, "_rank": rank, "_landmarks": {}}


def _checked(images: Mapping[str, CachedImage]) -> dict[str, CachedImage]:
    """Images by name, if that is what they are."""
    expected = "as unpack_images gives them"
    check_type("images", images, Mapping, f"images by name, {expected}")
    for name, image in images.items():
        check_type(f"the image of {name}", image, CachedImage, expected)
    return dict(images)


def _transformed(transform: Transform, sample: Sample, seed: int) -> Sample:
    """A changed sample; the same seed makes the same changes."""
    if hasattr(transform, "set_random_state"):
        transform.set_random_state(seed=seed)
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)  # and not those of all devices
        changed: Sample = transform(sample)
        return changed


def _tensor(values: npt.NDArray[Any]) -> Tensor:
    """Convert to a tensor; uint16 to int32, as PyTorch computes little with uint16."""
    if values.dtype == np.uint16:
        values = values.astype(np.int32)
    return from_numpy(np.ascontiguousarray(values))


def _affine(geometry: Geometry, corner: Sequence[int]) -> npt.NDArray[np.float32]:
    """From the voxels of a patch, (z, y, x) or (y, x, 0), to RAS in mm, (4, 4)."""
    n = geometry.ndim
    world = np.eye(4)
    world[:n, :n] = np.reshape(geometry.direction, (n, n)) * geometry.spacing_mm
    world[:n, 3] = world[:n, :n] @ np.asarray(corner) + geometry.origin_mm
    if geometry.plane_mm:
        [world[2, 3]] = geometry.plane_mm
    affine: npt.NDArray[np.float32] = (_TO_RAS[n] @ world).astype(np.float32)
    return affine
