"""What holds of every scene as a value: what is said of it is fixed, copies share nothing, files hold wrappers."""

from dataclasses import replace
from itertools import chain

import pytest
import torch
from contracts.kinds import BOX, questions, small_field
from engines.assets import coloured

from volkit.geometry import Cameras, Domain, Similarity
from volkit.io import FORMATS, FormatError, check_target, load, save
from volkit.ops.param_group import ParamGroup
from volkit.rendering.renderer import renderer_for
from volkit.representations import (
    Ball,
    Capture,
    Composed,
    Cut,
    Edited,
    Field,
    FieldSample,
    FunctionField,
    HashGridConfig,
    Mlp,
    MlpConfig,
    Placed,
    Placement,
    Representation,
    Splats,
    SplatsConfig,
    innermost,
)

PLACE = Similarity(((0.0, -1.0, 0.0), (1.0, 0.0, 0.0), (0.0, 0.0, 1.0)), (1.0, -2.0, 0.5), 2.0)


def captured(scene: Representation) -> Representation:
    """The scene in a place of its own, with a camera and a note."""
    pose = torch.eye(4)[None, :3].clone()
    cameras = Cameras(pose, torch.tensor([[90.0, 90.0, 32.0, 24.0]]), torch.tensor([[64, 48]]))
    capture = Capture(cameras, ("a",), ("a",), 0.25, (1.0, 1.0, 0.5))
    return scene.view(placement=Placement(PLACE, "yup"), capture=capture, provenance={"steps": [1, 2]})


def random_splats(count: int, degree: int) -> Splats:
    generator = torch.Generator().manual_seed(count)
    splats = SplatsConfig(count, degree).build(Domain.cube(1.0), generator)
    with torch.no_grad():
        for parameter in splats.parameters():
            parameter.normal_(generator=generator)
    return splats.view(placement=Placement(frame="ydown"))


def edited() -> Edited:
    cuts = (Cut(Domain.cube(0.8), True, PLACE), Cut(Ball((0.1, 0.0, 0.0), 0.3), False, Similarity()))
    return Edited(captured(small_field("tensor_vm")), cuts)


def nested() -> Composed:
    field = small_field("voxels")
    return Composed([Placed(edited(), PLACE), field, Edited(field, ()), field])


SCENES = {
    "field": lambda: small_field("hash_grid"),
    "network": lambda: small_field("mlp"),
    "splats": lambda: random_splats(7, 1),
    "mesh": lambda: coloured(2),
    "edited": edited,
    "placed": lambda: Placed(small_field("planes"), PLACE),
    "composed": lambda: Composed([small_field("hash_grid"), small_field("mlp", seed=1)]),
    "composed with itself": lambda: Composed([small_field("hash_grid")] * 2),
    "nested": nested,
}
ALL = pytest.mark.parametrize("name", SCENES)
WRAPPERS = pytest.mark.parametrize("name", ["edited", "placed", "composed", "composed with itself", "nested"])


def memory(scene: Representation) -> set[int]:
    """Where everything lies that can be written to."""
    tensors = list(chain(scene.parameters(), scene.buffers()))
    if scene.capture is not None:
        tensors.append(scene.capture.cameras.world_from_camera)
    return {tensor.data_ptr() for tensor in tensors if tensor.numel()}


@ALL
@pytest.mark.parametrize("name_of", ["world_from_local", "frame", "placement", "capture", "provenance", "domain"])
def test_what_is_said_of_a_scene_cannot_be_assigned(name, name_of):
    scene = SCENES[name]()
    with pytest.raises(AttributeError, match=f"{name_of} of a scene .* with_"):
        setattr(scene, name_of, getattr(scene, name_of))
    with pytest.raises(TypeError):
        scene.provenance["source"] = "elsewhere"


@ALL
def test_copies_share_nothing(name):
    scene = captured(SCENES[name]())
    for copy in (scene.with_(), scene.in_frame("ydown"), scene.in_frame("yup"), scene.placed_like(scene)):
        assert memory(scene) and not memory(scene) & memory(copy)
        assert type(copy) is type(scene) and copy.config == scene.config
        for ours, theirs in zip(scene.state_dict().values(), copy.state_dict().values(), strict=True):
            assert torch.equal(ours, theirs)
        with torch.no_grad():
            for tensor in chain(copy.parameters(), copy.buffers()):
                tensor.zero_()
        assert any(bool(tensor.any()) for tensor in scene.state_dict().values())
    noted = scene.with_()
    noted.provenance["steps"].append(3)
    assert scene.provenance["steps"] == [1, 2]


def test_a_smaller_copy_leaves_its_original():
    splats = random_splats(5, 1)
    for copy in (splats.in_frame("zup"), splats.with_(), splats.view(), splats.view_in_frame("yup")):
        copy.keep(torch.tensor([0, 2]))
        assert (len(copy), copy.config.count, len(splats), splats.config.count) == (2, 2, 5, 5)


