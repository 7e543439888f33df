"""Picture files: depth, orientation, transparency, averaging, and what is damaged."""

import struct
import zlib

import numpy as np
import pytest
import torch
from PIL import Image

from volkit.data.pictures import area_average, picture_size, read_mask, read_picture, read_pictures
from volkit.geometry.colour import array_srgb_from_linear
from volkit.io import FormatError


def noise(height, width, channels, seed=0, dtype=np.uint8):
    high = np.iinfo(dtype).max + 1
    return np.random.default_rng(seed).integers(0, high, (height, width, channels), dtype=dtype)


def png16(path, pixels):
    """A 16-bit PNG without filters, by the specification."""
    height, width, channels = pixels.shape
    kind = {1: 0, 2: 4, 3: 2, 4: 6}[channels]
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in pixels)

    def chunk(name, data):
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", width, height, 16, kind, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + body)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "LA", "P", "1", "CMYK"])
def test_modes_become_colour_with_or_without_alpha(tmp_path, mode):
    image = Image.fromarray(noise(6, 9, 4)).convert("RGB" if mode == "P" else "RGBA").convert(mode)
    path = tmp_path / ("picture.tif" if mode == "CMYK" else "picture.png")
    image.save(path)
    picture = read_picture(path)
    assert picture.shape == (6, 9, 4 if mode in ("RGBA", "LA") else 3) and picture.dtype == torch.uint8
    assert torch.equal(picture, torch.from_numpy(np.array(image.convert("RGBA" if "A" in mode else "RGB"))))
    assert picture_size(path) == (9, 6)


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_png_of_16_bits_is_rounded_not_cut(tmp_path, channels):
    pixels = noise(5, 7, channels, dtype=np.uint16)
    png16(tmp_path / "deep.png", pixels)
    picture = read_picture(tmp_path / "deep.png").numpy()
    wanted = np.floor(pixels / 257 + 0.5).astype(np.uint8)
    if channels <= 2:
        wanted = np.concatenate([wanted[..., :1]] * 3 + [wanted[..., 1:]], -1)
    assert np.array_equal(picture, wanted)


DEEP = {".tif": np.array([[0, 257 * 100], [65535, 128]], np.uint16),
        ".tiff": np.array([[0, 100 / 255], [1, 0.002]], np.float32)}  # fmt: skip


@pytest.mark.parametrize(("suffix", "values"), DEEP.items())
def test_grey_of_16_bits_and_of_floats_is_not_cut_off(tmp_path, suffix, values):
    Image.fromarray(values).save(tmp_path / f"deep{suffix}")
    found = read_picture(tmp_path / f"deep{suffix}")
    assert found[..., 0].tolist() == [[0, 100], [255, 0 if suffix == ".tif" else 1]] and found.shape == (2, 2, 3)


def test_png_of_16_bits_averages_before_it_rounds(tmp_path):
    pixels = np.full((2, 2, 3), 257 * 100, np.uint16)
    pixels[0, 0] += 400  # four samples differ by 400 / 257 of a step: their mean rounds to 100, one of them to 102
    png16(tmp_path / "deep.png", pixels)
    assert read_picture(tmp_path / "deep.png", (1, 1)).flatten().tolist() == [100] * 3


@pytest.mark.parametrize("orientation", range(1, 9))
def test_jpeg_stands_upright(tmp_path, orientation):
    from PIL import ImageOps

    smooth = np.linspace(0, 255, 24 * 16 * 3).reshape(16, 24, 3).astype(np.uint8)
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(smooth).save(tmp_path / "photo.jpg", quality=95, exif=exif)
    upright = np.array(ImageOps.exif_transpose(Image.open(tmp_path / "photo.jpg")))
    assert np.array_equal(read_picture(tmp_path / "photo.jpg").numpy(), upright)
    assert picture_size(tmp_path / "photo.jpg") == upright.shape[1::-1]
    # Poses were found on the stored rows, says the listed size: then those count.
    if orientation >= 5:
        assert picture_size(tmp_path / "photo.jpg", (48, 32)) == (24, 16)
        assert read_picture(tmp_path / "photo.jpg", None, (48, 32)).shape == (16, 24, 3)


