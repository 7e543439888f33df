"""Colours of textures: those of a known scene come back, whatever stands before it in some views."""

from dataclasses import replace

import pytest
import torch
from shapes import around, ball

from volkit.geometry import Cameras, Similarity
from volkit.geometry.triangles import Triangles
from volkit.meshing import bake
from volkit.meshing.bake import bake_texture
from volkit.meshing.simplify import simplify
from volkit.meshing.unwrap import Atlas, unwrap
from volkit.rendering.picture import Picture
from volkit.rendering.surface import MeshRenderer
from volkit.representations import Mesh

pytest.importorskip("embreex")
SIZE = 256


def _colours(points: torch.Tensor) -> torch.Tensor:
    rgb = (0.5 + 0.4 * torch.nn.functional.normalize(points, dim=-1)) * 255
    return torch.cat([rgb.round(), torch.full((len(points), 1), 255.0)], 1).to(torch.uint8)


def _atlas(surface: Triangles) -> Atlas:
    return unwrap([simplify(surface, 2000)], SIZE)[0]


def _error(texture: torch.Tensor, atlas: Atlas) -> torch.Tensor:
    texel, face, where = atlas.texels(SIZE)
    at = (atlas.surface.corners[face] * where[..., None]).sum(1)
    truth = 0.5 + 0.4 * torch.nn.functional.normalize(at, dim=-1)
    return (texture.view(-1, 4)[texel, :3].float() / 255 - truth).abs().amax(-1)


@pytest.mark.parametrize("lit", [False, True])
@pytest.mark.parametrize("fine", [0.0, 1e9])  # one of four texels is asked, or each
def test_colours_come_back(lit: bool, fine: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bake, "MAX_TEXELS_PER_PIXEL", fine)
    whole = ball(cells=48)
    mesh = Mesh.of(whole.vertices, whole.faces, colours=_colours(whole.vertices))
    mesh = mesh.view(placement=Similarity(((0.0, 0.0, 1.0), (1.0, 0.0, 0.0), (0.0, 1.0, 0.0)), (0.1, 0.0, -0.2), 1.1))
    atlas = _atlas(whole)
    error = _error(bake_texture(mesh, [atlas], around(24, 128), SIZE, lit=lit), atlas)
    # a pixel is 0.03 wide, over which colour changes by 0.012; 8 bits twice
    assert float(error.max()) < 0.03 and float(error.mean()) < 0.006


def test_needless_texels_are_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    whole, asked = ball(cells=24), []
    mesh, atlas = Mesh.of(whole.vertices, whole.faces), _atlas(whole)
    points = bake._points
    monkeypatch.setattr(bake, "_points", lambda atlas, size: asked.append(size) or points(atlas, size))
    for pixels in (32, 256):  # 13 and 102 along a unit at a distance of 3; half of the texels are some 22
        bake_texture(mesh, [atlas], around(8, pixels), SIZE)
    assert asked == [SIZE // 2, SIZE]


def test_sheen_in_few_views_moves_the_mean_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = ball(cells=48)
    mesh, atlas = Mesh.of(whole.vertices, whole.faces, colours=_colours(whole.vertices)), _atlas(whole)
    cameras = around(64, 96)

    def glossy(scene: Mesh, camera: Cameras) -> Picture:
        """Every fourth view is white."""
        picture = MeshRenderer()(scene, camera)
        fourth = int((cameras.centres - camera.centres).norm(dim=-1).argmin()) % 4 == 0
        return (
            replace(picture, channels={"rgb": picture.opacity[..., None].expand_as(picture.rgb)}) if fourth else picture
        )

    monkeypatch.setattr(bake, "renderer_for", lambda scene: glossy)
    diffuse, lit = (_error(bake_texture(mesh, [atlas], cameras, SIZE, lit=lit), atlas) for lit in (False, True))
    # a fourth of the way to white, 0.1 of colour and more; four steps to the median leave a third of that
    assert float(diffuse.mean()) < 0.05 < 0.1 < float(lit.mean())


def test_what_nobody_sees_takes_the_nearest_colour() -> None:
    whole = ball(cells=48)
    mesh, atlas = Mesh.of(whole.vertices, whole.faces, colours=_colours(whole.vertices)), _atlas(whole)
    above = around(24, 128)[:6]
    texture = bake_texture(mesh, [atlas], above, SIZE)
    texel, face, where = atlas.texels(SIZE)
    below = (atlas.surface.corners[face] * where[..., None]).sum(1)[:, 2] < -0.7
    blue = texture.view(-1, 4)[texel[below], 2].float() / 255
    # from above one sees down to where the slant is 0.2 at most; unseen texels have its colour, not that of any chart
    assert float(blue.max()) < 0.6 and float(blue.min()) > 0.2


def test_a_surface_that_nobody_sees_is_said() -> None:
    whole = ball()
    away = Mesh.of(whole.vertices + 100.0, whole.faces)
    with pytest.raises(ValueError, match="no camera sees the surface"):
        bake_texture(away, [_atlas(whole)], around(4, 32), SIZE)
