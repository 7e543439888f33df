"""Operations as torch's own: what has no gradient refuses one, and no call brings the compiler along."""

import subprocess
import sys

import pytest
import torch

from volkit.ops.library import torch_op


def test_an_op_without_a_gradient_refuses_one():
    @torch_op("test_counted", gradient=False)
    def counted(values: torch.Tensor) -> torch.Tensor:
        return values.cumsum(0)

    counted.register_fake(torch.empty_like)
    values = torch.ones(3, requires_grad=True)
    assert counted(values).tolist() == torch.ops.volkit.test_counted(values).tolist() == [1.0, 2.0, 3.0]
    with pytest.raises(RuntimeError, match="volkit::test_counted has no gradient"):
        counted(values).sum().backward()


def test_drawing_imports_no_compiler():
    """Its import takes as long as that of torch itself."""
    lines = (
        "import sys, torch, volkit",
        "field = volkit.HashGridConfig(levels=2, log2_table=8).build(volkit.Domain.cube(1.0), torch.Generator())",
        "splats = volkit.SplatsConfig(8).build(volkit.Domain.cube(1.0), torch.Generator())",
        "camera = volkit.Camera.look_at(eye=(2, 0, 0), target=(0, 0, 0), size=(8, 8))",
        "with torch.no_grad(): [volkit.render(scene, camera) for scene in (field, splats)]",
        "sys.exit('torch._dynamo' in sys.modules)",
    )
    subprocess.run([sys.executable, "-c", "\n".join(lines)], check=True, timeout=300)
