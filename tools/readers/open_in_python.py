"""Opens one file by one program of Python and prints what it saw, as JSON.

Arguments: the program, the file, and where to put the picture that the program found. Positions are in the frame of the
file, those of all that the program would show; colours are in [0, 1], uv as glTF's, v down; quaternions w first.
"""

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

Seen = dict[str, Any]
COLUMNS = {"log_scales": ("scale_0", "scale_1", "scale_2"), "quaternions": ("rot_0", "rot_1", "rot_2", "rot_3"),
           "dc": ("f_dc_0", "f_dc_1", "f_dc_2"), "sh": tuple(f"f_rest_{i}" for i in range(45))}  # fmt: skip


def by_trimesh(path: Path, picture: Path) -> Seen:
    import trimesh

    loaded = trimesh.load(path)
    scene = loaded if isinstance(loaded, trimesh.Scene) else trimesh.Scene(loaded)
    found = scene.dump()
    seen: Seen = {"positions": np.concatenate([np.asarray(part.vertices) for part in found])}
    seen["faces"] = sum(len(getattr(part, "faces", ())) for part in found)
    visual = getattr(found[0], "visual", None)
    if getattr(visual, "uv", None) is not None:
        image = getattr(visual.material, "baseColorTexture", None) or getattr(visual.material, "image", None)
        if image is not None:
            image.convert("RGB").save(picture)
        seen |= {"uv": visual.uv * [1, -1] + [0, 1], "material": visual.material.name}
    elif visual is not None and getattr(visual, "kind", None) == "vertex":
        seen["rgb"] = np.asarray(visual.vertex_colors)[:, :3] / 255.0
    return seen


def by_plyfile(path: Path, picture: Path) -> Seen:
    from plyfile import PlyData

    found = PlyData.read(path)
    rows = found["vertex"].data
    seen: Seen = {"positions": _columns(rows, ("x", "y", "z"))}
    if "red" in rows.dtype.names:
        seen["rgb"] = _columns(rows, ("red", "green", "blue")) / 255.0
    if "rot_0" in rows.dtype.names:
        return seen | _splats({name: rows[name] for name in rows.dtype.names})
    return seen | {"faces": len(found["face"].data)}


def by_meshio(path: Path, picture: Path) -> Seen:
    import meshio

    found = meshio.read(path)
    seen: Seen = {"positions": found.points, "faces": sum(len(cells.data) for cells in found.cells)}
    if {"red", "green", "blue"} <= set(found.point_data):
        seen["rgb"] = np.stack([found.point_data[name] for name in ("red", "green", "blue")], 1) / 255.0
    return seen


def by_pygltflib(path: Path, picture: Path) -> Seen:
    """The container alone: accessors as the file has them, as the documentation reads them."""
    import pygltflib

    found = pygltflib.GLTF2().load(str(path))
    primitive = found.meshes[0].primitives[0]
    return {"positions": _accessor(found, primitive.attributes.POSITION, path), "raw": True}


