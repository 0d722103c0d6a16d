"""`python -m svls_cli` is the command `svls-cli`."""

from svls_cli.cli import main

if __name__ == "__main__":
    main()
