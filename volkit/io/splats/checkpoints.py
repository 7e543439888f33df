"""Splats in checkpoints, read only: of gsplat (`.pt`), nerfstudio's splatfacto (`.ckpt`), INRIA's 3DGS (`.pth`).

All hold the parameters of a `.ply` before activation. Sources: gsplat `examples/simple_trainer.py`,
`simple_trainer_2dgs.py` and `datasets/colmap.py`; nerfstudio `models/splatfacto.py`; graphdeco-inria/gaussian-splatting
`scene/gaussian_model.py`, `capture`, which 2DGS shares.
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from volkit.choices import Frame
from volkit.files.errors import FormatError, format_errors
from volkit.files.plain_yaml import read_plain_yaml
from volkit.files.restricted_pickle import load_pickled, pickle_start
from volkit.files.run_folder import newest_file
from volkit.geometry.frames import Similarity
from volkit.geometry.spherical_harmonics import C0
from volkit.io.nerfstudio_run import model_settings, newest_checkpoint, run_placement
from volkit.io.splats.columns import SplatColumns, columns_from_file, concatenate_columns

__all__ = ["read_gsplat", "read_inria", "read_splatfacto", "sniff_gsplat", "sniff_inria", "sniff_splatfacto"]

GSPLAT_CHECKPOINTS = ("ckpts/ckpt_*_rank0.pt", "ckpts/ckpt_*.pt", "ckpt_*_rank0.pt", "ckpt_*.pt")
GSPLAT_SETTINGS = "cfg.yml"
GSPLAT_MARKS = (b"splats", b"means", b"quats")
SPLATFACTO_PREFIX, OLD_SPLATFACTO_PREFIX = "_model.gauss_params.", "_model."
INRIA_START = re.compile(  # a tuple of a tuple, which begins with the degree and the positions
    rb"\x80.\(K[\x00-\x04]ctorch\._utils\n_rebuild_(?:parameter\nq.ctorch\._utils\n_rebuild_)?tensor_v2\n"
)
INRIA_ENTRIES = 12
SH_BASES = (1, 4, 9, 16, 25)
CHECK = "check where it is from"


def sniff_gsplat(path: Path) -> bool:
    """Whether the file, or the newest in a folder of results, is a torch pickle with gsplat's names of splats."""
    start = pickle_start(newest_file(path, GSPLAT_CHECKPOINTS))
    return all(mark in start for mark in GSPLAT_MARKS) and b"_model." not in start


def read_gsplat(path: Path) -> SplatColumns:
    """The splats of all ranks that trained together; `cfg.yml`, beside or above, says if and how the world was turned.

    Without it the trainer's defaults are taken: a world that was normalised, +Z up, drawn as 3DGS draws.
    """
    path = newest_file(path, GSPLAT_CHECKPOINTS)
    settings = _gsplat_settings(path)
    flat = str(settings.get("model_type", "")).startswith("2dgs")
    ranks = _ranks(path)
    parts, step = [], None
    for part in ranks:
        stored = load_pickled(part)
        with format_errors(part, "a gsplat checkpoint", CHECK):
            splats = stored["splats"]
            if "sh0" not in splats and "features" in splats:
                raise ValueError("its colours come from a network of appearance (app_opt); train without it")
            sh = (splats["sh0"], splats.get("shN"))
            parts.append(_columns(splats["means"], splats["quats"], splats["scales"], splats["opacities"], sh))
            step = stored.get("step")
    columns = concatenate_columns(parts) if len(parts) > 1 else parts[0]
    if flat:
        columns["log_scales"] = columns["log_scales"][:, :2]
    normalised = bool(settings.get("normalize_world_space", True))
    provenance = _provenance("gsplat", step) | {"ranks": len(ranks), "normalised world": normalised}
    frame: Frame = "zup" if normalised else "ydown"
    return columns_from_file(columns, mip=settings.get("antialiased") is True, provenance=provenance, frame=frame)


def _gsplat_settings(path: Path) -> Mapping[Any, Any]:
    for folder in (path.parent, path.absolute().parent.parent):
        if (folder / GSPLAT_SETTINGS).is_file():
            found = read_plain_yaml(folder / GSPLAT_SETTINGS)
            return found if isinstance(found, Mapping) else {}
    return {}


def _ranks(path: Path) -> list[Path]:
    """The files of all processes that trained together, in their order; FormatError where one is missing."""
    match = re.fullmatch(r"(ckpt_\d+_rank)\d+(\.pt)", path.name)
    if not match:
        return [path]
    found = [path.parent / f"{match[1]}{rank}{match[2]}" for rank in range(len(list(path.parent.glob("ckpt_*.pt"))))]
    found = [place for place in found if place.is_file()]
    if path not in found or [place.name for place in found] != [f"{match[1]}{k}{match[2]}" for k in range(len(found))]:
        raise FormatError(
            path, "is one of several that trained together, and others are missing", "put all in one folder"
        )
    return found


