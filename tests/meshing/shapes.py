"""Shapes that are known exactly, as triangles."""

import math

import torch

from volkit.geometry import Cameras
from volkit.geometry.triangles import Triangles
from volkit.meshing.lattice import extract_known_zero, lattice_over


def ball(radius=1.0, middle=0.0, cells: int = 32) -> Triangles:
    """Marching cubes of a ball, whose radius may be a function of unit directions."""
    lattice = lattice_over(torch.full((3,), -1.2), torch.full((3,), 1.2), cells)
    index, points = lattice.points(torch.ones(lattice.blocks, dtype=torch.bool).nonzero())
    away = points - middle
    size = radius(torch.nn.functional.normalize(away, dim=-1)) if callable(radius) else radius
    return extract_known_zero(lattice, index, size - away.norm(dim=-1))


def box(extent=(1.0, 1.0, 1.0), middle=(0.0, 0.0, 0.0)) -> Triangles:
    """Twelve triangles."""
    bits = torch.tensor([[i & 1, i >> 1 & 1, i >> 2] for i in range(8)]) - 0.5
    quads = [[0, 2, 3, 1], [4, 5, 7, 6], [0, 1, 5, 4], [2, 6, 7, 3], [0, 4, 6, 2], [1, 3, 7, 5]]
    faces = [[q[0], q[k], q[k + 1]] for q in quads for k in (1, 2)]
    return Triangles(bits * torch.tensor(extent) + torch.tensor(middle), torch.tensor(faces))


def sheet(count: int = 8, side: float = 1.0, height: float = 0.0) -> Triangles:
    """A square in x and y about the origin, that faces up."""
    line = torch.linspace(-side / 2, side / 2, count + 1)
    x, y = torch.meshgrid(line, line, indexing="xy")
    corner = (torch.arange(count)[:, None] * (count + 1) + torch.arange(count)).flatten()
    right, up = corner + 1, corner + count + 1
    faces = torch.cat([torch.stack([corner, right, up + 1], 1), torch.stack([corner, up + 1, up], 1)])
    return Triangles(torch.stack([x.flatten(), y.flatten(), torch.full((x.numel(),), height)], 1), faces)


def joined(*parts: Triangles) -> Triangles:
    """All parts in one."""
    starts = torch.tensor([0, *(len(p.vertices) for p in parts[:-1])]).cumsum(0)
    faces = [part.faces + start for part, start in zip(parts, starts, strict=True)]
    return Triangles(torch.cat([p.vertices for p in parts]), torch.cat(faces))


def around(count: int = 24, size: int = 96) -> Cameras:
    """Cameras on a spiral over a sphere that look at the origin."""
    turn = torch.arange(count) * math.pi * (3 - math.sqrt(5))
    height = 1 - 2 * (torch.arange(count) + 0.5) / count
    ring = (1 - height**2).sqrt()
    centres = 4.0 * torch.stack([ring * turn.cos(), ring * turn.sin(), height], -1)
    return Cameras.looking_at(centres, torch.zeros(3), torch.tensor([0.0, 0.0, 1.0]), 1.2 * size, (size, size))