@ALL
def test_a_view_shares_all_tensors_and_says_something_else(name):
    scene = SCENES[name]()
    before, elsewhere = scene.placement, Similarity(translation=(7.0, 0.0, 0.0))
    view = scene.view(placement=elsewhere)
    assert memory(view) == memory(scene)
    assert view.placement == Placement(elsewhere, scene.frame) and scene.placement == before


def test_copies_of_what_has_a_graph_are_leaves():
    mesh = coloured(2)
    moved = mesh.with_vertices(mesh.vertices.clone().requires_grad_() * 2.0)
    assert moved.vertices.requires_grad and not moved.with_().vertices.requires_grad


def test_what_is_left_out_stays():
    scene = captured(random_splats(3, 0))
    assert scene.with_(capture=None).capture is None
    other = scene.with_(domain=Domain.cube(9.0))
    assert other.domain == Domain.cube(9.0) and other.placement == Placement(PLACE, "yup")
    assert other.provenance == scene.provenance and other.capture.names == ("a",)
    assert scene.with_(placement=Similarity()).placement == Placement(Similarity(), "yup")


@ALL
def test_what_save_accepts_load_returns(name, tmp_path):
    scene = captured(SCENES[name]())
    with torch.no_grad():
        for tensor in scene.buffers():
            if tensor.dtype == torch.uint8 and isinstance(scene, Field):
                tensor.random_(generator=torch.Generator().manual_seed(3))
    save(scene, tmp_path / "a.safetensors")
    again = load(tmp_path / "a.safetensors")
    assert_same(scene, again)
    if isinstance(scene, Field):
        points = questions(64)
        ours, theirs = scene.query(points), again.query(points)
        assert torch.equal(ours.density, theirs.density) and torch.equal(ours.rgb, theirs.rgb)
        assert [p.lr for p in again.param_groups()] == [p.lr for p in scene.param_groups()]
    save(again, tmp_path / "b.safetensors")
    assert (tmp_path / "a.safetensors").read_bytes() == (tmp_path / "b.safetensors").read_bytes()


def assert_same(scene: Representation, again: Representation) -> None:
    assert type(again) is type(scene) and again.config == scene.config and again.domain == scene.domain
    assert again.placement == scene.placement and again.provenance == scene.provenance
    assert (again.capture is None) == (scene.capture is None)
    if scene.capture is not None:
        assert again.capture.names == scene.capture.names and again.capture.near == scene.capture.near
        poses = [s.capture.cameras.world_from_camera for s in (scene, again)]
        assert torch.equal(*poses)
    ours, theirs = scene.state_dict(), again.state_dict()
    assert ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in ours)
    assert len(scene.parts) == len(again.parts)
    for mine, other in zip(scene.parts, again.parts, strict=True):
        assert_same(mine, other)


def test_a_part_that_stands_there_twice_is_one_again(tmp_path):
    save(nested(), tmp_path / "a.safetensors")
    again = load(tmp_path / "a.safetensors")
    assert again.parts[1] is again.parts[3] and again.parts[2].parts[0] is again.parts[1]
    names = [group.name for group in again.param_groups()]
    assert len(set(names)) == len(names)


def test_parts_that_share_tensors_are_written_apart(tmp_path):
    field = small_field("hash_grid")
    save(Composed([field, field.view(provenance={"note": "the same"})]), tmp_path / "a.safetensors")
    again = load(tmp_path / "a.safetensors")
    assert torch.equal(again.parts[0].table, again.parts[1].table) and again.parts[1].provenance["note"] == "the same"


@WRAPPERS
def test_wrappers_have_a_kind_of_their_own(name):
    scene = SCENES[name]()
    assert scene.config.kind == {"nested": "composed"}.get(name, name.split()[0])
    assert innermost(scene).config.kind in ("tensor_vm", "planes", "hash_grid")


@WRAPPERS
@pytest.mark.parametrize("row", [row for row in FORMATS if FORMATS[row].write and row != "volkit"])
def test_other_formats_refuse_wrappers_before_the_work(name, row, tmp_path):
    scene, path = SCENES[name](), tmp_path / f"a{FORMATS[row].suffixes[0]}"
    for ask in (lambda: save(scene, path, row), lambda: check_target(path, scene.config.kind, row)):
        with pytest.raises(FormatError, match=r"of others.*\.safetensors.*distil"):
            ask()
    assert not list(tmp_path.iterdir())


def test_wrappers_deeper_than_can_be_asked_are_refused(tmp_path):
    deep = small_field("mlp")
    for _ in range(40):
        deep = Edited(deep, ())
    with pytest.raises(FormatError, match="41 deep"):
        save(deep, tmp_path / "a.safetensors")
    wide = small_field("mlp")
    for _ in range(12):
        wide = Composed([wide, wide])
    with pytest.raises(FormatError, match="8191"):
        save(wide, tmp_path / "a.safetensors")


