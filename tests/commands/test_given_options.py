"""An option counts as given when it was typed, whatever its value; contradictions are the command line's fault."""

from pathlib import Path

import pytest

from volkit.cli import main
from volkit.commands.convert import ConvertJob
from volkit.commands.mesh_flags import MeshFlags
from volkit.commands.options import parse
from volkit.meshing.options import MeshOptions

SCENE = str(Path(__file__).parents[2] / "scenes" / "primitives.json")


@pytest.mark.parametrize(("words", "said"), [
    (["convert", SCENE], "give a source and a target"),
    (["convert", SCENE, "x.safetensors", "--to", "nonsense"], "choose one of hash_grid"),
    (["convert", SCENE, "x.safetensors", "--to", "hash_grid", "--surfels"], "about splats alone: --surfels"),
    (["convert", SCENE, "x.safetensors", "--to", "voxels", "--faces", "50000"], "about meshes alone: --faces"),
    (["convert", SCENE, "x.glb", "--faces", "50000", "--method", "volkit"], "leave out --method"),
    (["convert", SCENE, "x.glb", "--to", "mesh", "--budget", "60s"], "leave out --budget"),
    (["convert", SCENE, "x.ply", "--sh-degree", "5"], "degree 0 to 4"),
    (["convert", SCENE, "x.safetensors", "--budget", "fast"], "write 120s"),
    (["convert", SCENE, "x.safetensors", "--edit", "floatrs"], "there is no such edit"),
    (["convert", SCENE, "x.safetensors", "--edit", "size:0.30m"], "cannot be read"),
    (["convert", SCENE, "x.safetensors", "--edit", "fit:-1"], "a size is positive"),
    (["fit", "photos", "x.safetensors", "--to", "nonsense"], "choose one of hash_grid"),
    (["fit", "photos", "x.safetensors", "--sh-degree", "3"], "about splats alone: --sh-degree"),
    (["fit", "photos", "x.safetensors", "--max-splats", "60000", "--densify", "mcmc"], "--max-splats, --densify"),
    (["fit", "photos", "x.ply", "--to", "splats", "--exposure"], "--exposure applies to fields only"),
    (["fit", "photos", "x.safetensors", "--budget", "0s"], "write 120s"),
    (["compare", "a", "b", "--size", "3"], "11 pixels"),
])  # fmt: skip
def test_a_wrong_command_line_ends_with_2_before_any_work(words, said, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(words) == 2
    assert said in capsys.readouterr().err and not list(tmp_path.iterdir())


def test_a_default_that_is_typed_counts():
    paths = (Path("a.ply"), Path("b.glb"))
    assert not ConvertJob(paths).wants_mesh and ConvertJob(paths, mesh=MeshFlags(faces=20_000)).wants_mesh
    (typed,) = parse([ConvertJob], ["a.ply", "b.glb", "--faces", "50000"])
    assert typed.wants_mesh and typed.mesh == MeshFlags(typed=("faces",)) and typed.mesh.options() == MeshOptions()
    (kept,) = parse([ConvertJob], ["a.glb", "b.glb", "--collider", "none", "--engine", "gltf"])
    assert kept.wants_mesh and not kept.mesh.options().rebuild
    job = ConvertJob(paths, sh_degree=0, method="volkit")
    assert job.given("sh_degree", "method", "budget", "surfels") == ["sh_degree", "method"]
