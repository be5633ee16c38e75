"""The command line. Needs the extra ``cli``: ``pip install 'headwater[cli]'``."""

from __future__ import annotations

import sys

__all__ = ["main"]


def main() -> None:
    """Run ``headwater`` with the process's arguments, and end the process with its exit code."""
    try:
        import rich  # noqa: F401  # so that its absence is noticed here
        import typer  # noqa: F401
    except ModuleNotFoundError as missing:
        print(f"headwater: the command line needs {missing.name!r}: pip install 'headwater[cli]'", file=sys.stderr)
        sys.exit(1)
    from headwater.cli.app import app

    app(prog_name="headwater")
