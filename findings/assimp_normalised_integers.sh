#!/bin/sh
# assimp reads the bytes of normalised integers in glTF as floats: such meshes load without an error, as garbage.
#
# Said on 2026-11-30:
#   assimpjs 0.0.10
#   vertices: expected [0,0,0,1,0,0,0,1,0] or an error; seen success [0,0,0,9.18341e-41,0,0,"NaN",0,0]
set -eu
place=$(mktemp -d) && trap 'rm -rf "$place"' EXIT && cd "$place"
npm install --silent --no-audit --no-fund assimpjs@0.0.10
cat > run.cjs <<'END'
const fs = require('fs');

// A triangle of unsigned shorts that say so ("normalized"), as KHR_mesh_quantization allows.
const corners = Buffer.from(Uint16Array.of(0, 0, 0, 0, 65535, 0, 0, 0, 0, 65535, 0, 0).buffer);
const blob = Buffer.concat([corners, Buffer.from(Uint32Array.of(0, 1, 2).buffer)]);
const scene = {
  asset: { version: '2.0' }, extensionsUsed: ['KHR_mesh_quantization'], extensionsRequired: ['KHR_mesh_quantization'],
  scene: 0, scenes: [{ nodes: [0] }], nodes: [{ mesh: 0 }],
  meshes: [{ primitives: [{ attributes: { POSITION: 0 }, indices: 1 }] }],
  buffers: [{ byteLength: blob.length, uri: 'data:application/octet-stream;base64,' + blob.toString('base64') }],
  bufferViews: [{ buffer: 0, byteOffset: 0, byteLength: 24, byteStride: 8 }, { buffer: 0, byteOffset: 24, byteLength: 12 }],
  accessors: [
    { bufferView: 0, componentType: 5123, normalized: true, count: 3, type: 'VEC3', min: [0, 0, 0], max: [65535, 65535, 0] },
    { bufferView: 1, componentType: 5125, count: 3, type: 'SCALAR' },
  ],
};
fs.writeFileSync('triangle.gltf', JSON.stringify(scene));

require('assimpjs')().then((assimp) => {
  const files = new assimp.FileList();
  files.AddFile('triangle.gltf', fs.readFileSync('triangle.gltf'));
  const found = assimp.ConvertFileList(files, 'assjson');
  console.log('assimpjs', require('assimpjs/package.json').version);
  const told = found.IsSuccess() ? 'success' : found.GetErrorCode();
  const vertices = found.IsSuccess() ? JSON.parse(Buffer.from(found.GetFile(0).GetContent()).toString()).meshes[0].vertices : [];
  console.log('vertices: expected [0,0,0,1,0,0,0,1,0] or an error; seen', told, JSON.stringify(vertices));
  process.exit(found.IsSuccess() && Math.max(...vertices.map(Number).filter(Number.isFinite)) < 1e-3 ? 0 : 1);
});
END
node run.cjs
