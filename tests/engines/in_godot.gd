# Runs in Godot 3: writes what each imported scene holds into res://seen.json.
extends SceneTree

func _init():
	var seen = {}
	var folder = Directory.new()
	folder.open("res://")
	folder.list_dir_begin(true)
	var name = folder.get_next()
	while name != "":
		if name.ends_with(".glb") or name.ends_with(".gltf"):
			var scene = load("res://" + name)
			seen[name] = parts(scene.instance(), []) if scene else null
		name = folder.get_next()
	var file = File.new()
	file.open("res://seen.json", File.WRITE)
	file.store_string(to_json(seen))
	file.close()
	quit()

func parts(node, found):
	var part = {"name": node.name, "class": node.get_class()}
	if node is MeshInstance:
		var box = node.transform.xform(node.mesh.get_aabb())
		part["low"] = [box.position.x, box.position.y, box.position.z]
		part["high"] = [box.end.x, box.end.y, box.end.z]
		part["faces"] = node.mesh.get_faces().size() / 3
		part["vertex_format"] = node.mesh.surface_get_format(0)
		var material = node.mesh.surface_get_material(0)
		part["texture"] = material.albedo_texture.get_size().x if material and material.albedo_texture else 0
	if node is CollisionShape:
		part["shape"] = node.shape.get_class()
	found.append(part)
	for child in node.get_children():
		parts(child, found)
	return found
