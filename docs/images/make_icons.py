"""Makes the icons of the page from icon.svg, drawn by Chromium.

Usage: .venv/bin/python -m docs.images.make_icons
"""

import base64
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from playwright.sync_api import Page, sync_playwright

PAGES = Path(__file__).parents[2] / "lanscribe/server/pages"
GROUND, LINE = (0x0B, 0x5C, 0x73), (0xFF, 0xFF, 0xFF)
"""The two colours of icon.svg."""
LEVELS = 16
"""Of the edges between the colours, and of those of the corners."""
DRAW = """async ([svg, size, share, ground]) => {
  const image = new Image();
  image.src = `data:image/svg+xml;base64,${btoa(svg)}`;
  await image.decode();
  const canvas = new OffscreenCanvas(size, size);
  const pen = canvas.getContext("2d");
  if (ground) {
    pen.fillStyle = ground;
    pen.fillRect(0, 0, size, size);
  }
  const [width, at] = [size * share, (size * (1 - share)) / 2];
  pen.drawImage(image, at, at, width, width);
  const { data } = pen.getImageData(0, 0, size, size);
  return btoa(Array.from(data, (value) => String.fromCharCode(value)).join(""));
}"""


@dataclass(frozen=True)
class Icon:
    """A square picture. share: how much of its width the drawing takes; is_full: to its corners."""

    name: str
    size: int
    share: float = 1.0
    is_full: bool = False


ICONS = (
    Icon("icon-192", 192),
    Icon("icon-512", 512),
    Icon("icon-maskable", 512, share=0.8, is_full=True),  # only the inner 80 % are always shown
    Icon("icon-apple", 180, is_full=True),  # iOS cuts its corners itself
)


def drawn(page: Page, icon: Icon) -> npt.NDArray[np.uint8]:
    """Its pixels, shape (size, size, 4)."""
    svg = (PAGES / "icon.svg").read_text(encoding="utf-8")
    ground = "rgb({} {} {})".format(*GROUND) if icon.is_full else ""
    data = page.evaluate(DRAW, [svg, icon.size, icon.share, ground])
    pixels = np.frombuffer(base64.b64decode(data), dtype=np.uint8)
    return pixels.reshape(icon.size, icon.size, 4)


def indexed(pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Each pixel as its place in the palette: from the ground to the line, then from nothing on."""
    most = LEVELS - 1
    share = (pixels[..., 0].astype(float) - GROUND[0]) / (LINE[0] - GROUND[0])
    line = np.rint(np.clip(share, 0, 1) * most)
    corner = LEVELS + np.rint(pixels[..., 3] / 255 * most)
    return np.where(pixels[..., 3] == 255, line, corner).astype(np.uint8)


def png(places: npt.NDArray[np.uint8]) -> bytes:
    """A PNG with the palette (RFC 2083)."""
    shares = np.linspace(0, 1, LEVELS)
    mixed = [
        round(ground + share * (line - ground))
        for share in shares
        for ground, line in zip(GROUND, LINE, strict=True)
    ]
    palette = bytes(mixed) + bytes(GROUND) * LEVELS
    alpha = bytes([255] * LEVELS) + bytes(round(share * 255) for share in shares)
    height, width = places.shape
    rows = b"".join(b"\0" + row.tobytes() for row in places)
    head = struct.pack(">IIBBBBB", width, height, 8, 3, 0, 0, 0)
    parts = [(b"IHDR", head), (b"PLTE", palette), (b"tRNS", alpha)]
    parts += [(b"IDAT", zlib.compress(rows, 9)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(*part) for part in parts)


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def main() -> None:
    """Write them."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path="/usr/bin/chromium", args=["--no-sandbox"]
        )
        page = browser.new_page()
        for icon in ICONS:
            (PAGES / f"{icon.name}.png").write_bytes(png(indexed(drawn(page, icon))))
        browser.close()


if __name__ == "__main__":
    main()
