"""Small posed pictures of a red ball on nothing, and the files that conventions keep them in."""

import json
import math
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from volkit.geometry import Cameras

UP = torch.tensor([0.0, 0.0, 1.0])
RADIUS = 0.5
CENTRE = torch.tensor([0.2, -0.1, 0.3])


def ring(count: int = 8, size: tuple[int, int] = (48, 40), focal: float = 50.0) -> Cameras:
    """Cameras around the ball at distance 3 and different heights, looking at it."""
    angle = torch.arange(count) * (2 * math.pi / count)
    height = torch.linspace(-0.8, 0.8, count)[torch.arange(count) * 3 % count]
    flat = (1 - height**2).sqrt()
    centres = CENTRE + 3.0 * torch.stack([flat * angle.cos(), flat * angle.sin(), height], -1)
    return Cameras.looking_at(centres, CENTRE, UP, focal, size)


def ball(cameras: Cameras, index: int, alpha: bool = True) -> np.ndarray:
    """The ball as a camera sees it; opaque pictures have a grey background."""
    rays = cameras.picture_rays(index)
    along = ((CENTRE - rays.origins) * rays.directions).sum(-1)
    nearest = (rays.origins + along[:, None] * rays.directions - CENTRE).norm(dim=-1)
    width, height = cameras.size[index].tolist()
    hit = ((nearest < RADIUS) & (along > 0)).view(height, width, 1)
    picture = torch.where(hit, torch.tensor([200, 30, 40, 255]), torch.tensor([90, 90, 90, 0 if alpha else 255]))
    return picture[..., : 4 if alpha else 3].to(torch.uint8).numpy()


def opengl(cameras: Cameras, index: int) -> list[list[float]]:
    """A pose as transforms files have it."""
    pose = cameras.world_from_camera[index].double() * torch.tensor([1.0, -1.0, -1.0, 1.0])
    return [*pose.tolist(), [0.0, 0.0, 0.0, 1.0]]


def save_pictures(folder: Path, cameras: Cameras, alpha: bool = True, suffix: str = ".png") -> list[str]:
    """Write all pictures; returns their names."""
    folder.mkdir(parents=True, exist_ok=True)
    names = [f"view_{i:03d}{suffix}" for i in range(len(cameras))]
    for i, name in enumerate(names):
        Image.fromarray(ball(cameras, i, alpha)).save(folder / name)
    return names


def nerfstudio(folder: Path, cameras: Cameras, alpha: bool = True, **extra) -> dict:
    """Write pictures and transforms.json; returns the document for further changes."""
    names = save_pictures(folder / "images", cameras, alpha)
    fx, fy, cx, cy = cameras.intrinsics[0].tolist()
    width, height = cameras.size[0].tolist()
    document = {"fl_x": fx, "fl_y": fy, "cx": cx, "cy": cy, "w": width, "h": height, **extra}
    document["frames"] = [
        {"file_path": f"images/{name}", "transform_matrix": opengl(cameras, i)} for i, name in enumerate(names)
    ]
    rewrite(folder, document)
    return document


def rewrite(folder: Path, document: dict, name: str = "transforms.json") -> None:
    """Write a transforms file."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(json.dumps(document))


def blender(folder: Path, cameras: Cameras, split: str) -> None:
    """Write one split of a NeRF-Synthetic scene."""
    names = save_pictures(folder / split, cameras)
    angle = 2 * math.atan(0.5 * cameras.size[0, 0].item() / cameras.intrinsics[0, 0].item())
    frames = [
        {"file_path": f"./{split}/{name.removesuffix('.png')}", "transform_matrix": opengl(cameras, i)}
        for i, name in enumerate(names)
    ]
    rewrite(folder, {"camera_angle_x": angle, "frames": frames}, f"transforms_{split}.json")


def assert_same_cameras(found: Cameras, wanted: Cameras) -> None:
    """Poses and intrinsics agree to what float32 text and products keep."""
    assert torch.allclose(found.world_from_camera, wanted.world_from_camera, atol=2e-6)  # float32 through an SVD
    assert torch.allclose(found.intrinsics, wanted.intrinsics, rtol=1e-5)  # an angle instead of a focal length
    assert torch.equal(found.size, wanted.size)
