"""INRIA's splat files: exact both ways, and those of strangers read or refused by name."""

import numpy as np
import pytest
import torch
from mutants import survive
from plyfile import PlyData, PlyElement

from volkit.geometry import Domain, Similarity
from volkit.io import FormatError, load, save
from volkit.representations import Splats, SplatsConfig

BOX = Domain.cube(1.0)


def _splats(count: int = 7, degree: int = 3, **settings) -> Splats:
    generator = torch.Generator().manual_seed(0)
    splats = SplatsConfig(count, degree, **settings).build(BOX, generator)
    with torch.no_grad():
        for parameter in splats.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator))
    return splats


def _table(path) -> np.ndarray:
    return PlyData.read(path, mmap=False)["vertex"].data


@pytest.mark.parametrize("degree", [0, 1, 2, 3, 4])
@pytest.mark.parametrize("mip", [False, True])
def test_written_and_read_again_bit_for_bit(tmp_path, degree, mip):
    splats, path = _splats(degree=degree, mip=mip), tmp_path / "a.ply"
    save(splats, path)
    again = load(path)
    assert isinstance(again, Splats) and again.config.degree == degree and again.config.mip is mip
    for name, tensor in splats.stored_tensors().items():
        assert torch.equal(again.stored_tensors()[name], tensor), name


def test_columns_are_inrias_in_its_order(tmp_path):
    splats, path = _splats(), tmp_path / "a.ply"
    save(splats, path)
    table = _table(path)
    rest = [f"f_rest_{k}" for k in range(45)]
    assert list(table.dtype.names) == [
        *"xyz", "nx", "ny", "nz", "f_dc_0", "f_dc_1", "f_dc_2", *rest, "opacity", "scale_0", "scale_1", "scale_2",
        "rot_0", "rot_1", "rot_2", "rot_3",
    ]  # fmt: skip
    # channel by channel: f_rest_16 is the second function of the second channel
    assert table["f_rest_16"][3] == splats.sh_rest[3, 1, 1].item()
    assert path.read_bytes().index(b"end_header\n") + 11 + 7 * 248 == path.stat().st_size


def _rewritten(tmp_path, change, **settings):
    path = tmp_path / "a.ply"
    save(_splats(), path)
    table = change(_table(path))
    PlyData([PlyElement.describe(table, "vertex")], **settings).write(path)
    return path


@pytest.mark.parametrize("settings", [{"byte_order": ">"}, {"text": True}, {"byte_order": "<"}])
def test_byte_orders_and_text(tmp_path, settings):
    path = _rewritten(tmp_path, lambda table: table, **settings)
    # text keeps six digits or more
    torch.testing.assert_close(load(path).means, _splats().means, rtol=1e-5, atol=1e-5)


def test_columns_that_nobody_knows_survive(tmp_path):
    def marked(table):
        wider = np.empty(len(table), dtype=[*table.dtype.descr, ("label", "<u4"), ("heat", "<f8")])
        for name in table.dtype.names:
            wider[name] = table[name]
        wider["label"], wider["heat"] = np.arange(len(table)) + (1 << 31), np.pi
        return wider

    path = _rewritten(tmp_path, marked)
    for suffix in (".safetensors", ".ply"):
        between = tmp_path / f"b{suffix}"
        save(load(path), between)
        save(load(between), tmp_path / "c.ply")
        table = _table(tmp_path / "c.ply")
        assert table.dtype["label"] == np.dtype("<u4") and table["label"][2] == (1 << 31) + 2
        assert table.dtype["heat"] == np.dtype("<f8") and (table["heat"] == np.pi).all()


def test_two_scales_are_surfels_and_stay_so(tmp_path):
    def flat(table):
        return table[[name for name in table.dtype.names if name != "scale_2"]].copy()

    path = _rewritten(tmp_path, lambda table: np.array(flat(table).tolist(), dtype=[
        d for d in table.dtype.descr if d[0] != "scale_2"]))  # fmt: skip
    splats = load(path)
    assert splats.config.surfels and splats.scales.shape == (7, 2)
    for suffix in (".safetensors", ".ply"):
        save(splats, tmp_path / f"b{suffix}")
        splats = load(tmp_path / f"b{suffix}")
    ours, theirs = _table(tmp_path / "b.ply"), _table(path)
    assert ours.dtype.names == theirs.dtype.names and ours.tobytes() == theirs.tobytes()