def by_tinyobjloader(path: Path, picture: Path) -> Seen:
    import tinyobjloader

    reader = tinyobjloader.ObjReader()
    if not reader.ParseFromFile(str(path)):
        raise ValueError(reader.Error())
    attributes = reader.GetAttrib()
    corners = [index for shape in reader.GetShapes() for index in shape.mesh.indices]
    places = np.array(attributes.vertices).reshape(-1, 3)[[c.vertex_index for c in corners]]
    uv = np.array(attributes.texcoords).reshape(-1, 2)[[c.texcoord_index for c in corners]]
    material = reader.GetMaterials()[0]
    shutil.copy(path.parent / material.diffuse_texname, picture)
    return {"positions": places, "faces": len(corners) // 3, "uv": uv * [1, -1] + [0, 1], "material": material.name}


def by_gsply(path: Path, picture: Path) -> Seen:
    import gsply

    found = gsply.plyread(str(path)) if path.suffix == ".ply" else gsply.read_spz(str(path))
    rest = np.asarray(found.shN)  # [splat, coefficient, channel]
    opacities = 1.0 / (1.0 + np.exp(-np.asarray(found.opacities).ravel()))
    return {"positions": found.means, "log_scales": found.scales, "quaternions": found.quats, "dc": found.sh0,
            "opacities": opacities, "sh": rest.transpose(0, 2, 1).reshape(len(rest), -1)}  # fmt: skip


def by_gaussforge(path: Path, picture: Path) -> Seen:
    import gaussforge

    kind = {".compressed": "compressed.ply"}.get(Path(path.stem).suffix, path.suffix[1:])
    target = picture.with_suffix(".theirs.ply")
    forge = gaussforge.GaussForge()
    made = forge.convert(path.read_bytes(), kind, "ply")
    if "error" in made:
        raise ValueError(made["error"])
    target.write_bytes(bytes(made["data"]))
    return by_plyfile(target, picture)


def by_usd(path: Path, picture: Path) -> Seen:
    from pxr import Usd, UsdGeom, UsdShade

    stage = Usd.Stage.Open(str(path))
    prims = [prim for prim in stage.Traverse() if prim.HasAttribute("points") or prim.HasAttribute("positions")]
    prim = next(p for p in prims if UsdGeom.Imageable(p).ComputePurpose() in ("default", "render"))
    place = np.array(UsdGeom.XformCache().GetLocalToWorldTransform(prim))
    points = np.array((prim.GetAttribute("points") or prim.GetAttribute("positions")).Get(), np.float64)
    seen: Seen = {"positions": points @ place[:3, :3] + place[3, :3]}
    if prim.HasAttribute("orientations"):
        turns = prim.GetAttribute("orientations").Get()
        harmonics = np.array(prim.GetAttribute("radiance:sphericalHarmonicsCoefficients").Get())
        harmonics = harmonics.reshape(len(points), -1, 3)
        return seen | {
            "quaternions": np.array([[q.real, *q.imaginary] for q in turns]),
            "log_scales": np.log(np.array(prim.GetAttribute("scales").Get())),
            "opacities": np.array(prim.GetAttribute("opacities").Get()), "dc": harmonics[:, 0],
            "sh": harmonics[:, 1:].transpose(0, 2, 1).reshape(len(points), -1),
        }  # fmt: skip
    corners = np.array(prim.GetAttribute("faceVertexIndices").Get())
    seen |= {"positions": seen["positions"][corners], "faces": len(prim.GetAttribute("faceVertexCounts").Get())}
    uv = UsdGeom.PrimvarsAPI(prim).GetPrimvar("st")
    if uv:
        values = np.array(uv.ComputeFlattened())
        values = values[corners] if uv.GetInterpolation() == "vertex" else values
        seen["uv"] = values * [1, -1] + [0, 1]
    material, _ = UsdShade.MaterialBindingAPI(prim).ComputeBoundMaterial()
    for shader in Usd.PrimRange(material.GetPrim()) if material else ():
        if shader.HasAttribute("inputs:file") and "olor" in str(shader.GetAttribute("inputs:file").Get()):
            _copy_asset(shader.GetAttribute("inputs:file").Get().resolvedPath, picture)
    return seen | {"material": material.GetPrim().GetName() if material else None}


def by_pymeshlab(path: Path, picture: Path) -> Seen:
    import pymeshlab

    found = pymeshlab.MeshSet()
    found.load_new_mesh(str(path))
    layers = [layer for layer in found if layer.is_visible()]
    places = [
        layer.vertex_matrix() @ layer.transform_matrix()[:3, :3].T + layer.transform_matrix()[:3, 3] for layer in layers
    ]
    first, seen = layers[0], {"positions": np.concatenate(places), "faces": sum(m.face_number() for m in layers)}
    textures = first.textures()
    if textures and first.has_wedge_tex_coord():
        next(iter(textures.values())).save(str(picture))
        corners = first.face_matrix().ravel()
        seen["positions"] = places[0][corners]
        seen["uv"] = first.wedge_tex_coord_matrix() * [1, -1] + [0, 1]
    elif textures and first.has_vertex_tex_coord():
        next(iter(textures.values())).save(str(picture))
        seen |= {"positions": places[0], "uv": first.vertex_tex_coord_matrix() * [1, -1] + [0, 1]}
    elif first.has_vertex_color():
        seen["rgb"] = first.vertex_color_matrix()[:, :3]
    return seen


def by_pyvista(path: Path, picture: Path) -> Seen:
    import pyvista

    found = pyvista.read(path)
    blocks = [found] if not isinstance(found, pyvista.MultiBlock) else _leaves(found)
    if not blocks:
        raise ValueError("an empty MultiBlock")
    seen: Seen = {"positions": np.concatenate([block.points for block in blocks])}
    seen["faces"] = sum(block.n_cells for block in blocks)
    first = blocks[0]
    for name in ("RGB", "RGBA", "COLOR_0"):
        if name in first.point_data:
            values = np.asarray(first.point_data[name])[:, :3]
            seen["rgb"] = values / 255.0 if values.dtype == np.uint8 else _display(values)
    return seen


def by_open3d(path: Path, picture: Path) -> Seen:
    import open3d

    open3d.utility.set_verbosity_level(open3d.utility.VerbosityLevel.Error)
    if path.suffix in (".splat", ".spz") or "splats" in path.stem:
        return _splats_of_open3d(open3d.t.io.read_point_cloud(str(path)))
    if path.suffix in (".ply", ".stl"):
        mesh = open3d.io.read_triangle_mesh(str(path))
        colours = {"rgb": np.asarray(mesh.vertex_colors)} if mesh.has_vertex_colors() else {}
        return {"positions": np.asarray(mesh.vertices), "faces": len(mesh.triangles), **colours}
    model = open3d.io.read_triangle_model(str(path))
    meshes = [part.mesh for part in model.meshes]
    if not meshes or not len(meshes[0].vertices):
        raise ValueError("a model without meshes, and no exception")
    seen: Seen = {"positions": np.concatenate([np.asarray(mesh.vertices) for mesh in meshes])}
    seen["faces"] = sum(len(mesh.triangles) for mesh in meshes)
    albedo = model.materials[0].albedo_img if model.materials else None
    if meshes[0].has_triangle_uvs() and albedo is not None and len(np.asarray(albedo)):
        open3d.io.write_image(str(picture), albedo)
        seen["positions"] = np.asarray(meshes[0].vertices)[np.asarray(meshes[0].triangles).ravel()]
        seen["uv"] = np.asarray(meshes[0].triangle_uvs) * [1, -1] + [0, 1]
    elif meshes[0].has_vertex_colors():
        seen["rgb"] = np.asarray(meshes[0].vertex_colors)
    return seen


def _splats_of_open3d(cloud: Any) -> Seen:
    point = {name: value.numpy() for name, value in cloud.point.items()}
    if not len(point.get("positions", ())):
        raise ValueError("an empty cloud, and no exception")
    seen: Seen = {"positions": point["positions"]}
    if "rot" in point:
        rest = point.get("f_rest")
        seen |= {"log_scales": np.log(point["scale"]), "quaternions": point["rot"], "dc": point["f_dc"],
                 "opacities": _sigmoid_if_logits(point["opacity"].ravel())}  # fmt: skip
        seen |= {} if rest is None else {"sh": rest.transpose(0, 2, 1).reshape(len(rest), -1)}
    return seen


def _sigmoid_if_logits(values: np.ndarray) -> np.ndarray:
    return values if values.min() >= 0.0 and values.max() <= 1.0 else 1.0 / (1.0 + np.exp(-values))


def _columns(rows: Any, names: tuple[str, ...]) -> np.ndarray:
    return np.stack([np.asarray(rows[name], np.float64) for name in names], 1)


def _splats(columns: dict[str, Any]) -> Seen:
    known = {name: members for name, members in COLUMNS.items() if members[0] in columns}
    held = {name: tuple(m for m in members if m in columns) for name, members in known.items()}
    seen = {name: _columns(columns, members) for name, members in held.items()}
    return seen | {"opacities": 1.0 / (1.0 + np.exp(-np.asarray(columns["opacity"], np.float64)))}


def _display(linear: np.ndarray) -> np.ndarray:
    linear = np.clip(linear, 0.0, 1.0)
    return np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)


