"""What a snapshot says about its parameters, its frame and its cameras.

Parameters are one vector: density network, colour network, hash table. Source: NVlabs/instant-ngp `testbed.cu`
(`reset_network`) and `nerf_network.h`; tiny-cuda-nn `grid.h`, `spherical_harmonics.h`, `composite.h`.

instant-ngp's unit cube is `scale world + offset`, then (x, y, z) <- (y, z, x) unless the dataset is from Mitsuba;
camera matrices have OpenCV axes and are stored by rows. Source: `nerf_loader.h`, `json_binding.h`; `vec_json.h` of
tiny-cuda-nn.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

from volkit.geometry import FISHEYE, OPENCV, PINHOLE, Cameras, Lens, Similarity
from volkit.io.fields.tcnn import TcnnNetwork, round_up
from volkit.ops.hash_encode import HashLevels
from volkit.representations import Capture, HashGridConfig

__all__ = [
    "WORLD_FROM_NGP",
    "Layout",
    "camera_entries",
    "frame_entries",
    "get_integer",
    "get_number",
    "get_table",
    "get_vector",
    "read_capture",
    "read_frame",
    "read_layout",
]


FINEST_CELLS = 2048.0  # per unit of the finest level, where no growth is configured
GRID_TYPES = ("hashgrid", "grid")
NETWORK_ALIGNMENT = {
    "fullyfusedmlp": 16,
    "megakernelmlp": 16,
    "cutlassmlp": 8,
}  # and the multiple that their widths are padded to

WORLD_FROM_NGP = ((0.0, 0.0, 1.0), (1.0, 0.0, 0.0), (0.0, 1.0, 0.0))  # world_from_ngp
COEFFICIENT_NAMES = {"opencv": ("k1", "k2", "p1", "p2"), "fisheye": ("k1", "k2", "k3", "k4")}
MAX_PICTURE_SIDE = 1 << 16  # pixels


@dataclass(frozen=True)
class Layout:
    """Sizes of all that the parameter vector holds; `extra` latent values follow the direction."""

    levels: HashLevels
    density: TcnnNetwork
    rgb: TcnnNetwork
    sh_degree: int
    extra: int

    @property
    def parameters(self) -> int:
        """Length of the parameter vector."""
        return self.density.parameters + self.rgb.parameters + self.levels.entries * self.levels.features

    def config(self, density_scale: float) -> HashGridConfig:
        """The config of our hash grid; latent values become a bias."""
        return HashGridConfig(
            width=self.density.width,
            density_layers=self.density.hidden_layers,
            rgb_layers=self.rgb.hidden_layers,
            sh_degree=self.sh_degree,
            density_scale=density_scale,
            bias=self.extra > 0,
            products="float32",
        ).with_encoding(self.levels)


def read_layout(root: Mapping[str, Any], aabb_scale: int, extra: int) -> Layout:
    """Read the configuration; ValueError says what is damaged or not supported."""
    levels = _levels(get_table(root, "encoding"), aabb_scale)
    density = _network(get_table(root, "network"), "network", levels.levels * levels.features)
    if density.outputs != 16:
        raise ValueError(f"its density network has {density.outputs} outputs, 16 are supported")
    degree = _sh_degree(get_table(root, "dir_encoding"))
    colour = get_table(root, "rgb_network")
    inputs = round_up((degree + 1) ** 2 + extra, _alignment(colour, "rgb_network"))
    rgb = _network({**colour, "n_output_dims": 3}, "rgb_network", 16 + inputs)
    if rgb.width != density.width:
        raise ValueError(f"its networks are {density.width} and {rgb.width} wide, equal widths are supported")
    return Layout(levels, density, rgb, degree, extra)


def get_table(parent: Mapping[str, Any], name: str) -> dict[str, Any]:
    """A nested map by name; ValueError where there is none."""
    value = parent.get(name)
    if not isinstance(value, dict):
        raise ValueError(f"it lacks '{name}'")
    return value


def get_integer(parent: Mapping[str, Any], name: str, default: int | None = None) -> int:
    """An integer by name; ValueError where it is none."""
    value = parent.get(name, default)
    if not isinstance(value, int) or isinstance(value, bool):
        raise ValueError(f"its '{name}' is not an integer")
    return value


def get_number(parent: Mapping[str, Any], name: str, default: float | None = None) -> float:
    """A finite number by name; ValueError where it is none."""
    value = parent.get(name, default)
    if not isinstance(value, int | float) or isinstance(value, bool) or not math.isfinite(value):
        raise ValueError(f"its '{name}' is not a finite number")
    return float(value)


def _levels(encoding: dict[str, Any], aabb_scale: int) -> HashLevels:
    kind = str(encoding.get("otype", "")).lower()
    if kind not in GRID_TYPES or str(encoding.get("type", "hash")).lower() != "hash":
        raise ValueError(f"it encodes positions by '{kind[:40]}', HashGrid is supported")
    for name, known in (("interpolation", "linear"), ("hash", "coherentprime")):
        if str(encoding.get(name, known)).lower() != known:
            raise ValueError(f"its '{name}' is '{str(encoding[name])[:40]}', {known} is supported")
    features = get_integer(encoding, "n_features_per_level", 2)
    count = get_integer(encoding, "n_levels", 16)
    if get_integer(encoding, "n_features", 0) > 0 and features > 0:
        count = get_integer(encoding, "n_features") // features
    log2_table = get_integer(encoding, "log2_hashmap_size", 15)
    base = get_integer(encoding, "base_resolution", 0) or 1 << max(0, min(log2_table, 30)) // 3
    growth = get_number(encoding, "per_level_scale", 0.0)
    if growth <= 0.0 and count > 1 and base > 0:
        growth = math.exp(math.log(FINEST_CELLS * aabb_scale / base) / (count - 1))
    return HashLevels(count, features, log2_table, base, growth if count > 1 else 1.0)


def _alignment(config: dict[str, Any], name: str) -> int:
    kind = str(config.get("otype", "")).lower()
    if kind not in NETWORK_ALIGNMENT:
        raise ValueError(f"its '{name}' is a '{kind[:40]}', FullyFusedMLP and CutlassMLP are supported")
    return NETWORK_ALIGNMENT[kind]


def _network(config: dict[str, Any], name: str, inputs: int) -> TcnnNetwork:
    alignment = _alignment(config, name)
    for key, known in (("activation", "relu"), ("output_activation", "none")):
        if str(config.get(key, known)).lower() != known:
            raise ValueError(f"the {key} of its '{name}' is '{str(config[key])[:40]}', {known} is supported")
    width, layers = get_integer(config, "n_neurons", 128), get_integer(config, "n_hidden_layers", 5)
    if not (1 <= width <= 1 << 12 and 1 <= layers <= 64):
        raise ValueError(f"its '{name}' has {layers} layers of {width}")
    return TcnnNetwork(inputs, get_integer(config, "n_output_dims", 16), width, layers, alignment)


def _sh_degree(config: dict[str, Any]) -> int:
    """Degree of the direction's harmonics, from 0; the encoding may be composed with an identity for latents."""
    parts = [config]
    if str(config.get("otype", "")).lower() == "composite":
        nested = config.get("nested")
        parts = [part for part in nested if isinstance(part, dict)] if isinstance(nested, list) else []
    kinds = [str(part.get("otype", "")).lower() for part in parts]
    if kinds not in (["sphericalharmonics"], ["sphericalharmonics", "identity"]):
        raise ValueError(f"it encodes directions by {kinds}, SphericalHarmonics is supported")
    degree = get_integer(parts[0], "degree", 4)
    if not 1 <= degree <= 5:
        raise ValueError(f"its directions have harmonics of degree {degree}, 1 to 5 are supported")
    return degree - 1


