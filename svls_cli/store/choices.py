"""Contents and formats of exported files."""

from __future__ import annotations

from typing import Literal, get_args

Content = Literal["soft", "hard"]
CONTENTS: tuple[str, ...] = get_args(Content)
Format = Literal["nii.gz", "nii", "nrrd", "mha", "png"]
FORMATS: tuple[str, ...] = get_args(Format)