def sniff_splatfacto(path: Path) -> bool:
    """Whether the file, or the newest in a run's folder, is a torch pickle with splatfacto's names of splats."""
    start = pickle_start(newest_checkpoint(path))
    return b"_model.gauss_params.means" in start or (b"_model.means" in start and b"_model.quats" in start)


def read_splatfacto(path: Path) -> SplatColumns:
    """The splats of a run, placed in its dataset's frame; with `config.yml` the way in which they are drawn."""
    path = newest_checkpoint(path)
    stored = load_pickled(path)
    with format_errors(path, "a splatfacto checkpoint", CHECK):
        pipeline = stored["pipeline"]
        prefix = SPLATFACTO_PREFIX if f"{SPLATFACTO_PREFIX}means" in pipeline else OLD_SPLATFACTO_PREFIX
        names = ("means", "quats", "scales", "opacities", "features_dc", "features_rest")
        means, quats, scales, opacities, constant, rest = (pipeline[prefix + name] for name in names)
        if rest.shape[1] == 0:  # without directions it learns the logits of colours
            constant = (torch.sigmoid(constant.detach().float()) - 0.5) / C0
        columns = _columns(means, quats, scales, opacities, (constant, rest))
        run = run_placement(path)
    try:
        mip = model_settings(path).get("rasterize_mode") == "antialiased"
    except FormatError:
        if any((folder / "config.yml").is_file() for folder in (path.parent, path.absolute().parent.parent)):
            raise
        mip = False
    provenance = _provenance("nerfstudio splatfacto", stored.get("step")) | {"world of the run": run.world}
    return columns_from_file(columns, run.world_from_local, mip=mip, provenance=provenance, frame=run.frame)


def sniff_inria(path: Path) -> bool:
    """Whether the file is a torch pickle of a tuple that begins as INRIA's captured state does."""
    return INRIA_START.match(pickle_start(path)) is not None


def read_inria(path: Path) -> SplatColumns:
    """The splats of a training state of 3DGS or 2DGS (two scales), in the capture's frame."""
    stored = load_pickled(path)
    with format_errors(path, "a training state of 3DGS", CHECK):
        state, step = stored
        if not isinstance(state, tuple) or len(state) < INRIA_ENTRIES:
            raise ValueError(f"it has {len(state)} entries where {INRIA_ENTRIES} are known")
        _, means, constant, rest, scales, quaternions, logits = state[:7]
        columns = _columns(means, quaternions, scales, logits, (constant, rest))
    return columns_from_file(columns, Similarity(), provenance=_provenance("INRIA 3DGS", step), frame="ydown")


def _columns(means: Any, quaternions: Any, scales: Any, logits: Any, sh: Sequence[Any]) -> dict[str, np.ndarray]:
    """Columns of tensors as trainers shape them; ValueError where they do not belong to the same splats."""
    constant, rest = sh
    count = len(_floats("means", means))
    basis = 0 if rest is None or rest.numel() == 0 else rest.shape[1]
    if basis + 1 not in SH_BASES:
        raise ValueError(f"it has {basis} harmonics from degree 1 on, which fit no degree up to 4")
    axes = 2 if getattr(scales, "ndim", 0) == 2 and scales.shape[1] == 2 else 3
    wanted = {
        "means": (means, (count, 3)),
        "quaternions": (quaternions, (count, 4)),
        "log_scales": (scales, (count, axes)),
        "logits": (logits, (count,)),
        "sh_dc": (constant, (count, 1, 3)),
        "sh_rest": (torch.zeros(count, 0, 3) if basis == 0 else rest, (count, basis, 3)),
    }
    columns = {}
    for name, (tensor, shape) in wanted.items():
        values = _floats(name, tensor)
        if (
            len(values) != count
            or values.numel() != int(np.prod(shape))
            or (name == "sh_rest" and values.shape != shape)
        ):
            raise ValueError(f"its {name} have shape {tuple(values.shape)} where {count} splats need {shape}")
        columns[name] = values.reshape(shape).numpy()
    return columns


def _floats(name: str, tensor: Any) -> torch.Tensor:
    if not isinstance(tensor, torch.Tensor) or not tensor.is_floating_point() or tensor.ndim == 0:
        raise ValueError(f"its {name} are not a tensor of floats")
    return tensor.detach().float()


def _provenance(source: str, step: Any) -> dict[str, Any]:
    return {"source": source, "steps": step if isinstance(step, int) else None}
