"""One encoded image to pixels of the wanted size and channels, and what was odd about it.

Only common raster formats are opened: Pillow's EPS plugin would run Ghostscript. Of animations the first frame counts.
- EXIF orientation is applied; EXIF data that cannot be read are passed over.
- 16-bit: the high byte is kept, so the whole range 0..65535 becomes 0..255.
- Transparency is composited over white, as a browser shows it.
- Palette, CMYK, YCbCr and bilevel images become RGB or grey.
- Resizing: enlarged or reduced (bicubic, antialiased) to cover the wanted size, then cropped at the centre.
"""

from __future__ import annotations

import hashlib
import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import ExifTags, Image, ImageOps

from cbam_search.data.source import Item

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
_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"


@dataclass(frozen=True, slots=True)
class DecodedImage:
    """pixels: (H, W, C) uint8, or None, and then `problem` says why. digest: of the encoded bytes, before any change.

    size: (height, width) before it was resized; for a large JPEG after a first, rough reduction.
    """

    digest: bytes
    pixels: npt.NDArray[np.uint8] | None = None
    problem: str = ""
    is_grey: bool = False
    has_alpha: bool = False
    is_16_bit: bool = False
    size: tuple[int, int] = (0, 0)


def digest_item(item: Item | None) -> bytes:
    """16 bytes that stand for the encoded file, or for the pixels of an array; raises OSError for an unreadable path."""
    return _digest(_content(item))


def decode_item(item: Item | None, channels: int, height_width: tuple[int, int] | None) -> DecodedImage:
    """Decode one image. channels: 1 or 3. height_width: wanted size in pixels, or None to keep the image's own."""
    if item is None:
        return DecodedImage(b"", problem="the image is absent")
    try:
        content = _content(item)
    except OSError as error:
        return DecodedImage(b"", problem=str(error))
    digest = _digest(content)
    try:
        image, is_16_bit = _open(content, height_width)
        is_grey = image.mode in _GREY_MODES
        has_alpha = image.has_transparency_data
        pixels = _pixels(image, channels, height_width, has_alpha)
    except (OSError, ValueError, SyntaxError, MemoryError, Image.DecompressionBombError) as error:
        return DecodedImage(digest, problem=str(error) or type(error).__name__)
    return DecodedImage(digest, pixels, "", is_grey, has_alpha, is_16_bit, size=(image.height, image.width))


def _content(item: Item | None) -> bytes | npt.NDArray[Any]:
    if item is None:
        return b""
    return item.read_bytes() if isinstance(item, Path) else item


def _digest(content: bytes | npt.NDArray[Any]) -> bytes:
    hasher = hashlib.blake2b(digest_size=16)
    if isinstance(content, np.ndarray):
        hasher.update(str(content.shape).encode())
        content = content.tobytes()
    hasher.update(content)
    return hasher.digest()


def _open(content: bytes | npt.NDArray[Any], height_width: tuple[int, int] | None) -> tuple[Image.Image, bool]:
    """The image, 16-bit values already reduced to 8, and whether there were any."""
    if isinstance(content, np.ndarray):
        is_16_bit = content.dtype == np.uint16
        pixels = (content >> 8 if is_16_bit else content).astype(np.uint8, copy=False)
        return Image.fromarray(pixels[:, :, 0] if pixels.shape[2:] == (1,) else pixels), is_16_bit
    image: Image.Image = Image.open(io.BytesIO(content), formats=_FORMATS)
    if height_width:
        image.draft(None, (max(height_width),) * 2)  # a large JPEG is decoded at an eighth, quarter or half
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
