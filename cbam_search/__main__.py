"""`python -m cbam_search` is the command `cbam-search`."""

import sys

if not sys.flags.safe_path:
    # Python puts the current folder first, where a user's `queue.py` would stand in for Python's own.
    sys.path.append(sys.path.pop(0))

from cbam_search.cli import main

if __name__ == "__main__":  # a process that is started beside this one imports it, too
    main()
