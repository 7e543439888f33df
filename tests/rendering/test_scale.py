"""Nothing in drawing knows how large a scene is: millimetres, metres and kilometres give one picture."""

from dataclasses import replace

import pytest
import torch

from volkit.geometry import Cameras, Domain
from volkit.rendering.renderer import renderer_for
from volkit.representations import HashGridConfig, SplatsConfig

EYE = ((2.5, 1.0, 0.8),)


def cameras(scale: float) -> Cameras:
    eye = scale * torch.tensor(EYE)
    return Cameras.looking_at(eye, torch.zeros(3), torch.tensor([0.0, 0.0, 1.0]), 60.0, (48, 40))


def splats(scale: float):
    scene = SplatsConfig(count=400).build(Domain.cube(scale), torch.Generator().manual_seed(0))
    sizes = torch.rand(400, 3, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        scene.means.copy_(scale * (2.0 * torch.rand(400, 3, generator=torch.Generator().manual_seed(2)) - 1.0))
        scene.log_scales.copy_((scale * (0.02 + 0.1 * sizes)).log())
        scene.logits.fill_(3.0)
    return scene


@pytest.mark.parametrize("scale", [1e-3, 1e3])
def test_splats_of_any_scale_give_one_picture(scale):
    one, other = (renderer_for(scene)(scene, cameras(s)) for s, scene in ((s, splats(s)) for s in (1.0, scale)))
    assert one.opacity.max() > 0.9  # else nothing was drawn
    # Rounding of scaled means moves centres by 1e-5 of a pixel; where alpha is 1/255 a splat comes or goes whole.
    torch.testing.assert_close(other.channels["rgb"], one.channels["rgb"], atol=5e-3, rtol=0.0)
    torch.testing.assert_close(other.opacity, one.opacity, atol=5e-3, rtol=0.0)
    there = one.opacity > 0.5
    # As above, weighed by how far apart the splats of a pixel lie
    torch.testing.assert_close(other.depth[there] / scale, one.depth[there], atol=0.0, rtol=1e-2)


def test_what_is_behind_the_near_plane_is_not_drawn():
    scene = splats(1.0)
    with torch.no_grad():
        scene.means[:] = torch.tensor(EYE[0]) * (1.0 - 1e-3)  # before the lens, nearer than 0.003 diagonals
    assert not renderer_for(scene)(scene, cameras(1.0)).opacity.any()


@pytest.mark.parametrize("scale", [1e-3, 1e3])
def test_fields_of_any_scale_give_one_picture(scale):
    config = replace(HashGridConfig(), levels=4, log2_table=12)
    pictures = []
    for s in (1.0, scale):
        field = config.build(Domain.cube(s), torch.Generator().manual_seed(0)).requires_grad_(False)
        pictures.append(renderer_for(field)(field, cameras(s)))
    one, other = pictures
    assert one.opacity.max() > 0.5  # else nothing was drawn
    # 2e-3: a sample at the edge of an occupied cell falls on either side of it
    torch.testing.assert_close(other.opacity, one.opacity, atol=2e-3, rtol=0.0)
    torch.testing.assert_close(other.channels["rgb"], one.channels["rgb"], atol=2e-3, rtol=0.0)
