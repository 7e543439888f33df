"""Encodings and networks of other programs, written in float64 from the descriptions of their layouts."""

import math
from itertools import pairwise

import numpy as np

PRIMES = (1, 2654435761, 805459861)


def level_sizes(encoding):
    """(scale, resolution, entries) of every level, from the description: b^i base - 1, ceil + 1, at most 2^T."""
    for level in range(encoding["n_levels"]):
        scale = encoding["per_level_scale"] ** level * encoding["base_resolution"] - 1
        resolution = math.ceil(scale) + 1
        yield scale, resolution, min((resolution**3 + 7) // 8 * 8, 1 << encoding["log2_hashmap_size"])


def padded(count, alignment):
    """The next multiple."""
    return (count + alignment - 1) // alignment * alignment


def matrices(generator, width, layers, inputs, outputs):
    """Random (out, in) matrices of a network without biases."""
    sizes = [inputs] + [width] * layers + [outputs]
    return [generator.normal(size=(b, a)) * a**-0.5 for a, b in pairwise(sizes)]


def looked_up(encoding, tables, unit):
    """Trilinear interpolation between hashed corners, in float64."""
    out = []
    for (scale, resolution, size), table in zip(level_sizes(encoding), tables, strict=True):
        place = unit * scale + 0.5
        cell = np.floor(place).astype(np.int64)
        fraction, total = place - cell, 0.0
        for corner in np.ndindex(2, 2, 2):
            x, y, z = (cell + corner).T
            dense = x + y * resolution + z * resolution**2
            hashed = (x * PRIMES[0]) ^ (y * PRIMES[1]) ^ (z * PRIMES[2])
            row = (dense if resolution**3 <= size else hashed) % size
            weight = np.where(corner, fraction, 1 - fraction).prod(-1)
            total = total + weight[:, None] * table[row]
        out.append(total)
    return np.concatenate(out, -1)


def network(layers, inputs, pad):
    """A ReLU network whose missing inputs all see one constant."""
    missing = layers[0].shape[1] - inputs.shape[1]
    hidden = np.concatenate([inputs, np.full((len(inputs), missing), pad)], -1)
    for index, layer in enumerate(layers):
        hidden = (np.maximum(hidden, 0) if index else hidden) @ layer.T
    return hidden


def harmonics(d):
    """The 16 real harmonics to l = 3 with Condon-Shortley signs, written from their Cartesian forms."""
    x, y, z = d.T
    return np.stack([
        np.full_like(x, 0.5 / math.sqrt(math.pi)),
        -math.sqrt(3 / (4 * math.pi)) * y, math.sqrt(3 / (4 * math.pi)) * z, -math.sqrt(3 / (4 * math.pi)) * x,
        0.5 * math.sqrt(15 / math.pi) * x * y, -0.5 * math.sqrt(15 / math.pi) * y * z,
        0.25 * math.sqrt(5 / math.pi) * (2 * z * z - x * x - y * y),
        -0.5 * math.sqrt(15 / math.pi) * x * z, 0.25 * math.sqrt(15 / math.pi) * (x * x - y * y),
        -0.25 * math.sqrt(35 / (2 * math.pi)) * y * (3 * x * x - y * y),
        0.5 * math.sqrt(105 / math.pi) * x * y * z,
        -0.25 * math.sqrt(21 / (2 * math.pi)) * y * (4 * z * z - x * x - y * y),
        0.25 * math.sqrt(7 / math.pi) * z * (2 * z * z - 3 * x * x - 3 * y * y),
        -0.25 * math.sqrt(21 / (2 * math.pi)) * x * (4 * z * z - x * x - y * y),
        0.25 * math.sqrt(105 / math.pi) * z * (x * x - y * y),
        -0.25 * math.sqrt(35 / (2 * math.pi)) * x * (x * x - 3 * y * y),
    ], -1)  # fmt: skip
