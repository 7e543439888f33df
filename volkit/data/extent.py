"""Where a captured scene is and how near it comes, from cameras, sparse points and transparency alone."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from volkit.data.listing import Listing, triple
from volkit.geometry import Cameras, Domain, Similarity
from volkit.typing import Float, Int, Tensor, UInt8

__all__ = ["Extent", "find_extent", "parse_domain", "visual_hull_box"]


SIDE = 48  # lattice cells a side, in each of the two passes
MOST_CAMERAS = 48  # more of them no longer change a bounding box
OPAQUE_ALPHA = 8  # of 255: fainter than this is an antialiased rim or noise
SEEN_BY = 0.5  # a cell counts where this part of the cameras sees it whole: elsewhere nobody carves

PARALLEL = 0.02  # share of the least determined axis of the focus point; 0.02 is cameras within about 8 degrees
NEAR_SHARE = 0.5  # nothing is expected nearer than this share of the distance to what is known


def visual_hull_box(
    cameras: Cameras, images: Sequence[UInt8[Tensor, "height width channel"]], region: Domain
) -> Domain | None:
    """The box around all that no picture shows to be empty inside `region`, world frame; None where nothing is left.

    A lattice cell is refuted by a camera that sees it whole and sees only transparency there (Laurentini 1994).
    """
    step = max(1, len(images) // MOST_CAMERAS)
    chosen = range(0, len(images), step)
    integrals = {i: _integral(images[i][..., 3]) for i in chosen}
    box = region
    for _ in range(2):
        cell = torch.tensor(box.extent) / SIDE
        survivors = _carved(cameras, integrals, box)
        if not len(survivors):
            return None
        lower, upper = survivors.amin(0) - cell, survivors.amax(0) + cell  # half a cell, and half a cell of margin
        box = Domain(triple(lower.tolist()), triple(upper.tolist()))
    return box


def _integral(alpha: UInt8[Tensor, "height width"]) -> Int[Tensor, "height+1 width+1"]:
    opaque = (alpha > OPAQUE_ALPHA).int()
    return torch.nn.functional.pad(opaque.cumsum(0, dtype=torch.int32).cumsum(1, dtype=torch.int32), (1, 0, 1, 0))


def _carved(cameras: Cameras, integrals: dict[int, Tensor], box: Domain) -> Float[Tensor, "point 3"]:
    axes = [torch.arange(SIDE) + 0.5] * 3
    unit = torch.stack(torch.meshgrid(*axes, indexing="ij"), -1).reshape(-1, 3) / SIDE
    points = torch.tensor(box.lower) + unit * torch.tensor(box.extent)
    radius = 0.5 * torch.tensor(box.extent).norm().item() / SIDE
    seen = torch.zeros(len(points), dtype=torch.int32)
    for camera, integral in integrals.items():
        whole, empty = _judged(cameras, camera, integral, points, radius)
        kept = ~(whole & empty)
        points, seen = points[kept], (seen + whole)[kept]
    return points[seen >= SEEN_BY * len(integrals)]


def _judged(cameras: Cameras, camera: int, integral: Tensor, points: Tensor, radius: float) -> tuple[Tensor, Tensor]:
    """Whether all within `radius` of a point lies in this camera's picture, and whether it is transparent there."""
    width, height = cameras.size[camera].tolist()
    pixels, depth = cameras.project(camera, points)
    reach = radius * cameras.intrinsics[camera, :2] / depth.clamp_min(radius)[:, None]
    low, high = (pixels - reach).floor(), (pixels + reach).ceil()
    size = pixels.new_tensor([width, height])
    whole = (depth > radius) & (low >= 0).all(-1) & (high <= size).all(-1)
    x0, y0 = low.nan_to_num().clamp_min(0).minimum(size).long().unbind(-1)
    x1, y1 = high.nan_to_num().clamp_min(0).minimum(size).long().unbind(-1)
    count = integral[y1, x1] - integral[y0, x1] - integral[y1, x0] + integral[y0, x0]
    return whole, count == 0


@dataclass(frozen=True)
class Extent:
    """Domain and nearest matter, world frame and unit, with a line about how they were found."""

    domain: Domain
    near: float
    note: str