def test_colours_of_eight_bits_stand_for_the_constant(tmp_path):
    def painted(table):
        kept = [d for d in table.dtype.descr if not d[0].startswith("f_")]
        new = np.empty(len(table), dtype=[*kept, ("red", "u1"), ("green", "u1"), ("blue", "u1")])
        for name, _ in kept:
            new[name] = table[name]
        new["red"], new["green"], new["blue"] = 255, 0, 51
        return new

    splats = load(_rewritten(tmp_path, painted))
    assert splats.config.degree == 0
    colour = 0.5 + 0.28209479177387814 * splats.sh_dc[0, 0]
    torch.testing.assert_close(colour, torch.tensor([1.0, 0.0, 0.2]), atol=1e-6, rtol=0)  # float32


def test_a_frame_is_baked_in_with_its_harmonics(tmp_path):
    from volkit.geometry import Cameras
    from volkit.rendering import renderer_for

    splats = _splats(200)
    with torch.no_grad():
        splats.log_scales.sub_(2.5)
    angle = torch.tensor(0.7)
    turn = ((angle.cos().item(), -angle.sin().item(), 0.0), (angle.sin().item(), angle.cos().item(), 0.0), (0, 0, 1.0))
    splats = splats.view(placement=Similarity(turn, (0.3, -0.2, 0.1), 1.7))
    save(splats, tmp_path / "a.ply")
    cameras = Cameras.looking_at(
        torch.tensor([[4.0, 3.0, 2.0]]), torch.zeros(3), torch.tensor([0.0, 0.0, 1.0]), 60.0, (48, 40)
    )
    with torch.no_grad():
        ours, theirs = (renderer_for(scene)(scene, cameras) for scene in (splats, load(tmp_path / "a.ply")))
    # the same splats in another frame: float32 positions, and alphas that are 1/255 but for rounding
    assert (ours.rgb - theirs.rgb).abs().max() < 5e-3 and (ours.rgb - theirs.rgb).abs().mean() < 1e-4
    assert ours.opacity.max() > 0.3


@pytest.mark.parametrize("damage", ["short", "long", "count", "header", "nothing", "list"])
def test_a_damaged_file_is_refused_by_name(tmp_path, damage):
    path = tmp_path / "a.ply"
    save(_splats(), path)
    data = path.read_bytes()
    changed = {
        "short": data[:-5],
        "long": data + b"\0" * 9,
        "count": data.replace(b"element vertex 7", b"element vertex 999999999999"),
        "header": data.replace(b"end_header", b"end_hxader"),
        "nothing": data[:30],
        "list": data.replace(b"property float nx", b"property list uchar float nx"),
    }[damage]
    path.write_bytes(changed)
    with pytest.raises(FormatError, match=r"a\.ply"):
        load(path)


def test_mutants(tmp_path):
    path = tmp_path / "a.ply"
    save(_splats(20, 1), path)
    assert survive(path, path.read_bytes()) > 1 / 6


def test_real_files(shared_data):
    folder = shared_data / "splats"
    train = load(folder / "loaders.gl" / "train-1000.ply")
    assert len(train) == 1000 and train.config.degree == 3 and not train.invalid.any()
    drops = load(folder / "supersplat_history" / "fruit_drops_minimal.ply")
    assert len(drops) == 4721 and len(drops.config.extras) == 1
    with pytest.raises(FormatError, match="claims 100 splats"):
        load(folder / "cvlab-epfl" / "pc_short.ply")


def test_real_files_are_written_as_they_were(shared_data, tmp_path):
    source = shared_data / "splats" / "supersplat_history" / "fruit_drops_minimal.ply"
    save(load(source), tmp_path / "a.ply")
    ours, theirs = _table(tmp_path / "a.ply"), _table(source)
    for name in theirs.dtype.names:
        assert np.array_equal(ours[name], theirs[name]), name


def test_a_column_with_a_dot_in_its_name_is_refused_by_name(tmp_path):
    """Columns become buffers of a module, whose names hold none."""

    def marked(table):
        wider = np.empty(len(table), dtype=[*table.dtype.descr, ("a.b", "<f4")])
        for name in table.dtype.names:
            wider[name] = table[name]
        wider["a.b"] = 1.0
        return wider

    with pytest.raises(FormatError, match=r"has a column 'a\.b'"):
        load(_rewritten(tmp_path, marked))


def test_numbers_too_large_for_a_box_are_read(tmp_path):
    splats = _splats()
    with torch.no_grad():
        splats.means.mul_(1e38)
        splats.log_scales.fill_(88.0)
    save(splats, tmp_path / "a.ply")
    assert len(load(tmp_path / "a.ply")) == 7
