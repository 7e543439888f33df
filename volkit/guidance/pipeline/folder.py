"""The folder of a pipeline and its parts; errors name what is missing."""

import importlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from volkit.extras import advice

__all__ = ["Folder", "library", "locate", "open_folder"]

CONFIGS = ("config.json", "scheduler_config.json", "tokenizer_config.json", "preprocessor_config.json")
WEIGHTS = (".safetensors", ".bin")
UNUSED = ("safety_checker", "feature_extractor", "image_encoder", "image_normalizer", "watermarker")
PATTERNS = ["model_index.json", "*/*.json", "*/*.txt", "*/*.model", "*/*.safetensors", "*/*.bin"]


def library(name: str) -> Any:
    """Import `diffusers`, `transformers`, `peft` or `huggingface_hub` at first use."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise RuntimeError(f"a prior, the toy one too, needs {name} ({error}); {advice('generate')}") from error


@dataclass(frozen=True)
class Folder:
    """A pipeline on disk: its index names the library and class of every part."""

    path: Path
    index: dict[str, tuple[str, str]]

    @property
    def denoiser(self) -> str:
        """The name of the part that predicts: `unet` or `transformer`."""
        return "unet" if "unet" in self.index else "transformer"

    def config(self, part: str) -> dict[str, Any]:
        """The configuration of a part."""
        return json.loads(next(self.path / part / n for n in CONFIGS if (self.path / part / n).is_file()).read_text())

    def load(self, part: str, dtype: torch.dtype | None = None) -> Any:
        """Load a part with its weights, in a precision."""
        owner, name = self.index[part]
        kind = getattr(library(owner), name, None)
        if kind is None:
            raise ValueError(f"{self.path}: part '{part}' is a {owner}.{name}, which this {owner} does not have")
        return kind.from_pretrained(self.path / part, **({} if dtype is None else {"dtype": dtype}))


def locate(name: str | Path) -> Path:
    """The folder of a pipeline: a local one, or one from the hub, whose cache is tried first."""
    local = Path(name)
    if local.is_dir():
        return local
    hub = library("huggingface_hub")
    reason = ""
    for cached_only in (True, False):
        try:
            return Path(hub.snapshot_download(str(name), allow_patterns=PATTERNS, local_files_only=cached_only))
        except Exception as error:  # network, gate, cache and name each have their own classes, in several libraries
            reason = str(error).strip().splitlines()[0]
    raise FileNotFoundError(
        f"prior '{name}': needs model_index.json and, for each part it names, a folder with its configuration and "
        f"weights (unet/diffusion_pytorch_model.safetensors, ...); looked in {local.absolute()}, in the cache "
        f"{hub.constants.HF_HUB_CACHE} and at huggingface.co: {reason}"
    )


def open_folder(name: str | Path) -> Folder:
    """Find a pipeline and check that all needed parts are there."""
    path = locate(name)
    listing = path / "model_index.json"
    if not listing.is_file():
        raise FileNotFoundError(f"{path}: no model_index.json; give the folder of a whole pipeline, not of one part")
    entries = json.loads(listing.read_text(encoding="utf-8"))
    index = {
        part: tuple(kind) for part, kind in entries.items() if isinstance(kind, list) and len(kind) == 2 and kind[0]
    }
    index = {part: kind for part, kind in index.items() if part not in UNUSED}
    index["pipeline"] = ("diffusers", entries.get("_class_name", ""))
    folder = Folder(path, index)
    if folder.denoiser not in index:
        raise FileNotFoundError(
            f"{listing}: names neither 'unet' nor 'transformer', and so no network that predicts noise"
        )
    for part in sorted(set(index) - {"pipeline"}):
        _check(path / part)
    return folder


def _check(part: Path) -> None:
    files = [file.name for file in part.iterdir()] if part.is_dir() else []
    if not set(CONFIGS) & set(files):
        raise FileNotFoundError(f"{part.parent}: part '{part.name}' is missing: expected {part}/config.json")
    weighs = part.name.startswith(("unet", "transformer", "vae", "text_encoder"))
    if weighs and not any(file.endswith(WEIGHTS) for file in files):
        raise FileNotFoundError(f"{part.parent}: part '{part.name}' has no weights: expected {part}/*.safetensors")
