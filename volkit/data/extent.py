"""Bounds of a captured scene and its distance from the cameras, from cameras, sparse points and alpha channels."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from volkit.data.listing import Listing, triple
from volkit.geometry import Cameras, Domain, Similarity
from volkit.typing import Float, Int, Tensor, UInt8

__all__ = ["Extent", "find_extent", "parse_domain", "visual_hull_box"]


LATTICE_CELLS = 48  # per side, in each of two passes
MAX_CAMERAS = 48  # more cameras no longer change the box
OPAQUE_ALPHA = 8  # of 255: fainter pixels are antialiased edges or noise
MIN_VIEW_SHARE = 0.5  # of the cameras must see a cell whole, since unseen cells are never carved

MIN_FOCUS_SHARE = 0.02  # of the focus point's least determined axis; below it cameras are parallel to 8 degrees
NEAR_SHARE = 0.5  # of the distance to known matter: nothing nearer is expected


def visual_hull_box(
    cameras: Cameras, images: Sequence[UInt8[Tensor, "height width channel"]], region: Domain
) -> Domain | None:
    """Box around the visual hull within `region`, world frame; None where nothing is left (Laurentini 1994).

    Images have an alpha channel. A lattice cell is carved away by any camera that sees it whole and fully transparent.
    """
    step = max(1, len(images) // MAX_CAMERAS)
    chosen = range(0, len(images), step)
    integrals = {i: _opaque_integral(images[i][..., 3]) for i in chosen}
    box = region
    for _ in range(2):
        cell = torch.tensor(box.extent) / LATTICE_CELLS
        survivors = _carve(cameras, integrals, box)
        if not len(survivors):
            return None
        lower, upper = (
            survivors.amin(0) - cell,
            survivors.amax(0) + cell,
        )  # half a cell to the face, half as margin
        box = Domain(triple(lower.tolist()), triple(upper.tolist()))
    return box


def _opaque_integral(alpha: UInt8[Tensor, "height width"]) -> Int[Tensor, "height+1 width+1"]:
    opaque = (alpha > OPAQUE_ALPHA).int()
    return torch.nn.functional.pad(opaque.cumsum(0, dtype=torch.int32).cumsum(1, dtype=torch.int32), (1, 0, 1, 0))


def _carve(cameras: Cameras, integrals: dict[int, Tensor], box: Domain) -> Float[Tensor, "point 3"]:
    axes = [torch.arange(LATTICE_CELLS) + 0.5] * 3
    unit = torch.stack(torch.meshgrid(*axes, indexing="ij"), -1).reshape(-1, 3) / LATTICE_CELLS
    points = torch.tensor(box.lower) + unit * torch.tensor(box.extent)
    radius = 0.5 * torch.tensor(box.extent).norm().item() / LATTICE_CELLS
    views = torch.zeros(len(points), dtype=torch.int32)
    for camera, integral in integrals.items():
        whole, empty = _test_cells(cameras, camera, integral, points, radius)
        kept = ~(whole & empty)
        points, views = points[kept], (views + whole)[kept]
    return points[views >= MIN_VIEW_SHARE * len(integrals)]


def _test_cells(
    cameras: Cameras, camera: int, integral: Tensor, points: Tensor, radius: float
) -> tuple[Tensor, Tensor]:
    """Whether the ball of `radius` around each point is within a camera's picture, and transparent there."""
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
    """Domain and distance to the nearest matter, world frame and unit; `note` says how they were found."""

    domain: Domain
    near: float
    note: str


def parse_domain(text: str) -> Domain:
    """Parse `x0,y0,z0,x1,y1,z1`, world frame; `:contracted` after it adds the unbounded space around the box."""
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
    """The box of the visual hull for captures of objects; contracted space around the cameras' focus for all others."""
    focus, share = cameras.focus()
    ahead = ((focus - cameras.centres) * cameras.forward).sum(-1)
    inward = share > MIN_FOCUS_SHARE and bool((ahead > 0).float().mean() > 0.9)
    if images[0].shape[-1] == 4 and inward:
        reach = (focus - cameras.centres).norm(dim=-1).max().item()
        box = visual_hull_box(cameras, images, _cube(focus, reach))
        if box is not None:
            return _object_extent(cameras, box)
    bounds = None if listing.bounds is None else tuple(b * world_from_file.scale for b in listing.bounds)
    if inward:
        centre, how = focus, "the point that the cameras look at"
    else:
        centre, how = _scene_ahead(cameras, points, bounds), "the scene in front of the cameras"
    distances = (cameras.centres - centre).norm(dim=-1)
    half = (cameras.centres - centre).abs().amax(-1).quantile(0.9).item()
    domain = _cube(centre, half, contracted=True)
    near = _nearest_matter(cameras, points, bounds, 0.1 * distances.median().item())
    return Extent(domain, near, f"opaque pictures: unbounded space, contracted around {how}")


def _object_extent(cameras: Cameras, box: Domain) -> Extent:
    lower, upper = torch.tensor(box.lower), torch.tensor(box.upper)
    gap = (cameras.centres - cameras.centres.clamp(lower, upper)).norm(dim=-1).min().item()
    # A camera within the box still keeps some distance from the object's centre.
    inside = 0.1 * (cameras.centres - 0.5 * (lower + upper)).norm(dim=-1).min().item()
    return Extent(box, max(NEAR_SHARE * gap, inside), "transparent pictures: the box of their visual hull")


def _scene_ahead(cameras: Cameras, points: Tensor | None, bounds: tuple[float, ...] | None) -> Tensor:
    """Centre of the scene for parallel cameras: the median point, else on the mean axis at the harmonic mean depth."""
    centre, forward = cameras.centres.mean(0), torch.nn.functional.normalize(cameras.forward.mean(0), dim=0)
    if points is not None and len(points):
        return points.median(0).values
    if bounds is not None:
        return centre + forward * (2.0 / (1.0 / bounds[0] + 1.0 / bounds[1]))
    baseline = (cameras.centres - centre).norm(dim=-1).max().item()
    return centre + forward * max(4.0 * baseline, 1e-3)


def _nearest_matter(
    cameras: Cameras, points: Tensor | None, bounds: tuple[float, ...] | None, otherwise: float
) -> float:
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
