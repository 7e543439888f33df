// Opens one file by one program of npm and writes what it saw, as JSON: see open_in_python.py, whose words these are.
// Arguments: the program, the file, where to put the picture that it found, and what it saw.
import { execFileSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { basename, dirname, join } from "node:path";

const [program, path, picture, told] = process.argv.slice(2);
const bytes = readFileSync(path);
const contents = bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length);
const suffix = path.endsWith(".compressed.ply") ? ".compressed.ply" : path.slice(path.lastIndexOf("."));
const isSplats = basename(path).startsWith("splats.");
const sigmoid = (x) => 1 / (1 + Math.exp(-x));
const rows = (flat, width) => Array.from({ length: flat.length / width }, (_, i) => Array.from(flat.slice(i * width, (i + 1) * width)));

// Browsers have these. Files beside the opened one are asked for below this address.
const PLACE = "http://files/";
Object.assign(globalThis, {
  self: globalThis, window: globalThis, ProgressEvent: Event,
  Worker: class { postMessage() {} terminate() {} }, // that sorts splats for the eye
});
const fetched = globalThis.fetch;
globalThis.fetch = (asked, ...more) => {
  const address = String(asked.url ?? asked);
  return address.startsWith(PLACE) ? Promise.resolve(new Response(readFileSync(join(dirname(path), decodeURIComponent(address.slice(PLACE.length)).split("?")[0])))) : fetched(asked, ...more);
};
globalThis.createImageBitmap = async (blob) => ({ width: 1, height: 1, blob, close() {} });

async function keepPicture(data) {
  if (data) writeFileSync(picture, Buffer.from(data instanceof Blob ? await data.arrayBuffer() : data));
}

async function byValidator() {
  const validator = await import("gltf-validator");
  const validate = validator.validateBytes ?? validator.default.validateBytes;
  const { issues } = await validate(new Uint8Array(contents), {
    uri: basename(path), maxIssues: 0,
    externalResourceFunction: async (uri) => new Uint8Array(readFileSync(join(dirname(path), decodeURIComponent(uri)))),
  });
  const codes = [...new Set(issues.messages.filter((m) => m.severity === 0).map((m) => m.code))];
  return { valid: issues.numWarnings ? `${issues.numWarnings} warnings` : "", errors: codes.join(", ") };
}

async function byTransform() {
  const { NodeIO } = await import("@gltf-transform/core");
  const { ALL_EXTENSIONS } = await import("@gltf-transform/extensions");
  const draco3d = (await import("draco3dgltf")).default;
  const io = new NodeIO().registerExtensions(ALL_EXTENSIONS)
    .registerDependencies({ "draco3d.decoder": await draco3d.createDecoderModule() });
  const document = await io.read(path);
  const seen = { positions: [], faces: 0, uv: [], rgb: [] };
  document.getRoot().getDefaultScene().traverse((node) => {
    for (const primitive of node.getMesh()?.listPrimitives() ?? []) {
      const [place, uv, colour] = ["POSITION", "TEXCOORD_0", "COLOR_0"].map((name) => primitive.getAttribute(name));
      const matrix = node.getWorldMatrix();
      for (let i = 0; i < place.getCount(); i++) {
        seen.positions.push(moved(matrix, place.getElement(i, [])));
        if (uv) seen.uv.push(uv.getElement(i, []));
        if (colour) seen.rgb.push(colour.getElement(i, []).slice(0, 3));
      }
      seen.faces += (primitive.getIndices()?.getCount() ?? 0) / 3;
      seen.image ??= primitive.getMaterial()?.getBaseColorTexture()?.getImage();
    }
  });
  await keepPicture(seen.image);
  return { positions: seen.positions, faces: seen.faces, uv: seen.uv.length ? seen.uv : null, rgb: seen.rgb.length ? seen.rgb : null };
}

function moved(m, [x, y, z]) {
  return [0, 1, 2].map((k) => m[k] * x + m[k + 4] * y + m[k + 8] * z + m[k + 12]);
}