def test_composed_fields_keep_the_rules_of_their_parts():
    class Own(Mlp):
        def param_groups(self):
            return [ParamGroup("all", tuple(self.parameters()), 0.5, True, 0.25, "muon")]

    field = Own(MlpConfig(layers=2, width=16, products="float32"), BOX, torch.Generator())
    (group,) = Composed([field]).param_groups()
    assert group == replace(field.param_groups()[0], name="0.all")


class Lump(Field):
    """A user's field: its two methods, and nothing else."""

    def __init__(self):
        super().__init__(((-1, -1, -1), (1, 1, 1)))
        self.level = torch.nn.Parameter(torch.tensor(30.0))

    def density(self, positions):
        return self.level * (positions.norm(dim=-1) < 0.5)

    def query(self, points):
        return FieldSample(self.density(points.positions), {"rgb": points.positions.abs()})


def seen() -> Cameras:
    up = torch.tensor([0.0, 0.0, 1.0])
    return Cameras.looking_at(torch.tensor([[0.0, -3.0, 0.0]]), torch.zeros(3), up, 40.0, (24, 24))


def test_a_field_of_ones_own_is_drawn_and_learns():
    field = Lump()
    picture = renderer_for(field)(field, seen())
    opacity = picture.opacity[0].flatten(1).squeeze(-1) if picture.opacity.dim() == 4 else picture.opacity[0]
    assert opacity[12, 12] > 0.99 and opacity[0, 0] == 0.0
    (group,) = field.param_groups()
    assert group.parameters == (field.level,) and group.rule == "adam" and group.lr > 0
    assert field.config.kind == "field" and not memory(field) & memory(field.with_())
    wrapped = Placed(field, PLACE)
    assert wrapped.parts == (field,)


@pytest.mark.parametrize("wrap", [lambda field: field, lambda field: Composed([small_field("mlp"), field])])
@pytest.mark.parametrize("suffix", [".safetensors", ".npz", ".ply"])
def test_a_field_of_ones_own_is_not_written(wrap, suffix, tmp_path):
    with pytest.raises(FormatError, match="distil"):
        save(wrap(Lump()), tmp_path / f"a{suffix}")
    assert not list(tmp_path.iterdir())


def test_two_functions_are_a_field():
    net = torch.nn.Linear(3, 1)
    field = FunctionField(
        lambda x: 5.0 * x[:, 0].relu(), lambda x, d: torch.cat([d[:, :1], net(x), x[:, :1]], -1), Domain.cube(1.0)
    )
    points = questions(200, reach=3.0)
    sample = field.query(points)
    inside = field.domain.contains(points.positions)
    assert not inside.all() and torch.equal(sample.density, 5.0 * points.positions[:, 0].relu() * inside)
    assert torch.equal(sample.rgb[:, 0], points.directions[:, 0].relu()) and not field.param_groups()
    picture = renderer_for(field)(field, seen())
    assert picture.rgb.shape[-1] == 3


def test_modules_among_the_functions_are_part_of_the_field():
    class Density(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = torch.nn.Linear(3, 1)

        def forward(self, positions):
            return self.layer(positions).exp()

    density = Density()
    field = FunctionField(density, lambda x, d: x.abs(), ((-1, -1, -1), (1, 1, 1)))
    assert [p.shape for p in field.parameters()] == [p.shape for p in density.parameters()]
    field.query(questions(9)).density.sum().backward()
    assert density.layer.weight.grad.any()
    assert not memory(field) & memory(field.with_())


@pytest.mark.parametrize(
    ("density", "rgb"),
    [(lambda x: x, lambda x, d: x), (lambda x: x[:1, 0], lambda x, d: x), (lambda x: x[:, 0], lambda x, d: x[:, :2])],
)
def test_answers_of_another_shape_are_named(density, rgb):
    with pytest.raises(ValueError, match="it must return"):
        FunctionField(density, rgb, Domain.cube(1.0)).query(questions(5))


def test_a_line_tells_what_a_scene_is():
    splats = random_splats(12, 2).view(domain=Domain((0.0, 0.0, 0.0), (2.5, 5.5, 2.7)))
    assert repr(splats) == "Splats(12, degree 2, box 2.5 x 5.5 x 2.7, up -y)"
    grid = HashGridConfig(levels=3, log2_table=8).build(Domain.cube(1.0, contracted=True), torch.Generator())
    count = sum(p.numel() for p in grid.parameters())
    assert repr(grid) == f"HashGrid(3 levels to 31 cells, {count} parameters, unbounded about 2 x 2 x 2, up z)"
    for make in SCENES.values():
        assert "\n" not in repr(make())
    assert "2 cuts of TensorVM(" in repr(edited())
    assert isinstance(splats, Splats)
