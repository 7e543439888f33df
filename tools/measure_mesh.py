"""Meshes beside the truth: bundled scenes with exact shape, a mesh made by others, a dataset of photographs.

python tools/measure_mesh.py ../shared/data/images/chair --mesh ../shared/data/meshes/spot/spot.obj

Every cell is a line `meshes/...` of tools/results/summary.jsonl; a run that was stopped goes on with what is missing.
"""

from volkit.threads import set_wait_policy

set_wait_policy()  # before torch is loaded

import argparse
from functools import partial
from pathlib import Path

import torch
from cells import measured

import volkit
from volkit.commands.compare import CompareJob
from volkit.commands.convert import ConvertJob
from volkit.commands.fit import FitJob
from volkit.commands.mesh_flags import MeshFlags
from volkit.commands.render import RenderJob
from volkit.evaluation.metrics import surface_distances
from volkit.geometry.triangles import Triangles
from volkit.io.fields.analytic_scene import bundled
from volkit.meshing.lattice import extract_known_zero, lattice_over
from volkit.meshing.surface import visible_faces
from volkit.progress import Progress
from volkit.representations import AnalyticField, Mesh

SCENES = ("primitives", "still_life", "lantern")
SIZE = 400
POINTS, SPLATS = 100_000, 100_000
ASSETS = {
    "mesh": ("hash_grid", "120s", MeshFlags()),
    "mesh_lit": ("hash_grid", "120s", MeshFlags(lit=True)),
    "mesh_refined_120s": ("hash_grid", "120s", MeshFlags(refine=120.0)),
    "mesh_3_levels_hulls": ("splats", "2m", MeshFlags(faces=20_000, lods=3, collider="hulls")),
}
QUIET = Progress()


def main() -> None:
    """Make what has no result yet."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="dataset of posed photographs")
    parser.add_argument("--mesh", type=Path, help="a textured mesh: by way of splats back to a mesh")
    parser.add_argument("--work", type=Path, default=Path("out/meshes"))
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    for name, (kind, budget, mesh) in ASSETS.items():
        job = partial(from_photographs, options.work, options.data, kind, budget, mesh)
        measured(f"meshes/photographs-{kind}-{name}", job)
    if options.mesh is not None:
        measured("meshes/mesh-splats-mesh", lambda: from_mesh(options.work, options.mesh))
    for name in SCENES:
        measured(f"meshes/{name}-hash_grid-mesh", lambda name=name: from_scene(options.work, name))


def from_scene(work: Path, name: str) -> dict:
    """Pictures of an analytic scene, a hash grid fitted to them, its mesh beside the exact surface that they show."""
    pictures, field, target = work / name, work / f"{name}.safetensors", work / f"{name}.glb"
    RenderJob(bundled(name), pictures, size=SIZE, force=True).run(QUIET)
    FitJob(pictures, field, to="hash_grid", budget="60s", force=True).run(QUIET)
    report = ConvertJob((field, target), to="mesh", force=True).run(QUIET)
    truth = volkit.load(bundled(name))
    assert isinstance(truth, AnalyticField)
    lattice = lattice_over(torch.tensor(truth.domain.lower), torch.tensor(truth.domain.upper), 320)
    index, points = lattice.points(torch.ones(lattice.blocks).nonzero())
    exact = extract_known_zero(lattice, index, -truth.signed_distance(points))
    capture = volkit.load(field).capture
    assert capture is not None
    exact = exact.keep(visible_faces(exact, truth.world_from_local, capture.cameras))
    return report | beside(target, Triangles(truth.world_from_local.points(exact.vertices), exact.faces))


def from_mesh(work: Path, source: Path) -> dict:
    """A mesh to splats to a mesh."""
    splats, target = work / "splats.ply", work / "splats.glb"
    ConvertJob((source, splats), to="splats", budget="60s", size=SIZE, force=True).run(QUIET)
    report = ConvertJob((splats, target), to="mesh", mesh=MeshFlags(faces=20_000), force=True).run(QUIET)
    return report | beside(target, in_world(volkit.load(source)))


def from_photographs(work: Path, data: Path, kind: str, budget: str, options: MeshFlags) -> dict:
    """A scene fitted to photographs, and its mesh, both on the held-out ones."""
    source, target = work / f"photographs-{kind}.safetensors", work / f"photographs-{kind}.glb"
    if not source.exists():
        FitJob(data, source, to=kind, size=SIZE, budget=budget, max_splats=SPLATS).run(QUIET)
    report = ConvertJob((source, target), to="mesh", mesh=options, force=True).run(QUIET)
    seen = {
        name: CompareJob(path, data, size=SIZE).run(QUIET)["psnr"]
        for name, path in (("source", source), ("mesh", target))
    }
    return report | {"psnr_of_source": seen["source"], "psnr": seen["mesh"]}


def in_world(mesh: object) -> Triangles:
    """A mesh's triangles in the world frame."""
    assert isinstance(mesh, Mesh)
    return Triangles(mesh.world_from_local.points(mesh.vertices), mesh.triangles.faces)


def beside(target: Path, truth: Triangles) -> dict:
    """Distances in shares of the diagonal, F-score at 1 % of it, and likeness of normals."""
    generator = torch.Generator().manual_seed(0)
    diagonal = float((truth.vertices.amax(0) - truth.vertices.amin(0)).norm())
    mine, theirs = in_world(volkit.load(target)).sample(POINTS, generator), truth.sample(POINTS, generator)
    found = surface_distances(mine, theirs, 0.01 * diagonal)
    return {"chamfer": found.chamfer / diagonal, "f_score": found.f_score, "normals": found.normals}


if __name__ == "__main__":
    main()
