"""Lets torchvision, which nnU-Net imports and does not use, load beside any PyTorch.

Its usual build is for CUDA's PyTorch; beside a CPU build its own operators are missing,
and importing it fails.
"""

import torch

try:
    import torchvision  # noqa: F401
except RuntimeError:
    for name in ("nms", "qnms"):
        boxes = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
        torch.library.define(f"torchvision::{name}", boxes)
