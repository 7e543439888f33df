"""`volkit generate`: text to 3D by score distillation."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from volkit.commands.options import UsageError, taken
from volkit.commands.prior_options import PriorOptions, check_pbr
from volkit.generation.options import GenerateChoices

if TYPE_CHECKING:
    from volkit.progress import Progress

__all__ = ["GenerateJob"]

Kind = Literal["hash_grid", "voxels", "tensor_vm", "tensor_cp", "planes", "mlp", "splats", "mesh"]
DEFAULT = "hash_grid"
PREFERRED = ("mesh", "splats")  # where the target's format holds no field


@dataclass(frozen=True)
class GenerateJob(PriorOptions, GenerateChoices):
    """Text to 3D by score distillation: a diffusion model of pictures guides the training of a scene, view by view.

    The toy prior that comes with volkit knows simple solids in eight colours: alone, one on or beside another, or with
    a nose. --prior takes a real one, a folder in diffusers format or a hub name.
    Example: volkit generate "a red ball on a blue box" ball.safetensors
    A mesh: volkit generate "a green cone" cone.glb --seed 3
    Another prior: volkit generate "a corgi" corgi.ply --prior models/sd15 --method vsd --budget 30m --device cuda
    """

    prompt: str
    """Description of the asset."""
    target: Path
    """File to write; its suffix selects the format: .safetensors for a field, .ply splats, .glb a mesh.
    TARGET-2, TARGET-3, ... are those of further particles."""
    to: Kind | None = None
    """Kind of representation; by default the first that the target's format holds. A mesh begins as a field."""
    faces: int = 5_000
    """Largest number of triangles of a mesh."""
    texture: int | None = None
    """Texels a side of a mesh's texture, a power of two; by default eight per pixel of the prior's pictures."""
    pbr: bool = False
    """Train roughness and metalness as well, and base colour without shading, under random lights; stored in glTF."""

    def run(self, progress: "Progress") -> dict[str, Any]:
        """Generate, write, report."""
        kind, targets = self._kind(), self._targets()
        self.check([self.prompt], targets, kind)
        if self.pbr:
            check_pbr(kind, targets)
        from volkit.generation import GenerateOptions, MeshTarget, generate

        made = generate(
            self.prompt,
            self.method,
            self.open_prior(progress),
            to=MeshTarget(self.faces, self.texture, self.pbr) if kind == "mesh" else kind,
            options=GenerateOptions(
                **taken(self, GenerateChoices), score=self.settings(), preview=self.preview_writer(self.target)
            ),
            budget=self.training_run(self.target),
            seed=self.seed,
            callback=progress,
        )
        return self.write({"command": "generate"}, made, targets, progress)

    def _kind(self) -> str:
        """The requested kind; else a field, or what the target's format holds."""
        from typing import get_args

        from volkit.io import format_for

        if self.to is not None:
            if self.to not in get_args(Kind):
                kinds = ", ".join(get_args(Kind))
                raise UsageError(f"--to {self.to}: there is no such kind to generate; choose one of {kinds}")
            return self.to
        holds = format_for(self.target, kind=DEFAULT).holds
        return DEFAULT if DEFAULT in holds else next((kind for kind in PREFERRED if kind in holds), DEFAULT)

    def _targets(self) -> list[Path]:
        """One file for each particle."""
        if self.particles < 1:
            raise UsageError("--particles: give at least 1")
        more = [self.target.with_stem(f"{self.target.stem}-{i}") for i in range(2, self.particles + 1)]
        return [self.target, *more]
