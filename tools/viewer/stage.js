// One scene as it is drawn. Each has a three.Scene and a Spark of its own, so that two can share a picture.
import { SparkRenderer, SplatMesh } from "@sparkjsdev/spark";
import { Box3, DirectionalLight, Group, HemisphereLight, Matrix4, MeshBasicMaterial, Scene } from "three";
import { GLTFLoader } from "three/addons/loaders/GLTFLoader.js";

const DILATION = 0.3; // square pixels by which a splat's picture grows, as in 3DGS
const REACH = 3.33; // standard deviations to which splats are drawn, those of opacity 1 down to 1/255
const LARGEST = 8192; // pixels
const Z_FROM_Y = new Matrix4().makeRotationX(Math.PI / 2); // glTF's up is y

/** The scene's own Scene; `subject` is turned by what is up, `at` places what is not in the page's frame. */
function staged(content, { note, at }) {
  const scene = new Scene(), subject = new Group(), placed = new Group();
  if (at) placed.applyMatrix4(new Matrix4().fromArray(at));
  scene.add(subject.add(placed.add(content)));
  return { scene, subject, note, light() {}, busy: () => false };
}

/** Splats from the bytes of any file that Spark reads; with `mip` they keep their energy as they grow. */
export async function splatStage(fileBytes, { file, mip, renderer, changed, ...place }) {
  const splats = new SplatMesh({ fileBytes, fileName: file, extSplats: true });
  await splats.initialized;
  if (/\.spz$/i.test(file)) splats.rotation.x = Math.PI; // right, up, back by its documents
  const stage = staged(splats, place);
  const spark = new SparkRenderer({
    renderer, onDirty: changed, accumExtSplats: true, enable2DGS: true, sortRadial: false,
    maxStdDev: REACH, minAlpha: 1 / 255, maxPixelRadius: LARGEST,
    preBlurAmount: mip ? 0 : DILATION, blurAmount: mip ? DILATION : 0,
  });
  stage.scene.add(spark);
  stage.busy = () => spark.sorting || spark.sortDirty;
  stage.box = () => splats.getBoundingBox(true).applyMatrix4(splats.matrixWorld);
  return stage;
}

/** A mesh from the bytes of a .glb: its base colour or, lit, its materials under the sky and a lamp. */
export async function meshStage(bytes, place) {
  const { scene: model } = await new GLTFLoader().parseAsync(bytes.buffer, "");
  const stage = staged(new Group().add(model), place);
  model.parent.applyMatrix4(Z_FROM_Y);
  const lamp = new DirectionalLight("#ffffff", 1.5);
  lamp.position.set(2, 4, 3);
  stage.scene.add(new HemisphereLight("#ffffff", "#8a8378", 2), lamp);
  const skins = [];
  model.traverse((part) => part.isMesh && skins.push({ part, lit: part.material, plain: unlit(part.material) }));
  stage.light = (wanted) => skins.forEach(({ part, lit, plain }) => (part.material = wanted ? lit : plain));
  stage.box = () => new Box3().setFromObject(model);
  return stage;
}

function unlit({ map, color, vertexColors, transparent, opacity, alphaTest, side }) {
  return new MeshBasicMaterial({ map, color, vertexColors, transparent, opacity, alphaTest, side });
}
