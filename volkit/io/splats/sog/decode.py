"""The columns of one SOG, of version 1 or 2, from its page and pictures."""

from typing import Any

import numpy as np

from volkit.files.errors import FormatError
from volkit.geometry.spherical_harmonics import sh_count
from volkit.io.splats.quantised import from_smallest_three, logits_of_bytes
from volkit.io.splats.sog.container import FIX, Parts

__all__ = ["columns_of", "is_flat", "is_mip"]

LARGEST_FIRST = 252  # the alpha of a rotation whose w is largest
ABREAST = 64  # rows of the palette side by side
MAX_PALETTE = 1 << 16  # rows of a palette


def is_mip(meta: dict[str, Any]) -> bool:
    """Whether the page tells of splats that were trained for (Mip-Splatting)."""
    return meta.get("model") == "antialiased"


def is_flat(meta: dict[str, Any]) -> bool:
    """Whether the page tells of surfels."""
    return meta.get("model") == "2dgs"


def columns_of(parts: Parts, meta: dict[str, Any]) -> dict[str, np.ndarray]:
    """All splats of one page; FormatError where page and pictures do not agree."""
    page = _Page(parts, meta)
    low, high = page.picture("means", 0), page.picture("means", 1)
    steps = low[:, :3].astype(np.float32) + high[:, :3].astype(np.float32) * 256
    logs = page.between("means", steps / 65535, 3)
    turns = page.picture("quats", 0)
    known = turns[:, 3] >= LARGEST_FIRST
    largest = np.where(known, turns[:, 3], LARGEST_FIRST).astype(np.int64) - LARGEST_FIRST
    three = np.where(known[:, None], turns[:, :3].astype(np.float32) * np.float32(2 / 255) - 1, np.float32(0))
    scales, light = page.picture("scales", 0), page.picture("sh0", 0)
    if page.version == 1:
        share = lambda texels: texels.astype(np.float32) / 255  # noqa: E731
        log_scales, light4 = page.between("scales", share(scales[:, :3]), 3), page.between("sh0", share(light), 4)
        constant, logits = light4[:, :3], light4[:, 3]
    else:
        log_scales, constant = (page.looked_up(key, rows[:, :3]) for key, rows in (("scales", scales), ("sh0", light)))
        logits = logits_of_bytes(light[:, 3])
    return {
        "means": np.sign(logs) * np.expm1(np.abs(logs).astype(np.float64)).astype(np.float32),
        "quaternions": from_smallest_three(largest, three),
        "log_scales": log_scales,
        "logits": logits,
        "sh_dc": constant[:, None],
        "sh_rest": page.harmonics() if "shN" in meta else np.empty((page.count, 0, 3), np.float32),
    }


class _Page:
    """Checked access to a page and its pictures."""

    def __init__(self, parts: Parts, meta: dict[str, Any]) -> None:
        self.parts, self.meta, self.version = parts, meta, meta.get("version", 1)
        if self.version not in (1, 2):
            raise self.wrong(f"says version {str(self.version)[:20]}")
        shape = self.part("means").get("shape")
        count = meta.get("count", shape[0] if isinstance(shape, list) and shape else None)
        if type(count) is not int or count < 1:
            raise self.wrong("says no count of splats")
        self.count = count

    def wrong(self, fact: str) -> FormatError:
        return FormatError(self.parts.path, fact, FIX)

    def part(self, key: str) -> dict[str, Any]:
        found = self.meta.get(key)
        if not isinstance(found, dict):
            raise self.wrong(f"says nothing of {key}")
        return found

    def whole(self, key: str, number: int) -> np.ndarray:
        files = self.part(key).get("files")
        if not isinstance(files, list) or len(files) <= number:
            raise self.wrong(f"names no picture {number} of {key}")
        return self.parts.picture(files[number])

    def picture(self, key: str, number: int) -> np.ndarray:
        """A texel a splat, uint8 [splat, 4]."""
        texels = self.whole(key, number).reshape(-1, 4)
        if len(texels) < self.count:
            raise self.wrong(f"promises {self.count} splats, and {key} holds {len(texels)}")
        return texels[: self.count]

    def numbers(self, key: str, name: str, least: int) -> np.ndarray:
        """A list of the page as float32, [number] or [number, ...]; one number stands for all."""
        values = self.part(key).get(name)
        try:
            found = np.array(values, np.float32).reshape(-1)
        except (TypeError, ValueError, OverflowError):
            found = np.zeros(0, np.float32)
        if len(found) < least or not np.isfinite(found).all():
            raise self.wrong(f"has a {name} of {key} that is no list of {least} numbers")
        return found

    def between(self, key: str, shares: np.ndarray, width: int) -> np.ndarray:
        low, high = (self.numbers(key, name, width)[:width] for name in ("mins", "maxs"))
        return shares * (high - low) + low

    def looked_up(self, key: str, numbers: np.ndarray) -> np.ndarray:
        table = np.zeros(256, np.float32)
        given = self.numbers(key, "codebook", 1)[:256]
        table[: len(given)] = given
        return np.take(table, numbers)

    def harmonics(self) -> np.ndarray:
        """[splat, basis, 3]."""
        texels = self.whole("shN", 0)
        height, width, _ = texels.shape
        basis = width // ABREAST
        if width % ABREAST or basis not in [sh_count(degree) - 1 for degree in (1, 2, 3)]:
            raise self.wrong(f"has a palette {width} texels wide")
        rows = texels[..., :3].reshape(height * ABREAST, basis, 3)[:MAX_PALETTE]
        if self.version == 1:
            palette = self.between("shN", rows.astype(np.float32) / 255, 1)
        else:
            palette = self.looked_up("shN", rows)
        labels = self.picture("shN", 1)
        labels = labels[:, 0].astype(np.int64) | labels[:, 1].astype(np.int64) << 8
        if int(labels.max()) >= len(palette):
            raise self.wrong(f"names row {int(labels.max())} of a palette of {len(palette)}")
        return palette[labels]
