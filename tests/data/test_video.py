"""Videos with poses."""

import imageio_ffmpeg
import pytest
import torch
from scenery import assert_same_cameras, ball, nerfstudio, rewrite, ring

from volkit.data import load_photographs
from volkit.io import FormatError

COUNT = 8


@pytest.fixture
def clip(tmp_path):
    """A lossless video of the ring's views, with transforms.json beside it."""
    cameras = ring(COUNT)
    document = nerfstudio(tmp_path, cameras, alpha=False)
    writer = imageio_ffmpeg.write_frames(
        str(tmp_path / "clip.mkv"), (48, 40), codec="ffv1", pix_fmt_out="bgr0", macro_block_size=1, quality=None
    )
    writer.send(None)
    for i in range(COUNT):
        writer.send(ball(cameras, i, alpha=False).tobytes())
    writer.close()
    for frame in document["frames"]:
        del frame["file_path"]
    rewrite(tmp_path, document)
    return tmp_path / "clip.mkv", document


def test_frames_in_order(clip):
    path, _ = clip
    seen = load_photographs(path)
    assert len(seen) == COUNT and seen.names[3] == "clip.mkv#000003"
    assert_same_cameras(seen.cameras, ring(COUNT))
    for i in range(COUNT):
        assert torch.equal(seen.images[i], torch.from_numpy(ball(ring(COUNT), i, alpha=False)))


def test_frames_by_number_and_size(clip):
    path, document = clip
    frames = document["frames"]
    rewrite(path.parent, {**document, "frames": [{**frames[6], "frame_index": 6}, {**frames[2], "frame_index": 2}]})
    told = []
    seen = load_photographs(path, size=24, progress=lambda *state: told.append(state))
    assert seen.names == ("clip.mkv#000006", "clip.mkv#000002") and seen.images[0].shape == (20, 24, 3)
    assert told == [(1, 2), (2, 2)]
    full = load_photographs(path)
    assert torch.equal(full.images[1], torch.from_numpy(ball(ring(COUNT), 2, alpha=False)))


def test_what_does_not_fit_together(clip):
    path, document = clip
    rewrite(path.parent, {**document, "frames": document["frames"][:5]})
    with pytest.raises(FormatError, match="8 frames for 5 poses"):
        load_photographs(path)
    rewrite(path.parent, {**document, "frames": [{**document["frames"][0], "frame_index": 99}]})
    with pytest.raises(FormatError, match="ends before frame 99"):
        load_photographs(path)
    (path.parent / "transforms.json").unlink()
    with pytest.raises(FormatError, match="has no poses beside it"):
        load_photographs(path)


def test_a_file_that_is_no_video(clip):
    path, _ = clip
    path.write_bytes(b"no video at all" * 10)
    with pytest.raises(FormatError, match="cannot be decoded"):
        load_photographs(path)
