"""One encoded image to pixels of the wanted size and channels, and what was odd about it.

Only common raster formats are opened: Pillow's EPS plugin would run Ghostscript. Of animations the first frame counts.
- EXIF orientation is applied; EXIF data that cannot be read are passed over.
- 16-bit: the high byte is kept, so the whole range 0..65535 becomes 0..255.
- Transparency is composited over white, as a browser shows it.
- Palette, CMYK, YCbCr and bilevel images become RGB or grey.
- Resizing: enlarged or reduced (bicubic, antialiased) to cover the wanted size, then cropped at the centre.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

from cbam_search.data.byte_budget import ByteBudget
from cbam_search.data.item_content import content_of, digest_of
from cbam_search.data.other_formats import described
from cbam_search.data.source import Item, NoImage
from cbam_search.safe_text import reason

_FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF", "PPM")
_GREY_MODES = frozenset({"1", "L", "LA", "La", "I", "I;16", "I;16L", "I;16B", "I;16N"})
_TURNS: dict[Any, Image.Transpose] = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""By EXIF orientation. `ImageOps.exif_transpose` would also write the EXIF data anew, and fail where it cannot."""
_SIDEWAYS = frozenset({5, 6, 7, 8})
"""The EXIF orientations that exchange height and width."""
_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_SIGNATURES = (_PNG_SIGNATURE, b"\xff\xd8", b"RIFF", b"BM", b"GIF8", b"II*\0", b"MM\0*")
_SMALL_BYTES = 2**18  # less is not worth asking the budget for: eight threads hold 2 MiB so
_WORKING_BYTES_PER_PIXEL = 8  # four bytes as Pillow holds colour, and as much again for a converted copy


@dataclass(frozen=True, slots=True)
class DecodedImage:
    """pixels: (H, W, C) uint8, or None, and then `problem` says why. digest: of the encoded bytes, before any change.

    path: the file, where the image is one. large: its (height, width) in pixels, where Pillow finds it suspiciously large.
    size: (height, width) before it was resized; for a large JPEG after a first, rough reduction.
    """

    digest: bytes
    pixels: npt.NDArray[np.uint8] | None = None
    problem: str = ""
    is_grey: bool = False
    has_alpha: bool = False
    is_16_bit: bool = False
    path: Path | None = None
    large: tuple[int, int] | None = None
    size: tuple[int, int] = (0, 0)


@contextmanager
def no_warnings_of_pillow() -> Iterator[None]:
    """Pillow warns of a picture without its name; what counts is in DecodedImage. To be used around the threads."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"PIL\.")
        yield


def digest_item(item: Item | None) -> DecodedImage:
    """The digest alone, of an image that is not decoded; b"" for a file that cannot be read."""
    path = item if isinstance(item, Path) else None
    try:
        return DecodedImage(digest_of(content_of(item)), problem=_absence(item), path=path)
    except OSError as error:
        return DecodedImage(b"", problem=_why(error), path=path)


def decode_item(
    item: Item | None, channels: int, height_width: tuple[int, int] | None, budget: ByteBudget | None = None
) -> DecodedImage:
    """Decode one image.

    channels: 1 or 3. height_width: wanted size in pixels, or None to keep the image's own. budget: what all that are decoded
    at the same time may hold; None for a single one.
    """
    path = item if isinstance(item, Path) else None
    try:
        content = content_of(item)
    except (OSError, MemoryError) as error:
        return DecodedImage(b"", problem=_why(error), path=path)
    digest = digest_of(content)
    if len(content) == 0:
        return DecodedImage(digest, problem=_absence(item) or "it is empty", path=path)
    try:
        image = _opened(content)
        large = image.size[::-1] if image.width * image.height > (Image.MAX_IMAGE_PIXELS or np.inf) else None
        if height_width:
            image.draft(None, (max(height_width),) * 2)  # a large JPEG is decoded at an eighth, quarter or half
        n_bytes = _working_bytes(image, height_width)
        with budget.taken(n_bytes) if budget and n_bytes > _SMALL_BYTES else nullcontext():
            image, is_16_bit = _loaded(image, content)
            is_grey = image.mode in _GREY_MODES
            has_alpha = image.has_transparency_data
            pixels = _pixels(image, channels, height_width, has_alpha)
    except Exception as error:  # Pillow's plugins raise all sorts at damaged files
        return DecodedImage(digest, problem=_why(error, content), path=path)
    return DecodedImage(digest, pixels, "", is_grey, has_alpha, is_16_bit, path, large, (image.height, image.width))


def size_of_item(item: Item | None) -> tuple[int, int] | None:
    """(height, width) in pixels as decoded, from the image's header alone; None where it cannot be read."""
    try:
        image = _opened(content_of(item))
        sideways = "exif" in image.info and image.getexif().get(ExifTags.Base.Orientation) in _SIDEWAYS
    except Exception:
        return None
    return image.size if sideways else (image.height, image.width)