def read_frame(dataset: Mapping[str, Any]) -> Similarity:
    """world_from_ngp of a dataset; ValueError where it is damaged."""
    scale, offset = get_number(dataset, "scale"), get_vector(dataset.get("offset"), 3)
    if not scale > 0.0:
        raise ValueError("its scale is not positive")
    rotation = Similarity().rotation if dataset.get("from_mitsuba") else WORLD_FROM_NGP
    return Similarity(rotation, tuple(-value / scale for value in offset), 1.0 / scale)


def frame_entries(world_from_ngp: Similarity) -> dict[str, Any]:
    """Scale, offset and axes with which instant-ngp maps its world into its cube.

    It supports two rotations; under any other its world is a rotated one, whose up direction is stored.
    """
    upright = world_from_ngp.rotation == Similarity().rotation
    rotation = torch.tensor(world_from_ngp.rotation, dtype=torch.float64)
    kept = torch.eye(3, dtype=torch.float64) if upright else torch.tensor(WORLD_FROM_NGP, dtype=torch.float64)
    moved = kept @ rotation.T @ torch.tensor(world_from_ngp.translation, dtype=torch.float64)
    return {
        "scale": 1.0 / world_from_ngp.scale,
        "offset": (-moved / world_from_ngp.scale).tolist(),
        "from_mitsuba": upright,
        "up": rotation[2].tolist(),
    }


