"""`--device`, with the same words in every command: where fields, generators, tables and cameras go.

Everything else follows its input. What runs on CUDA has been compiled and read, not run: hence the default.
"""

from typing import Literal

import torch

__all__ = ["Device", "chosen_device", "on_device"]

Device = Literal["auto", "cpu", "cuda"]


def chosen_device(word: str) -> torch.device:
    """The device that a word stands for; `auto` is CUDA where torch sees one. ValueError where it is not there."""
    there = torch.cuda.is_available()
    if word not in ("auto", "cpu", "cuda"):
        raise ValueError(f"device '{word}': there is no such word; choose auto, cpu or cuda")
    if word == "cuda" and not there:
        why = "sees no CUDA device here" if torch.version.cuda else "was built without CUDA"
        raise ValueError(f"--device cuda: torch {torch.__version__} {why}; use --device cpu, or auto")
    return torch.device("cuda" if there and word != "cpu" else "cpu")


def on_device(generator: torch.Generator, device: torch.device) -> torch.Generator:
    """The generator itself where it is there already, else one on `device`, seeded by a draw from it.

    Sizes and first values are drawn on the CPU, so that a seed starts from the same field everywhere.
    """
    if generator.device == device:
        return generator
    seed = int(torch.randint(1 << 62, (), generator=generator, device=generator.device))
    return torch.Generator(device=device).manual_seed(seed)
