"""The command `cfbench`."""

import io
import sys
from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line; bad input ends in a message and exit code 2, never a traceback."""
    from cfbench.cli import app
    from cfbench.errors import CfbenchError

    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # A terminal that cannot show an arrow shows a question mark instead.
            stream.reconfigure(errors="replace")
    try:
        app(arguments, prog_name="cfbench")
    except CfbenchError as error:
        from cfbench.cli.console import print_problems

        print_problems(error.problems)
        sys.exit(2)
    except OSError as error:
        # What no reader has foreseen: a name that is too long, a disk that is full.
        sys.exit(_report(error))


def _report(error: OSError) -> int:
    name = f"{error.filename}: " if error.filename else ""
    sys.stderr.write(f"error: {name[:200]}{error.strerror or error}\n")
    return 2


if __name__ == "__main__":
    main()
