"""Text from outside (file names, labels, other programs' messages) made fit to be shown, logged or written.

What reaches a reader passes here twice: a name or a foreign message on its way into a sentence (`printable`), and the whole
text on its way to a terminal or a file (`presentable`, or `without_secrets` where it is data).
"""

from __future__ import annotations

import html
import os
import re
import shlex
from collections.abc import Iterator
from urllib.parse import quote, quote_plus, unquote

SECRET_NAME = re.compile(
    r"(TOKEN|SECRET|PASSWORD|PASSWD|PASSPHRASE|CREDENTIAL|APIKEY|_PASS|_PW|_PWD|_KEY)S?$",
    re.IGNORECASE,
)
"""An environment variable with such a name holds a secret."""
HIDDEN = "***"
SHORTEST_SECRET = 6
"""Characters. A shorter value is found in ordinary words too: hiding it would garble texts and protect nothing."""

_PASSWORD_IN_URL = re.compile(
    # `${NAME}` names the variable that holds a secret, and is none.
    r"(?P<before>://(?P<user>[^\s/?#@:'\"<>]*):)(?!\$\{\w+\}@)"
    # Without a slash, any; with one, as an unquoted password may have, unless a port is what stands there.
    r"(?P<password>[^\s/?#'\"<>]*|(?!\d*[/?#])[^\s'\"<>]*)@"
)
_TOKEN_AS_USER = re.compile(r"(?<=://)[^\s/?#@:'\"<>]{16,}@")
"""`https://TOKEN@host`; a user's name is hardly ever so long."""
SECRET_WORDS = r"passw(?:or)?d|passphrase|pwd|secret|token|credential|signature|api[-_]?key|access[-_]?key"
"""A pattern of what the name of a secret setting ends with."""
_IN_QUERY = re.compile(rf"(?<=[?&;])(?P<name>[\w.-]*(?:{SECRET_WORDS})|sig|key|auth)=(?!\$\{{)[^&;#\s'\"<>]+", re.IGNORECASE)
_ASSIGNED = re.compile(
    rf"(?P<before>\b[\w.-]*(?:{SECRET_WORDS})(?:=|['\"]\s*:\s*(?=['\"])))(?P<quote>['\"]?)(?!\*|\$\{{)"
    r"(?:(?<=['\"])[^'\"\n]+|[^\s,;&)'\"<>]+)",
    re.IGNORECASE,
)
"""`password=...`, `PGPASSWORD='...'`, `"password": "..."`."""
_HEADER = re.compile(
    r"(?P<before>\b(?:proxy-)?authorization['\"]?\s*[:=]\s*['\"]?(?:(?:bearer|basic|token|digest)\s+)?)[^\s'\",;]+",
    re.IGNORECASE,
)
_BEARER = re.compile(r"(?P<before>\bbearer\s+)(?=\S*\d)[\w.~+/=-]{8,}", re.IGNORECASE)
_KNOWN_TOKENS = re.compile(
    r"\b(?:hf_[A-Za-z0-9]{20,}|gh[pousr]_[A-Za-z0-9]{20,}|github_pat_\w{20,}|glpat-[\w-]{16,}|dapi[0-9a-f]{32}"
    r"|xox[abprs]-[\w-]{10,}|AKIA[0-9A-Z]{16}|sk-[\w-]{20,})"
)
_remembered: set[str] = set()
_LINE_ENDS = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}
_MARKDOWN = re.compile(r"(?P<mark>[\\`*_\[\]|~$^{}]|^\s*[#+=-])|(?P<number>^\s*\d+)(?P<point>[.)])")
"""What formats text anywhere; and what makes a heading, a list or a line of it at its start."""


def printable(text: object, limit: int = 200) -> str:
    """`text` on one line, without control characters, and with at most `limit` characters: those cut off are counted.

    Letters of every script stay. Line ends, escape sequences, marks that turn the direction of writing and bytes that are not
    UTF-8 become escapes such as `\\n` and `\\x1b`.
    """
    whole = str(text)
    shown = "".join(map(_shown, whole[:limit]))
    return shown if len(whole) <= limit else f"{shown}… ({len(whole) - limit:,} more characters)"


def presentable(text: object) -> str:
    """A whole text on its way to a terminal or a log: its lines stay, secrets and control characters do not."""
    lines = without_secrets(str(text)).split("\n")
    return "\n".join(line if line.isprintable() else "".join(map(_shown, line.expandtabs(4))) for line in lines)


