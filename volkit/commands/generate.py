"""`volkit generate`: from words to an asset, by what a diffusion prior says about its pictures."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from volkit.commands.prior_options import PriorOptions, check_pbr
from volkit.commands.usage import UsageError, taken
from volkit.generation.options import GenerateChoices

if TYPE_CHECKING:
    from volkit.progress import Progress

__all__ = ["GenerateJob"]

Kind = Literal["hash_grid", "voxels", "tensor_vm", "tensor_cp", "planes", "mlp", "splats", "mesh"]
DEFAULT = "hash_grid"
PREFERRED = ("mesh", "splats")  # where the target's format holds no field


@dataclass(frozen=True)
class GenerateJob(PriorOptions, GenerateChoices):
    """Make an asset of words, by score distillation: a diffusion model of pictures says how each view should change.

    The prior that comes with volkit knows simple solids in eight colours, alone, one on or beside another, or with a
    nose; --prior names a real one, a folder of diffusers' format or a name of the hub.
    Example: volkit generate "a red ball on a blue box" ball.safetensors
    A mesh:  volkit generate "a green cone" cone.glb --seed 3
    Others:  volkit generate "a corgi" corgi.ply --prior models/sd15 --method vsd --budget 30m --device cuda
    """

    prompt: str
    """What it shall be."""
    target: Path
    """File to write; its suffix names the format: .safetensors a field, .ply splats, .glb a mesh.
    TARGET-2, TARGET-3, ... are those of further particles."""
    to: Kind | None = None
    """Kind of representation; by default the first that the target's format holds. A mesh is a field first."""
    faces: int = 5_000
    """How many triangles a mesh may have, with --to mesh."""
    texture: int | None = None
    """Texels a side of a mesh's texture, a power of two; by default eight for each pixel that the prior sees."""
    pbr: bool = False
    """Learn roughness and metalness as well, and colours free of light: seen under random lights, written to glTF."""

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
            self.opened(progress),
            to=MeshTarget(self.faces, self.texture, self.pbr) if kind == "mesh" else kind,
            options=GenerateOptions(
                **taken(self, GenerateChoices), score=self.settings(), preview=self.previewed(self.target)
            ),
            budget=self.training(self.target),
            seed=self.seed,
            callback=progress,
        )
        return self.written({"command": "generate"}, made, targets, progress)

    def _kind(self) -> str:
        """What was asked for, else a field, else what the format holds."""
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
        """Where particles go."""
        if self.particles < 1:
            raise UsageError("--particles: give at least 1")
        more = [self.target.with_stem(f"{self.target.stem}-{i}") for i in range(2, self.particles + 1)]
        return [self.target, *more]
