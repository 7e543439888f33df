"""Run where OpenVDB's module is: writes a field, looks at the file as OpenVDB does, reads and damages it; says all."""

import json
import sys
from pathlib import Path

import pyopenvdb
import torch

from volkit.geometry import Domain, Points, Similarity
from volkit.io import FormatError, load, save
from volkit.representations import Voxels, VoxelsConfig

TURN = ((0.6, -0.8, 0.0), (0.8, 0.6, 0.0), (0.0, 0.0, 1.0))


def field(generator):
    """Half of its cells hold matter; turned, moved, three times as large as its own frame."""
    made = Voxels(VoxelsConfig(resolution=6, start=6, sh_degree=2), Domain((-1.0, -0.7, -1.2), (1.0, 0.9, 1.1)))
    made.keep(torch.rand(made.links.shape, generator=generator) < 0.5)
    with torch.no_grad():
        made.density_data.copy_(torch.rand(made.density_data.shape, generator=generator) + 0.1)
        made.sh_data.normal_(generator=generator).mul_(0.3)
    made.world_from_local, made.provenance = Similarity(TURN, (1.0, 2.0, 3.0), 3.0), {"note": "of a test"}
    return made.requires_grad_(False)


def asked(scene, world, directions):
    """World densities and colours."""
    local = scene.world_from_local.inverse()
    turned = torch.nn.functional.normalize(local.vectors(directions), dim=-1)
    answer = scene.query(Points(local.points(world), turned))
    return answer.density / scene.world_from_local.scale, answer.rgb


@torch.no_grad()
def main(folder):
    """Largest differences, and how damaged files end."""
    generator = torch.Generator().manual_seed(0)
    made = field(generator)
    save(made, folder / "a.vdb")
    (grid,) = [g for g in pyopenvdb.readAll(str(folder / "a.vdb"))[0] if g.name == "density"]
    again = load(folder / "a.vdb")
    cells = torch.stack(torch.meshgrid(*(torch.arange(n) for n in made.links.shape), indexing="ij"), -1).view(-1, 3)
    size = torch.tensor(made.links.shape)
    centres = made.world_from_local.points(made.domain.local_from_unit((cells + 0.5) / size))
    directions = torch.nn.functional.normalize(torch.randn(centres.shape, generator=generator), dim=-1)
    ours, theirs = asked(made, centres, directions), asked(again, centres, directions)
    look = grid.getConstAccessor()
    raw = [
        look.getValue(tuple(round(x) for x in grid.transform.worldToIndex(tuple(c)))) for c in centres.double().tolist()
    ]
    found = {
        "raw": float((torch.tensor(raw) - ours[0]).abs().max()),
        "density": float((theirs[0] - ours[0]).abs().max()),
        "rgb": float((theirs[1] - ours[1])[ours[0] > 0].abs().max()),
        "active": grid.activeVoxelCount() / int((made.links >= 0).sum()),
        "note": again.provenance.get("note"),
        "said": [],
    }
    whole = (folder / "a.vdb").read_bytes()
    for data in (whole[: len(whole) // 2], whole[:40], whole[:200] + bytes(64) + whole[264:]):
        (folder / "b.vdb").write_bytes(data)
        try:
            load(folder / "b.vdb")
            found["said"].append("")
        except FormatError as error:
            found["said"].append(str(error))
    print(json.dumps(found))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