def _leaves(block: Any) -> list[Any]:
    import pyvista

    parts = [block[i] for i in range(block.n_blocks) if block[i] is not None]
    return [leaf for part in parts for leaf in (_leaves(part) if isinstance(part, pyvista.MultiBlock) else [part])]


def _accessor(found: Any, index: int, path: Path) -> np.ndarray:
    accessor = found.accessors[index]
    view = found.bufferViews[accessor.bufferView]
    uri = found.buffers[view.buffer].uri
    data = found.binary_blob() if uri is None else (path.parent / uri).read_bytes()
    kind = {5120: "i1", 5121: "u1", 5122: "<i2", 5123: "<u2", 5126: "<f4"}[accessor.componentType]
    start = (view.byteOffset or 0) + (accessor.byteOffset or 0)
    stride = view.byteStride or 3 * np.dtype(kind).itemsize
    rows = np.ndarray((accessor.count, 3), kind, data, start, (stride, np.dtype(kind).itemsize))
    return rows.astype(np.float64)


def _copy_asset(resolved: str, picture: Path) -> None:
    from pxr import Ar

    found = Ar.GetResolver().OpenAsset(Ar.ResolvedPath(resolved))
    picture.write_bytes(bytes(found.GetBuffer()))


OPENED_BY: dict[str, Callable[[Path, Path], Seen]] = {
    "trimesh": by_trimesh, "plyfile": by_plyfile, "meshio": by_meshio, "pygltflib": by_pygltflib,
    "tinyobjloader": by_tinyobjloader, "gsply": by_gsply, "GaussForge": by_gaussforge, "usd-core": by_usd,
    "PyMeshLab": by_pymeshlab, "PyVista": by_pyvista, "Open3D": by_open3d,
}  # fmt: skip


if __name__ == "__main__":
    program, path, picture, told = sys.argv[1], *map(Path, sys.argv[2:5])
    seen = OPENED_BY[program](path, picture)
    plain = {name: value.tolist() if isinstance(value, np.ndarray) else value for name, value in seen.items()}
    told.write_text(json.dumps(plain))
