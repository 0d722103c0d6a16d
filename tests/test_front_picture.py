"""The picture at the top of the README is what its script draws of the sample data."""

import subprocess
import sys
from pathlib import Path

import numpy as np
from matplotlib.image import imread

from tests.helpers.commands import ROOT

FOLDER = ROOT / ".github"


def test_script_draws_the_picture(tmp_path: Path) -> None:
    drawn, kept = tmp_path / "front.png", FOLDER / "front.png"
    subprocess.run([sys.executable, FOLDER / "front.py", drawn], check=True)
    pixels, expected = imread(drawn), imread(kept)
    assert pixels.shape == expected.shape == (510, 1680, 4)
    # Fonts may be drawn a little differently elsewhere, labels may not.
    assert np.mean(np.abs(pixels - expected) > 0.1) < 0.05
    assert kept.stat().st_size <= 120_000
