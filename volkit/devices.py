"""The choice of a device for fields, generators, tables and cameras; all else follows its input."""

from functools import cache
from typing import TYPE_CHECKING, Literal, get_args

from volkit.choices import Device, ParameterError

if TYPE_CHECKING:  # its import takes seconds, and a command line names a device
    import torch

__all__ = ["chosen_device", "on_device", "unverified"]


def chosen_device(word: str) -> "torch.device":
    """The torch device of a name; `auto` is CUDA if its kernels pass a self-test, else the CPU.

    Raises ParameterError for an unknown name, and for `cuda` where torch finds none.
    """
    import torch

    if word not in get_args(Device):
        raise ParameterError(f"device {word}: there is no such device; choose one of {', '.join(get_args(Device))}")
    if word == "cuda" and not torch.cuda.is_available():
        why = "finds no CUDA device here" if torch.version.cuda else "was built without CUDA"
        raise ParameterError(f"device cuda: torch {torch.__version__} {why}; use device cpu, or auto")
    return torch.device("cuda" if word == "cuda" or (word == "auto" and not unverified("cuda")) else "cpu")


@cache
def unverified(choice: Literal["native", "cuda"]) -> str:
    """Why these kernels fail a self-test; empty where they pass.

    Values and gradient of a small hash grid are compared with those of the reference.
    """
    import torch

    from volkit.ops import HashLevels, backend, hash_encode
    from volkit.ops.backend import Choice

    missing = backend.native_missing() if choice == "native" else backend.cuda_missing()
    if missing:
        return missing
    levels = HashLevels(levels=4, log2_table=10, base_resolution=4, per_level_scale=2.0)
    generator = torch.Generator().manual_seed(0)
    positions = torch.rand(256, 3, generator=generator)
    table = torch.randn(levels.entries, 2, generator=generator)
    device = "cuda" if choice == "cuda" else "cpu"
    runs: tuple[tuple[str, Choice], ...] = (("cpu", "reference"), (device, choice))
    found = []
    try:
        for place, each in runs:
            with backend.use(each):
                leaf = table.to(place).requires_grad_()
                encoded = hash_encode(positions.to(place), leaf, levels)
                encoded.square().sum().backward()
            assert leaf.grad is not None
            found.append((encoded.detach().cpu(), leaf.grad.cpu()))
    except (RuntimeError, AssertionError) as error:  # torch asserts that it was built with CUDA
        return f"a kernel that was tried failed ({' '.join(str(error).split())[:200]})"
    # float32: sums of 8 corners, and of some 256 * 8 / 125 positions in any order
    same = all(torch.allclose(ours, truth, rtol=1e-3, atol=1e-4) for truth, ours in zip(*found, strict=True))
    return "" if same else "a kernel that was tried does not answer as the reference does"


def on_device(generator: "torch.Generator", device: "torch.device") -> "torch.Generator":
    """The generator itself where it is there already, else one on `device`, seeded by a draw from it.

    Sizes and first values are drawn on the CPU, so that a seed starts from the same field everywhere.
    """
    import torch

    if generator.device == device:
        return generator
    seed = int(torch.randint(1 << 62, (), generator=generator, device=generator.device))
    return torch.Generator(device=device).manual_seed(seed)
