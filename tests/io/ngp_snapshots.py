"""Snapshots of instant-ngp, encoded from the layout's description, and what they answer in float64."""

import zlib

import msgpack
import numpy as np
from by_hand import harmonics, level_sizes, looked_up, matrices, network, padded


def config(**changes):
    """The configuration part of a snapshot, small."""
    root = {
        "encoding": {
            "otype": "HashGrid",
            "n_levels": 4,
            "n_features_per_level": 4,
            "log2_hashmap_size": 8,
            "base_resolution": 4,
            "per_level_scale": 1.7,
        },
        "network": {"otype": "FullyFusedMLP", "activation": "ReLU", "output_activation": "None", "n_neurons": 32,
                    "n_hidden_layers": 1},
        "dir_encoding": {"otype": "Composite", "nested": [
            {"n_dims_to_encode": 3, "otype": "SphericalHarmonics", "degree": 4}, {"otype": "Identity"}]},
        "rgb_network": {"otype": "FullyFusedMLP", "activation": "ReLU", "output_activation": "None", "n_neurons": 32,
                        "n_hidden_layers": 2},
    }  # fmt: skip
    for name, change in changes.items():
        root[name] = {**root[name], **change}
    return root


def parts(root, extra=0, seed=0):
    """Random matrices and tables in the order of the file."""
    generator = np.random.default_rng(seed)
    encoding, alignments = root["encoding"], []
    for name in ("network", "rgb_network"):
        alignments.append(16 if root[name]["otype"] == "FullyFusedMLP" else 8)
    features = encoding["n_levels"] * encoding["n_features_per_level"]
    density = matrices(generator, *sizes(root["network"]), padded(features, alignments[0]), padded(16, alignments[0]))
    seen = padded(16 + extra, alignments[1])
    rgb = matrices(generator, *sizes(root["rgb_network"]), 16 + seen, padded(3, alignments[1]))
    tables = [
        generator.normal(size=(size, encoding["n_features_per_level"])) * 0.5 for _, _, size in level_sizes(encoding)
    ]
    return density, rgb, tables


def sizes(network):
    return network["n_neurons"], network["n_hidden_layers"]


def snapshot(root, held, *, aabb_scale=1, dtype="<f2", grid=None, dataset=None, **more):
    """The whole map around parameters."""
    density, rgb, tables = held
    flat = np.concatenate([part.ravel() for part in (*density, *rgb, *tables)]).astype(dtype)
    cascades = aabb_scale.bit_length()
    grid = np.ones(128**3 * cascades) if grid is None else grid
    return {
        **root,
        "snapshot": {
            "version": 1,
            "mode": "nerf",
            "n_params": len(flat),
            "params_type": "__half" if dtype == "<f2" else "float",
            "params_binary": flat.tobytes(),
            "density_grid_size": 128,
            "density_grid_binary": grid.astype("<f2").tobytes(),
            "training_step": 35000,
            "nerf": {
                "aabb_scale": aabb_scale,
                "dataset": {"scale": 0.33, "offset": [0.5, 0.4, 0.6], "from_mitsuba": False, **(dataset or {})},
                **more,
            },
        },
    }


def store(path, root):
    data = msgpack.packb(root)
    path.write_bytes(zlib.compress(data) if path.suffix == ".ingp" else data)
    return path


def rounded(held, dtype="<f2"):
    return [[part.astype(dtype).astype(np.float64) for part in group] for group in held]


def by_hand(root, held, ngp, directions, aabb_scale=1, latent=None):
    """Density per unit of instant-ngp's length and colour, in float64."""
    density, rgb, tables = held
    unit = (ngp - 0.5) / aabb_scale + 0.5
    hidden = network(density, looked_up(root["encoding"], tables, unit), 0.0)[:, :16]
    seen = [hidden, harmonics(directions)]
    if latent is not None:
        seen.append(np.broadcast_to(latent, (len(ngp), len(latent))))
    raw = network(rgb, np.concatenate(seen, -1), 1.0)[:, :3]
    return np.exp(hidden[:, 0]), 1 / (1 + np.exp(-raw))
