"""`cbam-search`: the list of commands, and how errors become exit codes.

Exit codes:

- 0: done
- 1: the study or the program failed
- 2: something the reader can fix
- 130: Ctrl-C, or `cbam-search stop`; 143: SIGTERM; 129: SIGHUP
- `status RUN`: 0 complete, 1 failed, 3 running, 4 interrupted; `stop --timeout`: 3 where the study still runs

Nothing heavy is imported before a command needs it.
"""

from __future__ import annotations

import sys

import typer

from cbam_search.cli.plans import plan
from cbam_search.cli.spaces import cost, schema, tables, validate
from cbam_search.cli.studies import export, front, launch, resume, track
from cbam_search.cli.tabulate_command import tabulate
from cbam_search.cli.watching import logs, status, stop
from cbam_search.errors import CbamSearchError, UserError
from cbam_search.safe_text import presentable

app = typer.Typer(
    name="cbam-search",
    help="Find out whether attention pays in your image classifier: in which blocks, of which kind (SE, CBAM, ECA, BAM, "
    "Global Context, Coordinate Attention), with which settings, and at what cost. In ResNets, ResNeXts, MobileNets and "
    "networks of your own.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
for command in (launch, resume, status, stop, logs, front, export, track, validate, plan, tabulate, cost, tables, schema):
    app.command()(command)


def main() -> None:
    """Run the command line and exit."""
    try:
        app()
    except CbamSearchError as error:
        print(presentable(f"error: {error}"), file=sys.stderr)  # noqa: T201
        sys.exit(2 if isinstance(error, UserError) else 1)
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:
        # The reader of our output (head, less) is gone; nothing is left to say.
        sys.stderr.close()
        sys.exit(1)