async function byThree() {
  const THREE = await import("three");
  const load = (name) => import(`three/examples/jsm/loaders/${name}.js`);
  let scene;
  if (suffix.startsWith(".gl")) {
    const { GLTFLoader } = await load("GLTFLoader");
    ({ scene } = await new GLTFLoader().parseAsync(suffix === ".glb" ? contents : bytes.toString(), PLACE));
  } else if (suffix === ".obj") {
    const { OBJLoader } = await load("OBJLoader");
    const { MTLLoader } = await load("MTLLoader");
    const loader = new OBJLoader();
    scene = loader.parse(bytes.toString());
    const library = new MTLLoader().parse(readFileSync(join(dirname(path), scene.materialLibraries[0]), "utf8"), PLACE);
    const texture = Object.values(library.materialsInfo)[0].map_kd;
    await keepPicture(texture && readFileSync(join(dirname(path), texture)));
  } else {
    const name = suffix === ".stl" ? "STLLoader" : "PLYLoader";
    scene = new THREE.Group();
    const geometry = new (await load(name))[name]().parse(contents);
    scene.add(geometry.index || suffix === ".stl" ? new THREE.Mesh(geometry) : new THREE.Points(geometry));
  }
  scene.updateMatrixWorld(true);
  const seen = { positions: [], faces: 0, uv: [], rgb: [] }, place = new THREE.Vector3();
  let map = null;
  scene.traverse((thing) => {
    if (!thing.geometry || !thing.visible) return;
    const { position, uv, color } = thing.geometry.attributes;
    for (let i = 0; i < position.count; i++) {
      seen.positions.push(place.fromBufferAttribute(position, i).applyMatrix4(thing.matrixWorld).toArray());
      if (uv) seen.uv.push([uv.getX(i), suffix === ".obj" ? 1 - uv.getY(i) : uv.getY(i)]);
      if (color) seen.rgb.push([color.getX(i), color.getY(i), color.getZ(i)]);
    }
    if (thing.isMesh) seen.faces += (thing.geometry.index ?? position).count / 3;
    map ??= thing.material?.map;
  });
  await keepPicture(map?.image?.blob);
  return { positions: seen.positions, faces: seen.faces, uv: seen.uv.length ? seen.uv : null, rgb: seen.rgb.length ? seen.rgb : null };
}

async function byBabylon() {
  const B = await import("@babylonjs/core/index.js");
  await import("@babylonjs/loaders/index.js");
  B.Logger.LogLevels = B.Logger.NoneLogLevel;
  const scene = new B.Scene(new B.NullEngine());
  scene.useRightHandedSystem = true; // glTF's own axes
  const { meshes } = await B.ImportMeshAsync(`data:application/octet-stream;base64,${bytes.toString("base64")}`, scene, {
    pluginExtension: suffix === ".compressed.ply" ? ".ply" : suffix, name: basename(path), rootUrl: PLACE,
    pluginOptions: { splat: { keepInRam: true } },
  });
  const cloud = meshes.find((mesh) => mesh.splatsData);
  if (cloud) return splatRows(cloud.splatsData, cloud.getWorldMatrix().m);
  const seen = { positions: [], faces: 0, uv: [], rgb: [] };
  let texture = null;
  for (const mesh of meshes.filter((m) => m.getTotalVertices() && m.isEnabled() && m.isVisible)) {
    const [places, uv, colours] = ["position", "uv", "color"].map((kind) => mesh.getVerticesData(kind));
    const matrix = mesh.computeWorldMatrix(true).m;
    rows(places, 3).forEach((place) => seen.positions.push(moved(matrix, place)));
    if (uv) seen.uv.push(...rows(uv, 2));
    if (colours) seen.rgb.push(...rows(colours, 4).map((colour) => colour.slice(0, 3)));
    seen.faces += mesh.getTotalIndices() / 3;
    texture ??= mesh.material?.albedoTexture;
  }
  await keepPicture(texture?.getInternalTexture()?._buffer);
  return { positions: seen.positions, faces: seen.faces, uv: seen.uv.length ? seen.uv : null, rgb: seen.rgb.length ? seen.rgb : null };
}

// The rows of a .splat: places, scales, bytes of colour and alpha, bytes of the turn.
function splatRows(data, matrix) {
  const view = ArrayBuffer.isView(data) ? data.buffer : data, floats = new Float32Array(view), octets = new Uint8Array(view);
  const seen = { positions: [], log_scales: [], quaternions: [], opacities: [], rgb: [] };
  const signs = [0, 5, 10].map((k) => Math.sign(matrix[k])); // a mirror along an axis turns splats about the others
  for (let i = 0; i < view.byteLength / 32; i++) {
    seen.positions.push(moved(matrix, floats.slice(8 * i, 8 * i + 3)));
    seen.log_scales.push(Array.from(floats.slice(8 * i + 3, 8 * i + 6), Math.log));
    seen.rgb.push(Array.from(octets.slice(32 * i + 24, 32 * i + 27), (b) => b / 255));
    seen.opacities.push(octets[32 * i + 27] / 255);
    const [w, ...axis] = Array.from(octets.slice(32 * i + 28, 32 * i + 32), (b) => (b - 127.5) / 127.5);
    seen.quaternions.push([w, ...axis.map((part, k) => part * signs[k] * signs[0] * signs[1] * signs[2])]);
  }
  return seen;
}

async function byGaussianSplats3D() {
  const G = await import("@mkkellogg/gaussian-splats-3d");
  const THREE = await import("three");
  const loader = { ".ply": G.PlyLoader, ".splat": G.SplatLoader, ".ksplat": G.KSplatLoader, ".spz": G.SpzLoader }[suffix];
  const cloud = suffix === ".ksplat" ? await loader.loadFromFileData(contents)
    : await loader.loadFromFileData(contents, 0, 0, false, 2);
  const seen = { positions: [], log_scales: [], quaternions: [], opacities: [], rgb: [] };
  const [place, scale, turn, colour] = [new THREE.Vector3(), new THREE.Vector3(), new THREE.Quaternion(), new THREE.Vector4()];
  for (let i = 0; i < cloud.getSplatCount(); i++) {
    cloud.getSplatCenter(i, place);
    cloud.getSplatScaleAndRotation(i, scale, turn);
    cloud.getSplatColor(i, colour);
    seen.positions.push(place.toArray());
    seen.log_scales.push(scale.toArray().map(Math.log));
    seen.quaternions.push([turn.w, turn.x, turn.y, turn.z]);
    seen.rgb.push([colour.x, colour.y, colour.z].map((c) => c / 255));
    seen.opacities.push(colour.w / 255);
  }
  return seen;
}