def without_secrets(text: str) -> str:
    """`text` with secrets as `***`: passwords and tokens in URLs, in headers and behind `password=`, tokens of well-known
    services, and the values of environment variables that hold secrets.
    """
    text = _PASSWORD_IN_URL.sub(rf"\g<before>{HIDDEN}@", text)
    text = _TOKEN_AS_USER.sub(f"{HIDDEN}@", text)
    text = _IN_QUERY.sub(rf"\g<name>={HIDDEN}", text)
    text = _HEADER.sub(rf"\g<before>{HIDDEN}", text)
    text = _BEARER.sub(rf"\g<before>{HIDDEN}", text)
    text = _ASSIGNED.sub(rf"\g<before>\g<quote>{HIDDEN}", text)
    text = _KNOWN_TOKENS.sub(HIDDEN, text)
    for value in sorted(_secrets(), key=len, reverse=True):
        if value not in text:
            continue
        # A password that is an ordinary word must not tear others apart: `postgres` in `postgresql://`.
        edge = r"\b" if value.isalpha() else ""
        text = re.sub(rf"{edge}{re.escape(value)}{edge}", HIDDEN, text)
    return text


def remember_secret(value: str) -> None:
    """From now on `value` is hidden too, whatever its variable is called: a password that the settings refer to."""
    _remembered.add(value)


def reason(error: BaseException, *, with_file: bool = True) -> str:
    """Why, on one line and without secrets: for an OSError the system's words and the file, else the error's first line.

    with_file: False where the message names the file already.
    """
    if isinstance(error, OSError) and error.strerror:
        named = with_file and isinstance(error.filename, str | bytes | os.PathLike)
        file = f": {printable(os.fsdecode(error.filename))}" if named else ""
        return without_secrets(f"{printable(error.strerror)}{file}")
    lines = str(error).strip().splitlines()
    # Secrets first: cut off in the middle they would not be known again.
    return printable(without_secrets(lines[0] if lines else type(error).__name__))


def shell_word(text: str | os.PathLike[str]) -> str:
    """`text` as one word of a shell's command line, fit to be shown: `'a b'`; `$'a\\nb'` where plain quotes are not enough."""
    word = os.fspath(text)
    if word.isprintable():
        return shlex.quote(word)
    escaped = "".join(_in_ansi_quotes(character) for character in word)
    return f"$'{escaped}'"


def markdown(text: object, limit: int = 200) -> str:
    """`text` as it is read in Markdown: nothing in it is formatting, a link, a table's edge or HTML."""
    return _MARKDOWN.sub(_escaped_mark, html.escape(printable(text, limit), quote=False))


def _escaped_mark(found: re.Match[str]) -> str:
    if found["number"]:
        return f"{found['number']}\\{found['point']}"
    return f"{found['mark'][:-1]}\\{found['mark'][-1]}"


def _shown(character: str) -> str:
    if character.isprintable():
        return character
    return _LINE_ENDS.get(character) or ascii(character)[1:-1]


def _in_ansi_quotes(character: str) -> str:
    if character in "'\\":
        return f"\\{character}"
    if character.isprintable():
        return character
    return "".join(f"\\x{byte:02x}" if byte > 127 else f"\\{byte:03o}" for byte in os.fsencode(character))


def _secrets() -> set[str]:
    """As they are, and as they stand in a URL, in JSON or on one line."""
    values = {value for value in (*_values_of_environment(), *_remembered) if len(value) >= SHORTEST_SECRET}
    return values | {
        form for value in values for form in (_quoted(value), quote(_bytes(value)), quote_plus(_bytes(value)), _one_line(value))
    }


def _quoted(value: str) -> str:
    return quote(_bytes(value), safe="")


def _bytes(value: str) -> bytes:
    return value.encode(errors="surrogateescape")


def _one_line(value: str) -> str:
    return printable(value, limit=len(value))


def _values_of_environment() -> Iterator[str]:
    for name, value in os.environ.items():
        if SECRET_NAME.search(name):
            yield value
            yield value.strip()
        elif "://" in value and "@" in value:
            for found in _PASSWORD_IN_URL.finditer(value):
                yield found["password"]
                yield unquote(found["password"])
