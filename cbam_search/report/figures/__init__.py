"""Pictures and interactive pages: the front as PNG and HTML, and a plan as PNG or SVG."""

import logging

_matplotlib_log = logging.getLogger("matplotlib")
if _matplotlib_log.level == logging.NOTSET:
    # Where it finds no folder to keep its fonts in, it goes on in a temporary one; that is no news for the reader of a plan.
    _matplotlib_log.setLevel(logging.ERROR)
