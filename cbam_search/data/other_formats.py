"""What a file is that is none of the image formats we read: the mix-ups that people meet, told by how the file begins."""

from __future__ import annotations

from cbam_search.safe_text import printable

_SHOWN_BYTES = 12
_LOOKED_AT_BYTES = 1024
_HEIC = "it is HEIC, as phones save photos: convert it to JPEG"
_AVIF = "it is AVIF: convert it to PNG or JPEG"
_FILM = "it is a film: save its frames as pictures"
_SVG = "it is an SVG: save it as PNG"
_WEB_PAGE = "it is a web page, as a failed download leaves one: get it anew"

_BRANDS = {b"heic": _HEIC, b"heix": _HEIC, b"heim": _HEIC, b"hevc": _HEIC, b"mif1": _HEIC, b"avif": _AVIF, b"avis": _AVIF}
"""Of the ISO base media file format: what follows `ftyp`."""
_STARTS = {
    b"\0\5\x16\7": "it is what macOS keeps beside a file, no picture: remove it",
    b"PK\3\4": "it is a zip archive: unpack it",
    b"\x1f\x8b": "it is compressed by gzip: unpack it",
    b"%PDF": "it is a PDF: save its picture as PNG",
    b"8BPS": "it is a Photoshop file: save it as PNG",
    b"\0\0\0\x0cjP  ": "it is JPEG 2000: convert it to PNG or JPEG",
    b"\xff\x0a": "it is JPEG XL: convert it to PNG or JPEG",
    b"\x93NUMPY": "it is a numpy array: save it as PNG",
    b"\x89HDF": "it is an HDF5 file: save its pictures as PNG",
    b"\x1aE\xdf\xa3": _FILM,
    b"iVBORw0KGgo": "it is a PNG in base64: decode that",
    b"/9j/": "it is a JPEG in base64: decode that",
}
_STARTS_OF_TEXT = {
    b"version https://git-lfs": "it is a pointer of Git LFS, not the picture itself: run `git lfs pull`",
    b"data:image/": "it is an image in a data: URL: decode that",
    b"<svg": _SVG,
    b"<!doctype html": _WEB_PAGE,
    b"<html": _WEB_PAGE,
}
"""In lower case."""


def described(content: bytes) -> str:
    """What it is and what to do, `it is HEIC, as phones save photos: convert it to JPEG`; else how it begins."""
    if content[4:8] == b"ftyp":
        return _BRANDS.get(content[8:12], _FILM)
    if content[128:132] == b"DICM":
        return "it is a DICOM file: convert it to PNG"
    text = content[:_LOOKED_AT_BYTES].removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    if text.startswith(b"<?xml") and b"<svg" in text:
        return _SVG
    for start, words in _STARTS.items():
        if content.startswith(start):
            return words
    for start, words in _STARTS_OF_TEXT.items():
        if text.startswith(start):
            return words
    return f"it begins with {printable(content[:_SHOWN_BYTES])[2:-1]}"
