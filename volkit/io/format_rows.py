"""The formats that volkit itself reads and writes, a row each."""

from volkit.io.format import Format, from_module

__all__ = ["EVERY_KIND", "ROWS"]

FIELDS = ("hash_grid", "voxels", "tensor_vm", "tensor_cp", "planes", "mlp")
EVERY_KIND = (*FIELDS, "splats", "mesh", "analytic", "voxel_features", "edited", "placed", "composed")
SPLATS, MESH, VOXELS = ("splats",), ("mesh",), ("voxels",)
# Name, suffixes, kinds, frame, functions (imported at the first call), what a round trip keeps.
ROWS = (
    Format("volkit", (".safetensors",), EVERY_KIND, None, *from_module("fields.native"),
           "every tensor bit for bit, frame, occupancy, cameras, provenance", every_kind=True),
    Format("nerf-pytorch", (".ckpt",), ("mlp",), "zup", *from_module("fields.nerf_checkpoint", write=None),
           "fine network exactly; not the coarse one, cameras"),
    Format("nerf", (".tar",), ("mlp",), "zup", *from_module("fields.relu_nerf", write=None),
           "fine network; not the coarse one, cameras"),
    Format("nerf_pl", (".ckpt",), ("mlp",), "zup", *from_module("fields.relu_nerf", "sniff_pl", "read_pl", None),
           "fine network; not the coarse one, cameras"),
    Format("torch-ngp", (".pth",), ("hash_grid",), "yup",
           *from_module("fields.ngp_kin", "sniff_torch_ngp", "read_torch_ngp", None),
           "table and networks exactly, occupancy; not its scale of the world, cameras"),
    Format("ngp_pl", (".ckpt",), ("hash_grid",), "zup",
           *from_module("fields.ngp_kin", "sniff_ngp_pl", "read_ngp_pl", None),
           "table and networks exactly, occupancy; not cameras"),
    Format("nerfacto", (".ckpt",), ("hash_grid",), None, *from_module("fields.nerfacto", write=None),
           "table and networks exactly, frame, mean appearance; not proposal networks, cameras", folders=True),
    Format("instant-ngp", (".ingp", ".msgpack"), ("hash_grid",), "zup", *from_module("fields.instant_ngp"),
           "table and networks in 16 bits, occupancy, frame, cameras, provenance; not the optimiser's state"),
    Format("dvgo", (".tar",), ("voxel_features",), "zup", *from_module("fields.dvgo", write=None),
           "grids, network and mask exactly; not cameras"),
    Format("k-planes", (".pth",), ("planes",), "zup", *from_module("fields.kplanes", write=None),
           "planes and networks exactly; not proposal networks, cameras"),
    Format("tensorf", (".th",), ("tensor_vm", "tensor_cp"), "zup", *from_module("fields.tensorf"),
           "factors and network exactly, occupancy, frame, provenance; not cameras"),
    Format("volume", (".volume.npz",), VOXELS, "zup", *from_module("volumes.dense"),
           "densities and harmonics exactly, frame, provenance; not cameras, colours of empty cells"),
    Format("openvdb", (".vdb",), VOXELS, "zup", *from_module("volumes.vdb"),
           "densities and harmonics in float32, frame, provenance; not cameras, colours of empty cells",
           needs=("openvdb", "pyopenvdb"),
           install_hint="install python3-openvdb from Debian, or openvdb from conda-forge"),
    Format("nanovdb", (".nvdb",), VOXELS, "zup", *from_module("volumes.nvdb"),
           "densities and harmonics in float32, frame; not cameras, colours of empty cells, provenance",
           needs=("warp",), extra="nanovdb"),
    Format("svox2", (".npz",), VOXELS, "zup", *from_module("fields.svox2"),
           "links and densities exactly, harmonics in 16 bits, frame, provenance; not cameras"),
    Format("analytic scene", (".json",), ("analytic",), "zup", *from_module("fields.analytic_scene", write=None),
           "shapes, textures, light, cameras"),
    Format("inria", (), SPLATS, None, *from_module("splats.inria_run", write=None),
           "the newest iteration's .ply, cameras, arguments; not exposures", folders=True),
    Format("3dgs", (".pth",), SPLATS, "ydown", *from_module("splats.checkpoints", "sniff_inria", "read_inria", None),
           "every splat in float32, surfels; not the optimiser's state", columns=True),
    Format("gsplat", (".pt",), SPLATS, None, *from_module("splats.checkpoints", "sniff_gsplat", "read_gsplat", None),
           "every splat in float32 of all ranks, mip mode, surfels; not poses, appearance", columns=True, folders=True),
    Format("splatfacto", (".ckpt",), SPLATS, None,
           *from_module("splats.checkpoints", "sniff_splatfacto", "read_splatfacto", None),
           "every splat in float32, frame, mip mode; not cameras", columns=True, folders=True),
    Format("compressed_ply", (".compressed.ply",), SPLATS, None, *from_module("splats.compressed_ply"),
           "positions and log scales in 10 or 11 bits of a chunk of 256, the rest in bytes, degree 3, provenance; "
           "not order, mip mode, surfels", columns=True, reorders=True),
    Format("ply", (".ply",), SPLATS, None, *from_module("splats.ply"),
           "every column bit for bit, unknown ones too, positions far from the origin, mip mode, surfels, provenance; "
           "not further elements", columns=True, georeferenced=True),
    Format("spz", (".spz",), SPLATS, "yup", *from_module("splats.niantic_spz"),
           "positions to 1/4096, the rest in bytes, degree 4 within [-1, 1], mip mode; not surfels, provenance",
           columns=True),
    Format("sog", (".sog", "meta.json"), SPLATS, None, *from_module("splats.sog"),
           "positions in 16 bits, the rest in tables of 256, degree 3 in a palette, mip mode, surfels, provenance; "
           "not order", columns=True, reorders=True),
    Format("splat", (".splat",), SPLATS, None, *from_module("splats.antimatter_splat"),
           "positions and scales in float32, the rest in bytes; "
           "not order, harmonics, mip mode, surfels, provenance", columns=True, reorders=True),
    Format("ksplat", (".ksplat",), SPLATS, None, *from_module("splats.ksplat"),
           "positions to 1/13000, the rest in 16 bits, colours in bytes, degree 2; "
           "not order, mip mode, surfels, provenance", columns=True, reorders=True),
    Format("gltf", (".glb", ".gltf"), MESH, "yup",
           *from_module("meshes.mesh_file", "meshes.gltf_file.sniff_gltf", "read_gltf", "write_mesh"),
           "shape, materials with all their textures, vertex colours, provenance; not light, motion"),
    Format("splat_gltf", (".glb", ".gltf"), SPLATS, "yup", *from_module("splats.gltf"),
           "every splat in float32, degree 3, provenance; not mip mode, surfels", columns=True, georeferenced=True),
    Format("csv", (".csv",), SPLATS, None, *from_module("splats.csv", None, None),
           "every splat in nine digits; not mip mode, provenance", columns=True, georeferenced=True),
    Format("obj", (".obj",), MESH, "yup", *from_module("meshes.mesh_file", "sniff_obj", "read_obj", "write_mesh"),
           "shape, materials with most textures, or vertex colours, provenance; not roughness maps"),
    Format("mesh_ply", (".ply",), MESH, "zup", *from_module("meshes.mesh_file", "sniff_ply", "read_ply", "write_mesh"),
           "shape, vertex colours, textures that are read, provenance; not textures that are written"),
    Format("stl", (".stl",), MESH, "zup", *from_module("meshes.mesh_file", "sniff_stl", "read_stl", "write_mesh"),
           "shape; not colours, provenance"),
    Format("usd", (".usdz", ".usdc", ".usda", ".usd"), (*MESH, *SPLATS), "yup",
           *from_module("meshes.mesh_file", "sniff_usd", "read_usd", "write_usd"),
           "shape, materials with all their textures, or vertex colours, every splat in float32, degree 4, provenance; "
           "not mip mode, surfels", needs=("pxr",), extra="usd"),
)  # fmt: skip
