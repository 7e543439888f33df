"""The same field in Dr.Jit: `drjit.nn`'s hash grid and packed networks, on its LLVM backend.

Needs `pip install drjit` and LLVM (Debian: libllvm19; DRJIT_LIBLLVM_PATH names the library where it is not found).
"""

from typing import Any

import torch

from volkit.representations.hash_grid import HashGrid
from volkit.typing import Float, Tensor

__all__ = ["DrJitGrid"]


class DrJitGrid:
    """Dr.Jit's `HashGridEncoding` in tiny-cuda-nn's layout and two `nn.Sequential`, with the parameters of a HashGrid.

    Takes unit positions and the spherical harmonics of directions, gives raw outputs; gradients come from outside.
    """

    def __init__(self, twin: HashGrid, rate: float) -> None:
        import drjit
        import drjit.llvm.ad as arrays
        from drjit import nn
        from drjit.opt import Adam

        self.drjit, self.arrays, self.nn = drjit, arrays, nn
        levels = twin.config.encoding
        self.encoding = nn.HashGridEncoding(
            arrays.Float, 3, n_levels=levels.levels, n_features_per_level=levels.features,
            hashmap_size=2**levels.log2_table, base_resolution=levels.base_resolution,
            per_level_scale=levels.per_level_scale, torchngp_compat=True,
        )  # fmt: skip
        self.density = nn.pack(self._network(twin.density_network, twin.config.density_shape), layout="training")
        self.colour = nn.pack(self._network(twin.rgb_network, twin.config.rgb_shape), layout="training")
        parameters = {"density": self.density["weights"], "colour": self.colour["weights"], "table": self._table(twin)}
        self.adam = Adam(rate, parameters, beta_2=0.99, epsilon=1e-15, mask_updates=True)
        self.outputs: Any = None

    def answers(self, unit: Float[Tensor, "point 3"], basis: Float[Tensor, "point 16"]) -> Float[Tensor, "point 4"]:
        """Logarithm of density and raw colour at each point."""
        dr, nn = self.drjit, self.nn
        self.encoding.data[:] = self.adam["table"]
        self.density["weights"] = self.adam["density"]
        self.colour["weights"] = self.adam["colour"]
        features = self.encoding(self._columns(unit))
        dr.eval(features)  # kept for the way back, which is faster than to look all up again
        hidden = list(self.density(nn.CoopVec(*features)))
        colour = list(self.colour(nn.CoopVec(*hidden, *self._columns(basis))))
        self.outputs = [hidden[0], *colour]
        dr.eval(self.outputs)
        return torch.stack([torch.from_dlpack(dr.detach(each)) for each in self.outputs], 1)

    def learn(self, grad: Float[Tensor, "point 4"]) -> None:
        """Carry gradients of the answers back to the parameters, and take a step of Adam."""
        dr = self.drjit
        for output, column in zip(self.outputs, self._columns(grad), strict=True):
            dr.set_grad(output, column)
            dr.enqueue(dr.ADMode.Backward, output)
        dr.traverse(dr.ADMode.Backward)
        self.outputs = None
        self.adam.step()
        dr.eval(self.adam)
        dr.sync_thread()

    def _columns(self, rows: Float[Tensor, "point column"]) -> list[Any]:
        planar = rows.detach().t().contiguous()
        return [self.arrays.Float(column) for column in planar]

    def _table(self, twin: HashGrid) -> Any:
        """Level by level: Dr.Jit does not round dense levels up to eight rows."""
        levels, ends = twin.config.encoding, [self.encoding.level_offset(i) for i in range(twin.config.levels + 1)]
        parts = [
            twin.table.detach()[start : start + end - begin]
            for start, begin, end in zip(levels.offsets, ends, ends[1:], strict=False)
        ]
        return self.arrays.Float(torch.cat(parts).flatten())

    def _network(self, weights: Tensor, shape: Any) -> Any:
        """A `drjit.nn.Sequential` with the matrices of a fused network, padded rows left out."""
        nn, dr, layers = self.nn, self.drjit, []
        sizes = [out for out, _ in shape.matrices[:-1]] + [shape.outputs]
        for size in sizes:
            layers += [nn.Linear(-1, size, bias=False), nn.ReLU()]
        net = nn.Sequential(*layers[:-1]).alloc(self.arrays.TensorXf, size=shape.inputs, rng=dr.rng(seed=0))
        parts = weights.detach().split([out * into for out, into in shape.matrices])
        for index, (part, (_, into), size) in enumerate(zip(parts, shape.matrices, sizes, strict=True)):
            matrix = part.view(-1, into)[:size].contiguous()
            net.layers[2 * index].weights = self.arrays.TensorXf(self.arrays.Float(matrix.flatten()), matrix.shape)
        return net