def read_capture(dataset: Mapping[str, Any], world_from_ngp: Similarity) -> Capture | None:
    """The training cameras; None without any, or where their lenses are mixed or unknown."""
    metadata, poses = dataset.get("metadata"), dataset.get("xforms")
    if not isinstance(metadata, list) or not isinstance(poses, list) or not poses or len(metadata) != len(poses):
        return None
    entries = zip(metadata, poses, strict=True)
    views = [
        _camera(get_table({"camera": about}, "camera"), get_table({"pose": pose}, "pose")) for about, pose in entries
    ]
    lenses = {lens for _, _, _, lens, _ in views}
    if len(lenses) > 1 or None in lenses:
        return None
    matrices, intrinsics, sizes, _, coefficients = zip(*views, strict=True)
    lens = views[0][3]
    assert lens is not None
    given = None if lens == PINHOLE else torch.tensor(coefficients)
    cameras = Cameras(torch.tensor(matrices), torch.tensor(intrinsics), torch.tensor(sizes), lens, given)
    paths = dataset.get("paths")
    if not isinstance(paths, list) or len(paths) != len(views):
        paths = [f"view {index}" for index in range(len(views))]
    return Capture(cameras.transform(world_from_ngp), tuple(map(str, paths)))


def camera_entries(capture: Capture | None, world_from_ngp: Similarity) -> dict[str, Any]:
    """Cameras as entries of a dataset."""
    if capture is None:
        return {"n_images": 0, "paths": [], "metadata": [], "xforms": []}
    cameras = capture.cameras.transform(world_from_ngp.inverse())
    metadata = []
    for index in range(len(cameras)):
        size, (fx, fy, cx, cy) = cameras.size[index].tolist(), cameras.intrinsics[index].tolist()
        metadata.append(
            {
                "focal_length": [fx, fy],
                "lens": _lens_entry(cameras, index),
                "principal_point": [cx / size[0], cy / size[1]],
                "rolling_shutter": [0.0, 0.0, 0.0, 0.0],
                "resolution": size,
            }
        )
    poses = [pose.tolist() for pose in cameras.world_from_camera.double()]
    return {
        "n_images": len(cameras),
        "paths": list(capture.names),
        "metadata": metadata,
        "xforms": [{"start": pose, "end": pose} for pose in poses],
    }


def get_vector(value: Any, size: int) -> list[float]:
    """A list of `size` finite numbers; ValueError where it is none."""
    if not isinstance(value, list) or len(value) != size:
        raise ValueError(f"a list of {size} numbers is missing")
    return [get_number({"entry": entry}, "entry") for entry in value]


def _camera(about: dict[str, Any], pose: dict[str, Any]):
    """Pose, intrinsics, size, lens (None: unknown) and its coefficients."""
    rows = pose.get("start")
    if not isinstance(rows, list) or len(rows) != 3:
        raise ValueError("a camera has no 3x4 matrix")
    width, height = (int(edge) for edge in get_vector(about.get("resolution"), 2))
    if not (1 <= width <= MAX_PICTURE_SIDE and 1 <= height <= MAX_PICTURE_SIDE):
        raise ValueError(f"a camera has {width} x {height} pixels")
    centre = get_vector(about.get("principal_point"), 2)
    intrinsics = [*get_vector(about.get("focal_length"), 2), centre[0] * width, centre[1] * height]
    lens, coefficients = _lens(about.get("lens", about.get("camera_distortion")) or {})
    return [get_vector(row, 4) for row in rows], intrinsics, [width, height], lens, coefficients


def _lens(entry: Any) -> tuple[Lens | None, list[float]]:
    if not isinstance(entry, dict):
        raise ValueError("a camera's lens is not a map")
    if "k1" in entry:
        lens = FISHEYE if entry.get("is_fisheye") else OPENCV
        found = [get_number(entry, name) for name in COEFFICIENT_NAMES[lens.model]]
        return lens, found + [0.0] * (4 if lens == OPENCV else 0)
    return (PINHOLE, []) if not any(entry.values()) else (None, [])


def _lens_entry(cameras: Cameras, index: int) -> dict[str, Any]:
    if cameras.coefficients is None or cameras.lens == PINHOLE:
        return {}
    values = cameras.coefficients[index].tolist()
    named = dict(zip(COEFFICIENT_NAMES[cameras.lens.model], values, strict=False))
    return {"is_fisheye": cameras.lens == FISHEYE, **named}