def _absence(item: Item | None) -> str:
    return item.why if isinstance(item, NoImage) else "there is no image" if item is None else ""


def _why(error: BaseException, content: bytes | npt.NDArray[Any] = b"") -> str:
    """For a reader who sees the image's name beside it."""
    if isinstance(error, UnidentifiedImageError):
        start = content if isinstance(content, bytes) else b""
        if start.startswith(_SIGNATURES):
            return "damaged or incomplete"
        return f"none of {', '.join(_FORMATS)}: {described(start)}"
    if isinstance(error, MemoryError):
        return "there is not enough memory to decode it"
    if isinstance(error, Image.DecompressionBombError):
        return f"it has more than {2 * (Image.MAX_IMAGE_PIXELS or 0) / 1e6:.0f} megapixels; save a smaller copy"
    if isinstance(error, (OSError, ValueError, SyntaxError)):
        return reason(error, with_file=False)
    return f"{type(error).__name__}: {reason(error)}"


def _opened(content: bytes | npt.NDArray[Any]) -> Image.Image:
    """The image, its pixels not yet decoded; 16-bit arrays already reduced to 8."""
    if isinstance(content, bytes):
        return Image.open(io.BytesIO(content), formats=_FORMATS)
    pixels = (content >> 8 if content.dtype == np.uint16 else content).astype(np.uint8, copy=False)
    return Image.fromarray(pixels[:, :, 0] if pixels.shape[2:] == (1,) else pixels)


def _working_bytes(image: Image.Image, height_width: tuple[int, int] | None) -> int:
    height, width = height_width or (0, 0)
    return _WORKING_BYTES_PER_PIXEL * (image.width * image.height + height * width)


def _loaded(image: Image.Image, content: bytes | npt.NDArray[Any]) -> tuple[Image.Image, bool]:
    """The decoded image, 16-bit values already reduced to 8, and whether there were any."""
    if isinstance(content, np.ndarray):
        return image, content.dtype == np.uint16
    image.load()
    if "exif" in image.info:
        image = _upright(image)
    if image.mode == "F":
        raise ValueError("floating-point pixels have no range to scale by; save the image as 8 or 16 bits")
    if image.mode.startswith("I"):
        high_byte = (np.asarray(image).clip(0, 65535) >> 8).astype(np.uint8)
        return Image.fromarray(high_byte), True
    return image, content.startswith(_PNG_SIGNATURE) and content[24] == 16


def _upright(image: Image.Image) -> Image.Image:
    """Turned as its EXIF orientation says; as it is where the EXIF data are damaged, at which Pillow raises all sorts."""
    try:
        turn = _TURNS.get(image.getexif().get(ExifTags.Base.Orientation))
    except Exception:
        return image
    return image if turn is None else image.transpose(turn)


def _pixels(image: Image.Image, channels: int, height_width: tuple[int, int] | None, has_alpha: bool) -> npt.NDArray[np.uint8]:
    if has_alpha:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    mode = "L" if channels == 1 else "RGB"
    if image.mode != mode:
        image = image.convert(mode)
    if height_width and image.size != height_width[::-1]:
        image = ImageOps.fit(image, height_width[::-1], Image.Resampling.BICUBIC)
    return np.asarray(image, dtype=np.uint8).reshape(image.height, image.width, channels)
