"""Runs in Blender's own Python: opens files, says what is in them, and draws them as they are without light.

Arguments: a file of jobs `{path, tangents?, picture?, world_from_camera?, focal?, size?}`, and where to write what was
seen.
"""

import json
import sys
from pathlib import Path

import bpy
from mathutils import Matrix


def opened(path):
    bpy.ops.wm.read_factory_settings(use_empty=True)
    if path.endswith((".glb", ".gltf")):
        bpy.ops.import_scene.gltf(filepath=path)
    elif path.endswith(".obj"):
        bpy.ops.wm.obj_import(filepath=path)
    elif path.endswith(".ply"):
        bpy.ops.wm.ply_import(filepath=path)
    elif path.endswith(".stl"):
        bpy.ops.wm.stl_import(filepath=path)
    else:
        bpy.ops.wm.usd_import(filepath=path)


def told():
    return {
        "meshes": {
            o.name: {
                "faces": len(o.data.polygons),
                "shown": o.visible_get() and not o.hide_render,
                "materials": [m.name for m in o.data.materials if m],
                "uv": len(o.data.uv_layers),
                "colours": len(o.data.color_attributes),
                "low": [min((o.matrix_world @ v.co)[k] for v in o.data.vertices) for k in range(3)],
                "high": [max((o.matrix_world @ v.co)[k] for v in o.data.vertices) for k in range(3)],
            }
            for o in bpy.data.objects
            if o.type == "MESH"
        },
        "images": {i.name: list(i.size) for i in bpy.data.images if i.size[0]},
        "collections": [c.name for c in bpy.data.collections],
    }


def tangents():
    """Place, uv (v up) and tangent with sign of each corner of the only mesh, by Blender's own copy of MikkTSpace."""
    shape = next(o for o in bpy.data.objects if o.type == "MESH")
    mesh = shape.data
    mesh.calc_tangents(uvmap=mesh.uv_layers[0].name)
    return [
        [*(shape.matrix_world @ mesh.vertices[loop.vertex_index].co), *mesh.uv_layers[0].data[loop.index].uv,
         *(shape.matrix_world.to_3x3() @ loop.tangent), loop.bitangent_sign]
        for loop in mesh.loops
    ]  # fmt: skip


def without_light(material):
    """Base colour as emission."""
    nodes, links = material.node_tree.nodes, material.node_tree.links
    surface = next((n for n in nodes if n.type == "BSDF_PRINCIPLED"), None)
    if surface is None:
        return
    glow = nodes.new("ShaderNodeEmission")
    links.new(surface.inputs["Base Color"].links[0].from_socket, glow.inputs["Color"])
    output = next(n for n in nodes if n.type == "OUTPUT_MATERIAL")
    links.new(glow.outputs["Emission"], output.inputs["Surface"])


def drawn(job):
    scene = bpy.context.scene
    for material in bpy.data.materials:
        without_light(material)
    camera = bpy.data.objects.new("camera", bpy.data.cameras.new("camera"))
    scene.collection.objects.link(camera)
    # OpenCV's axes to Blender's: it looks along -Z, +Y is up
    camera.matrix_world = Matrix(job["world_from_camera"]) @ Matrix.Diagonal((1, -1, -1, 1))
    camera.data.sensor_width = 36.0
    camera.data.lens = 36.0 * job["focal"] / job["size"]
    scene.camera = camera
    scene.world = bpy.data.worlds.new("white")
    scene.world.use_nodes = True
    background = next(n for n in scene.world.node_tree.nodes if n.type == "BACKGROUND")
    background.inputs["Color"].default_value = (1, 1, 1, 1)
    scene.render.engine = "CYCLES"
    scene.cycles.device, scene.cycles.samples, scene.cycles.use_denoising = "CPU", 32, False
    scene.cycles.pixel_filter_type = "BOX"
    scene.render.threads_mode, scene.render.threads = "FIXED", 1
    scene.render.resolution_x = scene.render.resolution_y = job["size"]
    scene.render.resolution_percentage = 100
    scene.view_settings.view_transform = "Standard"
    scene.render.image_settings.file_format = "PNG"
    scene.render.filepath = job["picture"]
    bpy.ops.render.render(write_still=True)


seen = []
for job in json.loads(Path(sys.argv[1]).read_text()):
    opened(job["path"])
    seen.append(told() | ({"tangents": tangents()} if "tangents" in job else {}))
    if "picture" in job:
        drawn(job)
Path(sys.argv[2]).write_text(json.dumps(seen))
