"""Runs in Blender's own Python: opens files and draws them without light, by the base colour of their materials.

Arguments: a file of jobs `{path, picture, world_from_camera, focal, size}`, poses of OpenCV in Blender's world,
and where to write what was seen of each: how many faces.
"""

import json
import sys
from pathlib import Path

import bpy
from io_scene_gltf2.blender.imp.scene import BlenderScene
from mathutils import Matrix

SAMPLES = 64  # rays of a pixel


def main() -> None:
    """Draw every job."""
    # Skins and morph targets stay as the file's nodes and weights have them; Blender would show the first animation.
    BlenderScene.create_animations = staticmethod(lambda gltf: None)
    seen = []
    for job in json.loads(Path(sys.argv[1]).read_text()):
        bpy.ops.wm.read_factory_settings(use_empty=True)
        bpy.ops.import_scene.gltf(filepath=job["path"])
        for material in bpy.data.materials:
            glow(material)
        seen.append({"faces": faces()})
        draw(job)
    Path(sys.argv[2]).write_text(json.dumps(seen))


def glow(material: bpy.types.Material) -> None:
    """Base colour as emission, as opaque as the material is."""
    nodes, links = material.node_tree.nodes, material.node_tree.links
    surface = next((node for node in nodes if node.type == "BSDF_PRINCIPLED"), None)
    if surface is None:  # unlit already
        return
    light, clear, mixed = (nodes.new(f"ShaderNode{kind}") for kind in ("Emission", "BsdfTransparent", "MixShader"))
    carry(links, surface.inputs["Base Color"], light.inputs["Color"])
    carry(links, surface.inputs["Alpha"], mixed.inputs["Fac"])
    links.new(clear.outputs[0], mixed.inputs[1])
    links.new(light.outputs[0], mixed.inputs[2])
    output = next(node for node in nodes if node.type == "OUTPUT_MATERIAL")
    links.new(mixed.outputs[0], output.inputs["Surface"])


def carry(links: bpy.types.NodeLinks, source: bpy.types.NodeSocket, target: bpy.types.NodeSocket) -> None:
    """What an input is linked to, or its value, at another input."""
    if source.is_linked:
        links.new(source.links[0].from_socket, target)
    else:
        target.default_value = source.default_value


def faces() -> int:
    """Of all visible meshes."""
    shown = [o for o in bpy.context.view_layer.objects if o.type == "MESH" and o.visible_get()]
    return sum(len(o.data.polygons) for o in shown)


def draw(job: dict) -> None:
    """A picture of straight display-referred colours and alpha."""
    scene = bpy.context.scene
    camera = bpy.data.objects.new("camera", bpy.data.cameras.new("camera"))
    scene.collection.objects.link(camera)
    # OpenCV's axes to Blender's: it looks along -Z, +Y is up
    camera.matrix_world = Matrix(job["world_from_camera"]) @ Matrix.Diagonal((1, -1, -1, 1))
    camera.data.sensor_width = 36.0
    camera.data.lens = 36.0 * job["focal"] / job["size"]
    camera.data.clip_start, camera.data.clip_end = 1e-4, 1e6
    scene.camera = camera
    scene.render.engine = "CYCLES"
    scene.cycles.device, scene.cycles.samples, scene.cycles.use_denoising = "CPU", SAMPLES, False
    scene.cycles.use_adaptive_sampling = False
    scene.cycles.pixel_filter_type = "BOX"
    scene.render.film_transparent = True
    scene.render.dither_intensity = 0.0
    scene.render.threads_mode, scene.render.threads = "FIXED", 1
    scene.render.resolution_x = scene.render.resolution_y = job["size"]
    scene.render.resolution_percentage = 100
    scene.view_settings.view_transform, scene.view_settings.look = "Standard", "None"
    scene.render.image_settings.file_format, scene.render.image_settings.color_mode = "PNG", "RGBA"
    scene.render.filepath = job["picture"]
    bpy.ops.render.render(write_still=True)


main()
