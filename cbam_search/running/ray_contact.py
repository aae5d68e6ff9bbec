"""First contact with a Ray cluster, by a process of its own.

Ray's client waits for minutes where nobody answers, writes to the terminal meanwhile, and ends its process where a token is
wrong. Here that process is another one, which says why in a line of JSON, or is killed when its time is up.
"""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from typing import IO
from urllib.parse import urlsplit

from cbam_search.errors import NobodyListensError, ResourceError
from cbam_search.running.scratch import file_in_memory
from cbam_search.safe_text import printable, reason, without_secrets

CONNECT_WITHIN_SECONDS = 5.0
"""And as long again for the first words."""
ANSWER_WITHIN_SECONDS = 18.0
"""From the start of the process on."""
_HELLO = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\x04\0\0\0\0\0"
"""What a client of HTTP/2 says first (RFC 9113, 3.4), with no settings. Ray's servers speak it and answer with theirs."""
_SETTINGS = 4
_LOOK_SECONDS = 0.05
_MOST_BYTES = 2**16
_CHILD = "from cbam_search.running.ray_contact import main; main()"
_HINT = (
    "Set resources.address or RAY_ADDRESS to the cluster's host:port (6379 unless changed), or leave both out to run Ray here"
)
_REFUSED = re.compile(r"Unauthenticated|InvalidAuthToken|invalid auth|auth(entication)? token", re.IGNORECASE)


def require_answer(given: str | None, address: str, shown: str) -> None:
    """Return once the cluster at `address` (host:port) has let a driver in and out again.

    given: as the YAML names it, from which Ray decides whether to send a token. shown: as the reader knows it. Raises
    ResourceError, or NobodyListensError, within 20 s.
    """
    shown = printable(shown or f"{address}, which runs on this machine")
    command = [sys.executable, "-P", "-c", _CHILD, given or "", address]
    out, err, code = _run(command)
    if code is None and not _REFUSED.search(err):
        raise ResourceError(f"the Ray cluster at {shown} gave no answer within {ANSWER_WITHIN_SECONDS:g} s. {_HINT}")
    answer = _answer(out)
    if answer is not None and not answer["problem"]:
        return
    if answer is not None and not answer["connected"]:
        raise NobodyListensError(f"no Ray cluster answers at {shown}: {answer['problem']}. {_HINT}")
    why = str(answer["problem"]) if answer else _last_words(err, code)
    if _REFUSED.search(why):
        raise ResourceError(
            f"the Ray cluster at {shown} does not accept this token: {printable(why)}. RAY_AUTH_MODE=token and the cluster's "
            f"own RAY_AUTH_TOKEN (or RAY_AUTH_TOKEN_PATH) belong in the environment of `cbam-search` too"
        )
    raise ResourceError(f"the Ray cluster at {shown} cannot be joined: {printable(why, 400)}. {_HINT}")


def _run(command: list[str]) -> tuple[str, str, int | None]:
    """What it wrote, and its exit code; None for one that was killed: its time was up, or its token refused."""
    with file_in_memory() as out, file_in_memory() as err:
        child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=err)
        try:
            until = time.monotonic() + ANSWER_WITHIN_SECONDS
            # Where a token is refused Ray asks again and again, and says so each time.
            while child.poll() is None and time.monotonic() < until and not _REFUSED.search(_text(err)):
                time.sleep(_LOOK_SECONDS)
            code = child.poll()
        finally:
            child.kill()
            child.wait()
        return _text(out), _text(err), code


def _text(file: IO[bytes]) -> str:
    """What another process has written into it so far."""
    return os.pread(file.fileno(), _MOST_BYTES, 0).decode(errors="replace")


def main() -> None:
    """The other process: `given` and `address` are its arguments."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    given, address = sys.argv[1:]
    problem = _connection_problem(address)
    connected = problem is None
    if connected:
        problem = _ray_problem(given or None)
    print(json.dumps({"connected": connected, "problem": problem}), flush=True)  # noqa: T201


def _connection_problem(address: str) -> str | None:
    try:
        parts = urlsplit(f"//{address}")
        with socket.create_connection((parts.hostname or "", parts.port or 0), CONNECT_WITHIN_SECONDS) as connection:
            if os.environ.get("RAY_USE_TLS", "0") not in ("", "0"):
                return None
            connection.sendall(_HELLO)
            said = connection.recv(9)
    except TimeoutError:
        return f"no answer within {CONNECT_WITHIN_SECONDS:g} s"
    except (OSError, ValueError) as error:
        return reason(error)
    return None if len(said) > 3 and said[3] == _SETTINGS else "what listens there is another program"


def _ray_problem(address: str | None) -> str | None:
    import logging

    import ray

    try:
        ray.init(address=address, logging_level=logging.ERROR, log_to_driver=False)
        ray.cluster_resources()  # type: ignore[no-untyped-call]
    except BaseException as error:  # SystemExit too
        return _in_full(error)
    ray.shutdown()
    return None


def _in_full(error: BaseException) -> str:
    """An error and those that it came from, since the reason is in one of them."""
    words: list[str] = []
    seen: BaseException | None = error
    while seen is not None and len(words) < 3:
        words.append(" ".join(str(seen).split()) or type(seen).__name__)
        seen = seen.__cause__
    return without_secrets(": ".join(words))


def _answer(out: str) -> dict[str, object] | None:
    try:
        found = json.loads(out.splitlines()[-1])
    except (ValueError, IndexError):
        return None
    return found if isinstance(found, dict) and found.keys() == {"connected", "problem"} else None


def _last_words(err: str, code: int | None) -> str:
    """Of a process that died: what Ray's own log lines of errors say."""
    lines = [line for line in err.splitlines() if line.strip() and not line.startswith(("    ", "***"))]
    telling = [line for line in lines if _REFUSED.search(line)] or [line for line in lines if re.search(r" [CE] \d+", line)]
    said = (telling or lines or [f"the attempt ended with exit code {code} and without a word"])[0]
    return without_secrets(re.sub(r"^\[[^\]]*\]\s*(\S+:\d+:\s*)?", "", said))
