"""The programs of the matrix: what installs them, in which version, and which files each is given."""

from dataclasses import dataclass, field
from pathlib import Path

__all__ = ["ENGINES", "NODE", "NODE_MODULES", "PROGRAMS", "PYTHON", "READERS", "ROOT", "Program"]

ROOT = Path(__file__).parent.parent.parent
READERS = ROOT / ".readers"
ENGINES = ROOT / ".engines"
PYTHON = READERS / "python" / "bin" / "python"
NODE = READERS / "python" / "bin" / "node"
NODE_MODULES = READERS / "npm" / "node_modules"


@dataclass(frozen=True)
class Program:
    """One reader.

    Attributes:
        name: as its authors write it.
        by: who installs and runs it: `pypi`, `npm`, `blender`.
        packages: with the pinned versions, the one that reads first.
        files: names of `files.FILES` that it is given.
        limits: what the program's own memory rounds, whatever the file.
    """

    name: str
    by: str
    packages: tuple[str, ...]
    files: frozenset[str] = field(default_factory=frozenset)
    limits: dict[str, float] = field(default_factory=dict)

    @property
    def version(self) -> str:
        """Of the package that reads."""
        return self.packages[0].replace("==", "@").rpartition("@")[2]


def _program(name: str, by: str, packages: str, files: str, **limits: float) -> Program:
    return Program(name, by, tuple(packages.split()), frozenset(files.split()), limits)


GLB = "globe.glb draco quantized webp asset coloured.glb"
MESHES = f"{GLB} globe.gltf globe.obj coloured.ply globe.stl"
PROGRAMS = (
    _program("trimesh", "pypi", "trimesh==5.2.0 pillow scipy DracoPy==2.0.0", f"{MESHES} splats.glb"),
    _program("plyfile", "pypi", "plyfile==1.1.5", "coloured.ply splats.ply"),
    _program("meshio", "pypi", "meshio==5.3.5", "globe.obj coloured.ply globe.stl"),
    _program("pygltflib", "pypi", "pygltflib==1.16.5", "globe.glb webp coloured.glb globe.gltf splats.glb"),
    _program("tinyobjloader", "pypi", "tinyobjloader==2.0.0rc13", "globe.obj"),
    _program("gsply", "pypi", "gsply==0.4.6 zstandard", "splats.ply compressed.ply spz"),
    _program("GaussForge", "pypi", "gaussforge==0.6.0", "splats.ply compressed.ply spz splat ksplat sog"),
    _program("usd-core", "pypi", "usd-core==26.11", "usdz usdc splats.usdc"),
    _program("PyMeshLab", "pypi", "pymeshlab==2025.7.post1", f"{MESHES} splats.ply"),
    _program("PyVista", "pypi", "pyvista==0.49.1 vtk==9.7.2", f"{MESHES} splats.ply"),
    _program("Open3D", "pypi", "open3d==0.20.0", f"{MESHES} splats.ply splat spz compressed.ply"),
    _program("Blender", "blender", "bpy==5.0.1", f"{MESHES} usdz usdc splats.ply splats.glb"),
    _program("glTF-Validator", "npm", "gltf-validator@2.0.0-dev.3.10", f"{GLB} globe.gltf"),
    _program("glTF-Transform", "npm", "@gltf-transform/core@4.5.1 @gltf-transform/extensions@4.5.1 draco3dgltf@1.5.7",
             f"{GLB} globe.gltf"),
    _program("three.js", "npm", "three@0.187.0", f"{MESHES} splats.ply splats.glb".replace("draco", "")),
    _program("Babylon.js", "npm", "@babylonjs/core@9.35.0 @babylonjs/loaders@9.28.0",
             f"{GLB} globe.stl splats.ply compressed.ply splat".replace("draco", ""), shapes=0.05),
    _program("GaussianSplats3D", "npm", "@mkkellogg/gaussian-splats-3d@0.4.7", "splats.ply splat ksplat spz",
             opacities=0.005, colours=0.005),
    _program("splat-transform", "npm", "@playcanvas/splat-transform@3.7.0",
             "splats.ply compressed.ply splat ksplat spz sog"),
    _program("spz-js", "npm", "spz-js@1.2.5", "spz"),
    _program("assimp", "npm", "assimpjs@0.0.10", MESHES),
)  # fmt: skip