async function bySpz() {
  const cloud = await (await import("spz-js")).loadSpz(new Uint8Array(contents));
  return {
    positions: rows(cloud.positions, 3), log_scales: rows(cloud.scales, 3), dc: rows(cloud.colors, 3),
    quaternions: rows(cloud.rotations, 4).map(([x, y, z, w]) => [w, x, y, z]), opacities: Array.from(cloud.alphas, sigmoid),
    sh: rows(cloud.sh, 45).map((row) => [0, 1, 2].flatMap((c) => Array.from({ length: 15 }, (_, k) => row[3 * k + c]))),
  };
}

// It writes a .ply of what it read.
async function bySplatTransform() {
  const target = `${picture}.theirs.ply`;
  execFileSync(process.execPath, [join(process.env.READERS, "node_modules/@playcanvas/splat-transform/bin/cli.mjs"), "-q", path, target]);
  const made = readFileSync(target), head = made.indexOf("end_header\n") + 11;
  const names = made.subarray(0, head).toString().split("\n").filter((line) => line.startsWith("property float ")).map((line) => line.slice(15));
  const values = rows(new Float32Array(Uint8Array.from(made.subarray(head)).buffer), names.length);
  const column = (row, ...wanted) => wanted.map((name) => row[names.indexOf(name)]);
  const rest = names.filter((name) => name.startsWith("f_rest_"));
  return {
    positions: values.map((row) => column(row, "x", "y", "z")),
    log_scales: values.map((row) => column(row, "scale_0", "scale_1", "scale_2")),
    quaternions: values.map((row) => column(row, "rot_0", "rot_1", "rot_2", "rot_3")),
    dc: values.map((row) => column(row, "f_dc_0", "f_dc_1", "f_dc_2")),
    opacities: values.map((row) => sigmoid(column(row, "opacity")[0])),
    ...(rest.length ? { sh: values.map((row) => column(row, ...rest)) } : {}),
  };
}

async function byAssimp() {
  const assimp = await (await import("assimpjs")).default();
  const list = new assimp.FileList();
  list.AddFile(basename(path), new Uint8Array(contents));
  const beside = suffix === ".obj" ? [".mtl"] : suffix === ".gltf" ? [".bin"] : [];
  beside.forEach((other) => list.AddFile(basename(path, suffix) + other, new Uint8Array(readFileSync(path.slice(0, -suffix.length) + other))));
  const result = assimp.ConvertFileList(list, "assjson");
  if (!result.IsSuccess()) return { refused: result.GetErrorCode() };
  const scene = JSON.parse(new TextDecoder().decode(result.GetFile(0).GetContent()));
  const seen = { positions: [], faces: 0, rgb: [] };
  const walk = (node, above) => {
    const matrix = product(above, transposed(node.transformation));
    for (const mesh of (node.meshes ?? []).map((i) => scene.meshes[i])) {
      rows(mesh.vertices, 3).forEach((place) => seen.positions.push(moved(matrix, place)));
      seen.faces += mesh.faces.length;
      if (mesh.colors) seen.rgb.push(...rows(mesh.colors[0], 4).map((colour) => colour.slice(0, 3)));
    }
    (node.children ?? []).forEach((child) => walk(child, matrix));
  };
  walk(scene.rootnode, [1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1]);
  return { positions: seen.positions, faces: seen.faces, rgb: seen.rgb.length ? seen.rgb : null };
}

function transposed(m) {
  return m.map((_, i) => m[(i % 4) * 4 + Math.floor(i / 4)]);
}

function product(a, b) { // column by column
  return a.map((_, i) => [0, 1, 2, 3].reduce((sum, k) => sum + a[(i % 4) + 4 * k] * b[k + 4 * Math.floor(i / 4)], 0));
}

const OPENED_BY = {
  "glTF-Validator": byValidator, "glTF-Transform": byTransform, "three.js": byThree, "Babylon.js": byBabylon,
  GaussianSplats3D: byGaussianSplats3D, "spz-js": bySpz, "splat-transform": bySplatTransform, assimp: byAssimp,
};

try {
  writeFileSync(told, JSON.stringify(await OPENED_BY[program]()));
  process.exit(0);
} catch (error) {
  if (String(error).includes("ERR_MODULE_NOT_FOUND")) throw error;
  writeFileSync(told, JSON.stringify({ refused: String(error?.message ?? error) }));
  process.exit(0);
}
