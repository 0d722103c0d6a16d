"""The command line; the only part that knows click."""

import sys
from typing import NoReturn


def main() -> NoReturn:
    """Run the command; Ctrl-C is answered from the first import on."""
    try:
        from svls_cli.cli.group import main as run
    except KeyboardInterrupt:
        sys.exit(130)
    run()