def test_exr_becomes_display_referred_with_straight_alpha(tmp_path):
    import OpenEXR

    linear = np.random.default_rng(1).random((4, 6, 3)).astype(np.float32)
    alpha = np.full((4, 6, 1), 0.5, np.float32)
    alpha[0] = 0.0
    channels = {"RGBA": np.concatenate([linear * alpha, alpha], -1)}
    OpenEXR.File({"type": OpenEXR.scanlineimage}, channels).write(str(tmp_path / "light.exr"))
    picture = read_picture(tmp_path / "light.exr").numpy()
    assert picture_size(tmp_path / "light.exr") == (6, 4)
    assert np.array_equal(picture[..., 3], np.floor(alpha[..., 0] * 255 + 0.5))
    wanted = array_srgb_from_linear(linear) * 255
    assert np.abs(picture[1:, :, :3] - wanted[1:]).max() < 0.51  # rounding to 8 bits
    assert array_srgb_from_linear(np.array(0.214)) == pytest.approx(0.5, abs=1e-3)  # textbook value of mid grey
    (tmp_path / "broken.exr").write_bytes((tmp_path / "light.exr").read_bytes()[:60])
    with pytest.raises(FormatError, match=r"broken\.exr"):
        read_picture(tmp_path / "broken.exr")


def test_average_is_of_premultiplied_colour():
    pixels = np.zeros((2, 2, 4), np.uint8)
    pixels[0, 0] = (200, 100, 50, 255)
    pixels[1] = (0, 255, 0, 0)  # green that nobody sees
    assert area_average(pixels, (1, 1)).flatten().tolist() == [200, 100, 50, 64]


@pytest.mark.parametrize("size", [(4, 3), (5, 4), (7, 2), (8, 6), (3, 6)])
def test_average_is_exact_for_any_ratio(size):
    pixels = noise(6, 8, 3, seed=5)
    # By hand: enlarge by whole numbers so that every new pixel covers whole samples.
    fine = pixels.astype(np.float64).repeat(size[1], 0).repeat(size[0], 1)
    wanted = fine.reshape(size[1], 6, size[0], 8, 3).mean((1, 3))
    found = area_average(pixels, size).numpy()
    assert np.abs(found - wanted).max() <= 0.501  # rounding to 8 bits, and float32 weights
    assert area_average(pixels, (8, 6)).numpy() is not pixels


def test_a_mask_counts_whole_pixels(tmp_path):
    mask = np.zeros((4, 4), np.uint8)
    mask[:, :2] = 255
    mask[0, 2] = 255
    Image.fromarray(mask).save(tmp_path / "mask.png")
    assert read_mask(tmp_path / "mask.png", (2, 2)).tolist() == [[255, 0], [255, 0]]


def test_damaged_pictures_are_named(tmp_path):
    Image.fromarray(noise(64, 64, 3)).save(tmp_path / "whole.png")
    Image.fromarray(noise(64, 64, 3)).save(tmp_path / "whole.jpg")
    for name in ("whole.png", "whole.jpg"):
        data = (tmp_path / name).read_bytes()
        for keep in (0, 10, 40, len(data) // 2):
            path = tmp_path / f"cut_{keep}_{name}"
            path.write_bytes(data[:keep])
            with pytest.raises(FormatError, match=r"cut_\d+_whole.*cannot be decoded"):
                read_picture(path)
    png16(tmp_path / "deep.png", noise(40, 40, 3, dtype=np.uint16))
    data = (tmp_path / "deep.png").read_bytes()
    (tmp_path / "deep.png").write_bytes(data[: len(data) // 2])
    with pytest.raises(FormatError, match=r"deep\.png"):
        read_picture(tmp_path / "deep.png")
    with pytest.raises(FormatError, match="no such file"):
        read_picture(tmp_path / "missing.png")


def test_decoding_reports_progress_and_stops_at_the_first_defect(tmp_path):
    told = []
    jobs = [lambda i=i: torch.full((1,), i) for i in range(5)]
    assert [int(t) for t in read_pictures(jobs, lambda *state: told.append(state))] == [0, 1, 2, 3, 4]
    assert told == [(i, 5) for i in range(1, 6)]
    with pytest.raises(FormatError):
        read_pictures([lambda: read_picture(tmp_path / "missing.png")] * 3)
