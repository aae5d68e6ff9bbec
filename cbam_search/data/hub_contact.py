"""First contact with the Hugging Face hub, and a download that ends when nothing comes any more.

Left to itself, `datasets` tries an address that does not answer for many minutes.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Any

from cbam_search.safe_text import reason, remember_secret

_CONTACT_SECONDS = 15.0
_SILENT_SECONDS = 8  # huggingface_hub resumes a silent transfer five times, a second apart: 53 s in all
_REQUEST_SECONDS = 20.0
_TOO_MANY_REQUESTS = 429
_SERVER_ERRORS = range(500, 600)


def unreachable(name: str) -> str:
    """Why the hub does not answer for the data set `name` within 15 s; empty where it answers."""
    answers: SimpleQueue[str] = SimpleQueue()
    # A thread, since looking up an address has no time limit of its own.
    Thread(target=lambda: answers.put(_ask(name)), daemon=True).start()
    try:
        return answers.get(timeout=_CONTACT_SECONDS)
    except Empty:
        return f"no answer within {_CONTACT_SECONDS:.0f} s"


@contextmanager
def bounded_download(*, offline: bool) -> Iterator[None]:
    """Quiet and with time limits; offline: only what was downloaded before is used."""
    import datasets
    from datasets.utils import logging as datasets_logging
    from huggingface_hub import constants, get_session
    from huggingface_hub.utils import logging as hub_logging

    with ExitStack() as restored:
        _set(restored, constants, "HF_HUB_DISABLE_XET", True)  # its transfers have no time limit
        if not os.environ.get("HF_HUB_DOWNLOAD_TIMEOUT"):
            _set(restored, constants, "HF_HUB_DOWNLOAD_TIMEOUT", _SILENT_SECONDS)
        if offline:
            _set(restored, constants, "HF_HUB_OFFLINE", True)
            _set(restored, datasets.config, "HF_HUB_OFFLINE", True)
        session = get_session()
        _set(restored, session, "timeout", _REQUEST_SECONDS)
        for each in (datasets_logging, hub_logging):
            restored.callback(each.set_verbosity, each.get_verbosity())
            each.set_verbosity_error()
        if datasets_logging.is_progress_bar_enabled():
            restored.callback(datasets_logging.enable_progress_bar)
        datasets_logging.disable_progress_bar()
        yield


def reason_with_root(error: BaseException) -> str:
    """The error and what lies at its root, without secrets."""
    _remember_token()
    root = error
    while root.__cause__ is not None:
        root = root.__cause__
    text, of_root = reason(error).rstrip(".:"), reason(root).rstrip(".:")
    return text if of_root in text else f"{text}: {of_root}"


def _remember_token() -> None:
    """The reader's, which may lie in a file: no message shows it."""
    from huggingface_hub import get_token

    with suppress(Exception):  # of a file that cannot be read
        if token := get_token():
            remember_secret(token)


def _ask(name: str) -> str:
    from huggingface_hub import constants, get_session

    try:
        # Any answer will do, "unknown" and "not allowed" too: `datasets` explains those.
        answer = get_session().head(
            f"{constants.ENDPOINT}/api/datasets/{name}", timeout=_CONTACT_SECONDS, follow_redirects=False
        )
    except Exception as error:
        return reason_with_root(error)
    if answer.status_code in _SERVER_ERRORS or answer.status_code == _TOO_MANY_REQUESTS:
        return f"it answers {answer.status_code} {answer.reason_phrase}"
    return ""


def _set(restored: ExitStack, owner: Any, name: str, value: object) -> None:
    restored.callback(setattr, owner, name, getattr(owner, name))
    setattr(owner, name, value)
