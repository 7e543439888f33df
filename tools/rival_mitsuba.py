"""The same splats in Mitsuba 3: ray-traced `ellipsoids` under the integrator `volprim_rf_basic`, LLVM backend.

Needs `pip install mitsuba` and LLVM (Debian: libllvm19; DRJIT_LIBLLVM_PATH names the library where it is not found).
Its response of a splat is the largest along the ray instead of the one on the picture plane, it takes splats in the
order in which a ray enters them instead of that of their centres, and it ends a ray at a hundredth of the light:
pictures are alike but not equal, and times are told beside the PSNR of one to the other. It wants unit quaternions, and
it thickens nothing: the 0.3 pixel^2 of the picture plane are given to it as a variance in space, at each splat's depth.
What it draws is cut from the middle of a picture, not made smaller, where thickening would be most of what is seen.
"""

import math

import torch

from volkit.geometry import Cameras
from volkit.representations import Splats
from volkit.typing import Float, Tensor

__all__ = ["MitsubaSplats"]

MOST = 256  # splats along a ray: fewer would darken the picture
DILATION = 0.3  # pixel^2, as `volkit.ops.splat` has it


class MitsubaSplats:
    """Splats and a camera as a Mitsuba scene, with gradients to all parameters."""

    def __init__(self, splats: Splats, camera: Cameras) -> None:
        import drjit
        import mitsuba

        mitsuba.set_variant("llvm_ad_rgb")
        self.drjit, self.mitsuba = drjit, mitsuba
        columns = splats.columns_in()
        turned = torch.nn.functional.normalize(columns["quaternions"].roll(-1, 1), dim=-1)  # w last
        thick = columns["log_scales"].mul(2).exp() + DILATION * self._pixel(columns["means"], camera).square()
        harmonics = torch.cat([columns["sh_dc"], columns["sh_rest"]], 1).flatten(1)
        given = {
            "centers": columns["means"], "scales": thick.sqrt(), "quaternions": turned,
            "opacities": columns["logits"].sigmoid()[:, None], "sh_coeffs": harmonics,
        }  # fmt: skip
        shape = {name: mitsuba.TensorXf(value.detach().contiguous().numpy()) for name, value in given.items()}
        self.scene = mitsuba.load_dict({
            "type": "scene",
            "integrator": {"type": "volprim_rf_basic", "max_depth": MOST, "srgb_primitives": False},
            "sensor": self._sensor(camera),
            "splats": {"type": "ellipsoids", "extent_adaptive_clamping": True, **shape},
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

    @staticmethod
    def _pixel(means: Tensor, camera: Cameras) -> Float[Tensor, "splat 1"]:
        """How wide a pixel is where a splat is."""
        pose = camera.world_from_camera[0]
        return ((means - pose[:, 3]) @ pose[:, 2:3]).clamp_min(0.01) / camera.intrinsics[0, 0]

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
