"""The same splats in Mitsuba 3: ray-traced `ellipsoids` under the integrator `volprim_rf_basic`, LLVM backend.

Needs `pip install mitsuba` and LLVM (Debian: libllvm19; DRJIT_LIBLLVM_PATH names the library where it is not found).
Its response of a splat is the largest along the ray instead of the one on the picture plane, so that pictures are alike
but not equal: times are told beside the PSNR of one to the other.
"""

import math

import torch

from volkit.geometry import Cameras
from volkit.representations import Splats
from volkit.typing import Float, Tensor

__all__ = ["MitsubaSplats"]

MOST = 128  # splats along a ray, twice the default: fewer would darken the picture


class MitsubaSplats:
    """Splats and a camera as a Mitsuba scene, with gradients to all parameters."""

    def __init__(self, splats: Splats, camera: Cameras) -> None:
        import drjit
        import mitsuba

        mitsuba.set_variant("llvm_ad_rgb")
        self.drjit, self.mitsuba = drjit, mitsuba
        columns = splats.in_world()
        turned = columns["quaternions"].roll(-1, 1)  # w last
        harmonics = torch.cat([columns["sh_dc"], columns["sh_rest"]], 1).flatten(1)
        given = {
            "centers": columns["means"], "scales": columns["log_scales"].exp(), "quaternions": turned,
            "opacities": columns["logits"].sigmoid()[:, None], "sh_coeffs": harmonics,
        }  # fmt: skip
        shape = {name: mitsuba.TensorXf(value.detach().contiguous().numpy()) for name, value in given.items()}
        self.scene = mitsuba.load_dict({
            "type": "scene",
            "integrator": {"type": "volprim_rf_basic", "max_depth": MOST, "srgb_primitives": False},
            "sensor": self._sensor(camera),
            "splats": {"type": "ellipsoids", **shape},
        })  # fmt: skip
        self.parameters = mitsuba.traverse(self.scene)
        self.trained = [self.parameters[f"splats.{name}"] for name in ("data", "opacities", "sh_coeffs")]
        for values in self.trained:
            drjit.enable_grad(values)
        self.parameters.update()

    def picture(self) -> Float[Tensor, "height width 3"]:
        """One ray through the middle of each pixel."""
        with self.drjit.suspend_grad():
            return torch.from_numpy(self.mitsuba.render(self.scene, spp=1).numpy())

    def step(self) -> None:
        """A picture, the mean of its squares, and the gradient of every parameter."""
        picture = self.mitsuba.render(self.scene, self.parameters, spp=1)
        self.drjit.backward(self.drjit.mean(self.drjit.square(picture)))
        for values in self.trained:
            self.drjit.eval(self.drjit.grad(values))
            self.drjit.clear_grad(values)
        self.drjit.sync_thread()

    def _sensor(self, camera: Cameras) -> dict:
        (width, height), (fx, _, cx, cy) = camera.size[0].tolist(), camera.intrinsics[0].tolist()
        pose = camera.world_from_camera[0] * torch.tensor([-1.0, -1.0, 1.0, 1.0])  # left, up, forward
        film = {"type": "hdrfilm", "width": width, "height": height, "rfilter": {"type": "box"}, "pixel_format": "rgb"}
        return {
            "type": "perspective", "fov_axis": "x", "fov": math.degrees(2 * math.atan(0.5 * width / fx)),
            "principal_point_offset_x": 0.5 - cx / width, "principal_point_offset_y": 0.5 - cy / height,
            "to_world": self.mitsuba.ScalarTransform4f([*pose.tolist(), [0.0, 0.0, 0.0, 1.0]]),
            "film": film, "sampler": {"type": "stratified", "sample_count": 1, "jitter": False},
        }  # fmt: skip
