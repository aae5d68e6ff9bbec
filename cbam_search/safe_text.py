"""Text from outside (file names, labels, other programs' messages) made fit to be shown, logged or written.

What reaches a reader passes here twice: a name or a foreign message on its way into a sentence (`printable`), and the whole
text on its way to a terminal or a file (`without_secrets`).
"""

from __future__ import annotations

import os
import re
from urllib.parse import quote

SECRET_NAME = re.compile(
    r"(TOKEN|SECRET|PASSWORD|PASSWD|PASSPHRASE|CREDENTIAL|APIKEY|_PASS|_PW|_PWD|_KEY)S?$",
    re.IGNORECASE,
)
"""An environment variable with such a name holds a secret."""
HIDDEN = "***"
SHORTEST_SECRET = 6
"""Characters. A shorter value is found in ordinary words too: hiding it would garble texts and protect nothing."""

_PASSWORD_IN_URL = re.compile(r"(?<=://)(?P<user>[^\s/?#@:]*):(?P<password>[^\s/?#]*)@")
_LINE_ENDS = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}


def printable(text: object, limit: int = 200) -> str:
    """`text` on one line, without control characters, and with at most `limit` characters: those cut off are counted.

    Letters of every script stay. Line ends, escape sequences, marks that turn the direction of writing and bytes that are not
    UTF-8 become escapes such as `\\n` and `\\x1b`.
    """
    whole = str(text)
    shown = "".join(map(_shown, whole[:limit]))
    return shown if len(whole) <= limit else f"{shown}… ({len(whole) - limit:,} more characters)"


def without_secrets(text: str) -> str:
    """`text` with passwords in URLs, and the values of environment variables that hold secrets, as `***`."""
    text = _PASSWORD_IN_URL.sub(rf"\g<user>:{HIDDEN}@", text)
    for value in sorted(_secrets(), key=len, reverse=True):
        # A password that is an ordinary word must not tear others apart: `postgres` in `postgresql://`.
        edge = r"\b" if value.isalpha() else ""
        text = re.sub(rf"{edge}{re.escape(value)}{edge}", HIDDEN, text)
    return text


def reason(error: BaseException) -> str:
    """Why, on one line and without secrets: for an OSError the system's words and the file, else the error's first line."""
    if isinstance(error, OSError) and error.strerror:
        place = f": {printable(error.filename)}" if isinstance(error.filename, str | bytes | os.PathLike) else ""
        return without_secrets(f"{error.strerror}{place}")
    lines = str(error).strip().splitlines()
    return without_secrets(printable(lines[0] if lines else type(error).__name__))


def _shown(character: str) -> str:
    if character.isprintable():
        return character
    return _LINE_ENDS.get(character) or ascii(character)[1:-1]


def _secrets() -> set[str]:
    """As they are, and as they stand in a URL."""
    values = {value for name, value in os.environ.items() if SECRET_NAME.search(name) and len(value) >= SHORTEST_SECRET}
    return values | {quote(value, safe="") for value in values}
