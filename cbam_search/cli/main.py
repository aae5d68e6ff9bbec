"""The way into the command line and out of it: how errors become sentences and exit codes.

Exit codes:

- 0: done
- 1: the study, the program or the machine failed
- 2: something the reader can fix
- 130: Ctrl-C, or `cbam-search stop`; 143: SIGTERM; 129: SIGHUP; 141: nobody reads the output any more
- `status RUN`: 0 complete, 1 failed, 3 running, 4 interrupted; `stop --timeout`: 3 where the study still runs

An error is a sentence on stderr. Stdout stays empty then, with `--json` too.

This module imports next to nothing, so that Ctrl-C during the imports of the commands ends as it does later.
"""

from __future__ import annotations

import signal
import sys
from typing import NoReturn

from cbam_search.cli.streams import finish_output, prepare_streams, say_error
from cbam_search.errors import CbamSearchError, UserError
from cbam_search.safe_text import reason

FAILED, MENDABLE, INTERRUPTED = 1, 2, 128 + signal.SIGINT


def main() -> NoReturn:
    """Run the command line and exit."""
    try:
        prepare_streams()
        code = _run()
        if problem := finish_output():
            code = code or _output_failed(problem)
    except KeyboardInterrupt:
        code = INTERRUPTED
    from cbam_search.cli.ending import leave_at_once_after_a_signal, leave_at_once_on_signals

    leave_at_once_after_a_signal(code)
    leave_at_once_on_signals(code or INTERRUPTED)
    sys.exit(code)


def _run() -> int:
    try:
        from cbam_search.cli.commands import app

        app(prog_name="cbam-search")
    except SystemExit as done:
        return done.code if isinstance(done.code, int) else FAILED if done.code else 0
    except CbamSearchError as error:
        say_error(f"error: {error}")
        return MENDABLE if isinstance(error, UserError) else FAILED
    except Exception as error:
        if isinstance(error, OSError) and (problem := finish_output()):
            return _output_failed(problem)
        from cbam_search.cli.last_resort import told

        say_error(f"error: {told(error)}")
        return FAILED
    return 0


def _output_failed(problem: OSError) -> int:
    """A reader of our output that is gone (head, less) needs no word."""
    if isinstance(problem, BrokenPipeError):
        return 128 + signal.SIGPIPE
    say_error(f"error: the output cannot be written: {reason(problem, with_file=False)}")
    return FAILED
