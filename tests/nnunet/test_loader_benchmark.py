"""The benchmark of nnU-Net's loader runs."""

import re

from tests.helpers.commands import ROOT, run_python
from tests.helpers.nnunet import OPERATORS


def test_it_prints_its_table() -> None:
    script = ROOT / "tests" / "benchmarks" / "nnunet_loader.py"
    options = ["--scale", "0.1", "--rounds", "1", "--patches", "2"]
    result = run_python(script, *options, PYTHONPATH=str(OPERATORS))
    rows = [
        line for line in result.stdout.splitlines() if re.search(r"\d\.\d\dx", line)
    ]
    assert len(rows) == 2
