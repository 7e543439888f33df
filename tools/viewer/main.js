// The page: scenes that came with it or were dropped on it; two of them share the picture, a slider between them.
import { Euler, Group, Matrix4, PerspectiveCamera, WebGLRenderer } from "three";
import { Pilot } from "./pilot.js";
import { meshStage, splatStage } from "./stage.js";

const UPS = ["z", "y", "-y", "-z"]; // what is up; the first is the usual one
const TURNS = { z: -Math.PI / 2, y: 0, "-y": Math.PI, "-z": Math.PI / 2 }; // about x, to three's y
const BACKGROUNDS = ["#ffffff", "#000000", "#777777"];
const EMPTY = { scenes: [], page_from_world: new Matrix4().elements, up: "z", background: "#ffffff",
  start: { position: [3, -9, 4], tangent: 0.36, aspect: 1 } };

const element = (id) => document.getElementById(id);
const told = JSON.parse(element("scenes")?.textContent ?? "null") ?? EMPTY;
const canvas = element("canvas"), slider = element("slider");
const chosen = { left: element("left"), right: element("right") };
const stages = [];
const world = new Group(); // what is up is turned to three's y here, for all stages
const camera = new PerspectiveCamera(50, 1, 0.02, 4000);
const renderer = new WebGLRenderer({ canvas, antialias: told.scenes.some((scene) => scene.kind === "mesh") });
const pilot = new Pilot(camera, canvas, changed);
let up = told.up, background = told.background, lit = false, stale = true, ready = false;

function changed() {
  stale = true;
  document.documentElement.dataset.state = "moving";
}

function say(text) {
  element("message").textContent = text;
}

/** A scene from a file's bytes: splats or, by the name's end, a mesh. */
async function open(bytes, name, options = {}) {
  const make = /\.glb$/i.test(options.file ?? name) ? meshStage : splatStage;
  const stage = await make(bytes, { file: name, ...options, renderer, changed });
  stage.name = name;
  stages.push(stage);
  for (const [side, select] of Object.entries(chosen)) {
    if (side === "right" && !select.options.length) select.add(new Option("compare with ...", ""));
    select.add(new Option(name, stages.length - 1));
  }
  stage.light(lit);
  return stage;
}

function shown(side) {
  const index = chosen[side].value;
  return index === "" ? null : stages[index];
}

function show(left, right) {
  if (left !== undefined && stages[left]) chosen.left.value = left;
  if (right !== undefined && (right === "" || stages[right])) chosen.right.value = right;
  for (const side of ["left", "right"]) element(`${side}-note`).textContent = shown(side)?.note ?? "";
  slider.hidden = element("line").hidden = !shown("right");
  chosen.right.hidden = stages.length < 2;
  chosen.left.hidden = !stages.length;
  place();
}

function place() {
  world.rotation.copy(new Euler(TURNS[up], 0, 0));
  for (const stage of stages) {
    stage.subject.rotation.copy(world.rotation);
    stage.light(lit);
  }
  element("line").style.left = `${100 * slider.value}%`;
  renderer.setClearColor(background);
  changed();
}

function begin() {
  const { position, tangent, aspect } = told.start;
  const seen = innerWidth / innerHeight;
  camera.fov = (360 / Math.PI) * Math.atan(tangent * Math.max(1, aspect / seen)); // all that the start camera sees
  camera.aspect = seen;
  camera.updateProjectionMatrix();
  renderer.setPixelRatio(devicePixelRatio);
  renderer.setSize(innerWidth, innerHeight, false);
  world.updateMatrixWorld();
  return camera.position.clone().fromArray(position).applyMatrix4(world.matrixWorld);
}

function draw() {
  const cut = shown("right") ? Math.round(slider.value * innerWidth) : innerWidth;
  renderer.setScissorTest(true);
  for (const [side, from, width] of [["left", 0, cut], ["right", cut, innerWidth - cut]]) {
    if (!width) continue;
    renderer.setScissor(from, 0, width, innerHeight);
    const stage = shown(side);
    if (stage) renderer.render(stage.scene, camera);
    else renderer.clear();
  }
}

function frame() {
  pilot.update();
  if (stale) {
    stale = false; // drawing may say that there is more to draw
    draw();
  } else if (ready && !stages.some((stage) => stage.busy())) document.documentElement.dataset.state = "still";
}

const next = (list, value) => list[(list.indexOf(value) + 1) % list.length];
const ACTIONS = {
  f: () => pilot.fly(!pilot.flying),
  r: () => pilot.look(begin(), 0, 0, 0),
  c: () => shown("left") && pilot.frame(shown("left").box()),
  u: () => (up = next(UPS, up)),
  l: () => (lit = !lit),
  b: () => (background = next(BACKGROUNDS, background)),
  h: () => document.body.classList.toggle("bare"),
};

addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.target.tagName === "SELECT") return;
  const digit = /^Digit([1-9])$/.exec(event.code);
  if (digit) return event.shiftKey ? show(undefined, digit[1] - 1) : show(digit[1] - 1, "");
  ACTIONS[event.key.toLowerCase()]?.();
  place();
});
addEventListener("resize", () => (begin(), changed()));
slider.addEventListener("input", place);
for (const select of Object.values(chosen)) select.addEventListener("change", () => (show(), select.blur()));

addEventListener("dragover", (event) => event.preventDefault());
addEventListener("drop", async (event) => {
  event.preventDefault();
  for (const file of event.dataTransfer.files) {
    say(`reading ${file.name} ...`);
    try {
      const first = !stages.length;
      const stage = await open(new Uint8Array(await file.arrayBuffer()), file.name, { at: told.page_from_world });
      const latest = stages.length - 1;
      first ? show(latest, "") : show(undefined, latest);
      if (first) pilot.frame(stage.box());
      say("");
    } catch (error) {
      say(`${file.name} cannot be read here (${error.message ?? error}); volkit view FILE reads more`);
    }
  }
});

function bytesOf(base64) {
  const text = atob(base64), bytes = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i);
  return bytes;
}

async function start() {
  place();
  pilot.look(begin(), 0, 0, 0);
  renderer.setAnimationLoop(frame);
  for (const [index, scene] of told.scenes.entries()) {
    say(`reading ${scene.name} ...`);
    const payload = element(`scene-${index}`);
    await open(bytesOf(payload.textContent), scene.name, scene);
    payload.remove();
  }
  say(told.scenes.length ? "" : "drop a file of splats (.ply .spz .splat .ksplat .sog) or a mesh (.glb) here");
  show(0, told.scenes.length === 2 ? 1 : "");
  ready = true;
}

start().catch((error) => say(`cannot be shown: ${error.message ?? error}`));