def parse_domain(text: str) -> Domain:
    """Read `x0,y0,z0,x1,y1,z1` with `:contracted` after it for all of space around that box, world frame."""
    numbers, _, word = text.partition(":")
    try:
        values = [float(value) for value in numbers.split(",")]
    except ValueError:
        values = []
    if len(values) != 6 or word not in ("", "contracted"):
        raise ValueError(f"domain '{text}': write x0,y0,z0,x1,y1,z1 or x0,y0,z0,x1,y1,z1:contracted")
    return Domain(triple(values[:3]), triple(values[3:]), word == "contracted")


def find_extent(
    cameras: Cameras,
    images: Sequence[UInt8[Tensor, "height width channel"]],
    listing: Listing,
    world_from_file: Similarity,
    points: Float[Tensor, "point 3"] | None,
) -> Extent:
    """Object captures get the box of their visual hull, all others the contracted space around what is looked at."""
    focus, share = cameras.focus()
    ahead = ((focus - cameras.centres) * cameras.forward).sum(-1)
    inward = share > PARALLEL and bool((ahead > 0).float().mean() > 0.9)
    if images[0].shape[-1] == 4 and inward:
        reach = (focus - cameras.centres).norm(dim=-1).max().item()
        box = visual_hull_box(cameras, images, _cube(focus, reach))
        if box is not None:
            return _object(cameras, box)
    bounds = None if listing.bounds is None else tuple(b * world_from_file.scale for b in listing.bounds)
    if inward:
        centre, how = focus, "the point that the cameras look at"
    else:
        centre, how = _ahead(cameras, points, bounds), "the scene in front of the cameras"
    distances = (cameras.centres - centre).norm(dim=-1)
    half = (cameras.centres - centre).abs().amax(-1).quantile(0.9).item()
    domain = _cube(centre, half, contracted=True)
    near = _near(cameras, points, bounds, 0.1 * distances.median().item())
    return Extent(domain, near, f"opaque pictures: unbounded space, contracted around {how}")


def _object(cameras: Cameras, box: Domain) -> Extent:
    lower, upper = torch.tensor(box.lower), torch.tensor(box.upper)
    gap = (cameras.centres - cameras.centres.clamp(lower, upper)).norm(dim=-1).min().item()
    # A camera inside the box is still some way from the middle of the object.
    inside = 0.1 * (cameras.centres - 0.5 * (lower + upper)).norm(dim=-1).min().item()
    return Extent(box, max(NEAR_SHARE * gap, inside), "transparent pictures: the box of their visual hull")


def _ahead(cameras: Cameras, points: Tensor | None, bounds: tuple[float, ...] | None) -> Tensor:
    """Middle of the scene for cameras that look the same way: along the mean axis, at the harmonic mean depth."""
    centre, forward = cameras.centres.mean(0), torch.nn.functional.normalize(cameras.forward.mean(0), dim=0)
    if points is not None and len(points):
        return points.median(0).values
    if bounds is not None:
        return centre + forward * (2.0 / (1.0 / bounds[0] + 1.0 / bounds[1]))
    baseline = (cameras.centres - centre).norm(dim=-1).max().item()
    return centre + forward * max(4.0 * baseline, 1e-3)


def _near(cameras: Cameras, points: Tensor | None, bounds: tuple[float, ...] | None, otherwise: float) -> float:
    if bounds is not None:
        return 0.9 * bounds[0]  # LLFF's own factor
    if points is None or len(points) < 100:
        return otherwise
    step = max(1, len(points) // 20000)
    nearest = []
    for camera in range(len(cameras)):
        pixels, depth = cameras.project(camera, points[::step])
        size = cameras.size[camera]
        depth = depth[(depth > 0) & (pixels >= 0).all(-1) & (pixels <= size).all(-1)]
        if len(depth) >= 20:
            nearest.append(depth.quantile(0.01).item())
    return min(NEAR_SHARE * min(nearest), otherwise) if nearest else otherwise


def _cube(centre: Tensor, half: float, contracted: bool = False) -> Domain:
    half = max(half, 1e-6)
    return Domain(triple((centre - half).tolist()), triple((centre + half).tolist()), contracted)
