// Where the camera is: it orbits a point (three's OrbitControls) or flies freely (Spark's controls).
import { SparkControls } from "@sparkjsdev/spark";
import { Sphere, Vector3 } from "three";
import { OrbitControls } from "three/addons/controls/OrbitControls.js";

const SPEED = 3; // units a second; a scene's radius is 4
const MOVES = /^Key[WASDQE]$/; // keys that begin a flight

export class Pilot {
  constructor(camera, canvas, changed) {
    this.camera = camera;
    this.changed = changed;
    this.orbit = new OrbitControls(camera, canvas);
    this.orbit.addEventListener("change", changed);
    this.wings = new SparkControls({ canvas });
    this.wings.fpsMovement.moveSpeed = SPEED;
    this.fly(false);
    addEventListener("keydown", ({ code, ctrlKey, metaKey }) => {
      if (MOVES.test(code) && !this.flying && !ctrlKey && !metaKey) this.fly(true);
    });
  }

  fly(wanted) {
    const { fpsMovement, pointerControls } = this.wings;
    if (this.flying && !wanted) {
      const away = this.camera.position.distanceTo(this.orbit.target);
      const ahead = this.camera.getWorldDirection(new Vector3());
      this.orbit.target.copy(this.camera.position).addScaledVector(ahead, away);
    }
    this.flying = fpsMovement.enable = pointerControls.enable = wanted;
    this.orbit.enabled = !wanted;
    pointerControls.scroll.set(0, 0, 0); // what the wheel did before
  }

  /** Stand at a position and look at a point. */
  look(position, ...target) {
    this.fly(false);
    this.camera.position.copy(position);
    this.orbit.target.set(...target);
    this.orbit.update();
    this.changed();
  }

  /** See all of a box, from where the camera looks now. */
  frame(box) {
    const { center, radius } = box.getBoundingSphere(new Sphere());
    const narrow = Math.min(1, this.camera.aspect) * Math.tan((this.camera.fov * Math.PI) / 360);
    const back = this.camera.getWorldDirection(new Vector3()).multiplyScalar(-radius / Math.sin(Math.atan(narrow)));
    this.look(center.clone().add(back), ...center.toArray());
  }

  update() {
    const moved = this.wings.update(this.camera);
    if (this.flying && moved) this.changed();
    if (!this.flying) this.orbit.update();
  }
}
