"""From a scene to a mesh for game engines: surface, simplification, atlas, textures, colliders."""
