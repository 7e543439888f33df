"""A batch of cameras: poses, intrinsics, lenses, sizes; pixels to rays and back."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Self

import torch

from volkit.geometry.frames import Similarity
from volkit.geometry.lens import PINHOLE, Lens
from volkit.geometry.rays import Rays
from volkit.typing import Float, Int, Tensor

__all__ = ["Camera", "Cameras"]


@dataclass(frozen=True)
class Cameras:
    """OpenCV cameras (+X right, +Y down, +Z forward); pixel centres at integer + 0.5.

    A pixel (x, y) of camera i looks along `R ((x - cx) / fx, (y - cy) / fy, 1)` once its lens is undone.

    Attributes:
        world_from_camera: poses, rotation and centre; world units.
        intrinsics: fx, fy, cx, cy in pixels.
        size: width and height in pixels.
        lens: the distortion model that all cameras share.
        coefficients: of the lens, in its model's order.
        time: of each picture, where the scene moves.
    """

    world_from_camera: Float[Tensor, "camera 3 4"]
    intrinsics: Float[Tensor, "camera 4"]  # fx, fy, cx, cy in pixels
    size: Int[Tensor, "camera 2"]  # width, height
    lens: Lens = PINHOLE
    coefficients: Float[Tensor, "camera coefficient"] | None = None  # of the lens, in its model's order
    time: Float[Tensor, " camera"] | None = None

    def __len__(self) -> int:
        return self.world_from_camera.shape[0]

    def __getitem__(self, index: Tensor | slice | list[int]) -> Self:
        return self._map(lambda tensor: tensor[index])

    def to(self, device: torch.device | str) -> Self:
        """The same cameras on another device."""
        return self._map(lambda tensor: tensor.to(device))

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        """The tensors that a picture may be differentiable in: poses, intrinsics, and lens coefficients."""
        found = (self.world_from_camera, self.intrinsics, self.coefficients)
        return tuple(tensor for tensor in found if tensor is not None)

    def _map(self, change) -> Self:
        members = {f.name: getattr(self, f.name) for f in fields(self)}
        return replace(self, **{name: change(m) for name, m in members.items() if isinstance(m, Tensor)})

    @property
    def centres(self) -> Float[Tensor, "camera 3"]:
        """Positions of the cameras, world frame."""
        return self.world_from_camera[:, :, 3]

    @property
    def forward(self) -> Float[Tensor, "camera 3"]:
        """Unit viewing directions, world frame."""
        return self.world_from_camera[:, :, 2]

    @property
    def up(self) -> Float[Tensor, "camera 3"]:
        """Unit up directions of the pictures, world frame."""
        return -self.world_from_camera[:, :, 1]

    def resize(self, longest: int) -> Self:
        """Scale every camera so that its longest side has `longest` pixels (never enlarges)."""
        scale = (longest / self.size.amax(-1)).clamp_max(1.0)
        size = (self.size * scale[:, None]).round().long().clamp_min(1)
        ratio = size / self.size
        return replace(self, intrinsics=self.intrinsics * torch.cat([ratio, ratio], -1), size=size)

    def transform(self, change: Similarity) -> Self:
        """The cameras after a similarity of the world; they see the same pictures. Differentiable in the poses."""
        rotation = self.world_from_camera.new_tensor(change.rotation) @ self.world_from_camera[:, :, :3]
        pose = torch.cat([rotation, change.points(self.centres)[..., None]], -1)
        return replace(self, world_from_camera=pose)

    def rays(self, camera: Int[Tensor, " ray"], pixels: Float[Tensor, "ray 2"]) -> Rays:
        """Rays through pixel positions of the given cameras, world frame, unit directions.

        Differentiable in poses and, without distortion, in intrinsics.

        Args:
            camera: index of each ray's camera.
            pixels: (x, y), where (0.5, 0.5) is the centre of the top left pixel.
        """
        focal, centre = self.intrinsics[camera].split(2, -1)
        plane = (pixels - centre) / focal
        local = self.lens.directions(plane, None if self.coefficients is None else self.coefficients[camera])
        pose = self.world_from_camera[camera]
        directions = torch.nn.functional.normalize((pose[:, :, :3] @ local[..., None]).squeeze(-1), dim=-1)
        time = None if self.time is None else self.time[camera]
        return Rays(pose[:, :, 3], directions, time, camera)

    def picture_rays(self, camera: int) -> Rays:
        """The rays of all pixels of one camera, row by row, world frame."""
        width, height = self.size[camera].tolist()
        device = self.intrinsics.device
        y, x = torch.meshgrid(
            torch.arange(height, device=device) + 0.5, torch.arange(width, device=device) + 0.5, indexing="ij"
        )
        pixels = torch.stack([x, y], -1).reshape(-1, 2).to(self.intrinsics.dtype)
        return self.rays(torch.full((width * height,), camera, device=device), pixels)

    def random_rays(self, count: int, generator: torch.Generator) -> Rays:
        """Rays through uniformly random positions of random pictures, world frame; the generator is on their device."""
        camera = torch.randint(len(self), (count,), generator=generator, device=self.size.device)
        pixels = torch.rand(count, 2, generator=generator, device=self.size.device) * self.size[camera]
        return self.rays(camera, pixels)

    def project(
        self, camera: int, positions: Float[Tensor, "point 3"]
    ) -> tuple[Float[Tensor, "point 2"], Float[Tensor, " point"]]:
        """Where world positions appear in a picture; the inverse of `rays`, differentiable in positions and poses.

        Args:
            camera: index of the camera.
            positions: world frame.

        Returns:
            Pixel positions (x, y), and depths along the viewing axis in world units; behind the camera depth <= 0.
        """
        pose = self.world_from_camera[camera]
        local = (positions - pose[:, 3]) @ pose[:, :3]
        coefficients = None if self.coefficients is None else self.coefficients[camera].expand(len(local), -1)
        plane = self.lens.plane(local, coefficients)
        focal, centre = self.intrinsics[camera].split(2, -1)
        return plane * focal + centre, local[:, 2]

    def focus(self) -> tuple[Float[Tensor, "3"], float]:
        """The point closest to all optical axes, `argmin_x sum |(I - d d^T)(x - c)|^2`, and how well it is determined.

        The second value is the smallest eigenvalue of the mean projector: 0 for parallel axes, 2/3 for axes from all
        sides.
        """
        centres, axes = self.centres.double(), self.forward.double()
        projectors = torch.eye(3, dtype=torch.float64) - axes[:, :, None] * axes[:, None, :]
        matrix = projectors.mean(0)
        target = (projectors @ centres[:, :, None]).mean(0)
        share = torch.linalg.eigvalsh(matrix)[0].item()
        return (torch.linalg.pinv(matrix, hermitian=True, rtol=1e-6) @ target).squeeze(-1).float(), share

    @staticmethod
    def cat(parts: "list[Cameras]") -> "Cameras":
        """Concatenate batches with the same lens model and the same optional members."""
        if len({part.lens for part in parts}) > 1:
            raise ValueError("cameras: cannot join batches with different lens models")
        names = [f.name for f in fields(Cameras) if isinstance(getattr(parts[0], f.name), Tensor)]
        return replace(parts[0], **{n: torch.cat([getattr(part, n) for part in parts]) for n in names})

    @staticmethod
    def looking_at(
        centres: Float[Tensor, "camera 3"],
        target: Float[Tensor, "3"] | Float[Tensor, "camera 3"],
        up: Float[Tensor, "3"],
        focal: float,
        size: tuple[int, int],
    ) -> "Cameras":
        """Pinhole cameras at `centres` that look at `target`, `focal` pixels, `size` (width, height)."""
        forward = torch.nn.functional.normalize(target - centres, dim=-1)
        right = torch.linalg.cross(forward, up.expand_as(forward))
        # A camera that looks along the up axis has no unique right direction: any perpendicular will do.
        degenerate = right.norm(dim=-1, keepdim=True) < 1e-6
        spare = torch.linalg.cross(forward, forward.roll(1, -1) + forward.new_tensor([0.0, 0.0, 1e-3]))
        right = torch.nn.functional.normalize(torch.where(degenerate, spare, right), dim=-1)
        down = torch.linalg.cross(forward, right)
        pose = torch.stack([right, down, forward, centres], -1)
        width, height = size
        count = len(centres)
        intrinsics = pose.new_tensor([focal, focal, width / 2, height / 2]).expand(count, 4)
        return Cameras(pose, intrinsics.clone(), torch.tensor([size], device=pose.device).expand(count, 2).clone())


class Camera:
    """Constructors of single cameras, which are `Cameras` of length one."""

    @staticmethod
    def look_at(
        eye: Sequence[float] | Float[Tensor, "3"],
        target: Sequence[float] | Float[Tensor, "3"] = (0.0, 0.0, 0.0),
        up: Sequence[float] | Float[Tensor, "3"] = (0.0, 0.0, 1.0),
        fov: float = 40.0,
        size: tuple[int, int] = (512, 512),
    ) -> Cameras:
        """A pinhole camera at `eye` that looks at `target`, world frame; `fov` degrees is the picture's vertical angle.

        `size` is (width, height) in pixels. Differentiable in `eye` and `target` where they are tensors. ValueError
        where the angle is not between 0 and 180 degrees, or the eye stands at the target.

        Example:
            >>> len(Camera.look_at(eye=(2, 0, 1), target=(0, 0, 0), fov=40, size=(256, 256)))
            1
        """
        if not 0.0 < fov < 180.0:
            raise ValueError(f"camera: fov is an angle between 0 and 180 degrees, got {fov}")
        if min(size) < 1:
            raise ValueError(f"camera: a picture has at least one pixel, got {size[0]} x {size[1]}")
        given = next((value for value in (eye, target, up) if isinstance(value, Tensor)), torch.zeros(3))
        # as_tensor keeps the graph of what is a tensor already.
        eye, target, up = (torch.as_tensor(value).to(given) for value in (eye, target, up))
        if bool((eye == target).all()):
            raise ValueError("camera: eye and target are the same point, so that there is no viewing direction")
        focal = 0.5 * size[1] / math.tan(math.radians(fov) / 2.0)
        return Cameras.looking_at(eye[None], target, up, focal, size)
