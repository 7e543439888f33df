"""Splats in USD: exact but for float32, beside meshes that stay meshes."""

import pytest
from mutants import survive
from splat_scenes import assert_agree, random_splats

from volkit.geometry import Similarity
from volkit.io import FormatError, load, save

# exp and log, sigmoid and its inverse, in float32
EXACT = {"means": 0.0, "log_scales": 1e-5, "quaternions": 1e-6, "logits": 1e-6, "sh_dc": 0.0, "sh_rest": 0.0}


@pytest.mark.parametrize("suffix", [".usda", ".usdc", ".usdz", ".usd"])
@pytest.mark.parametrize("degree", [0, 3])
def test_written_and_read_again(tmp_path, suffix, degree):
    splats = random_splats(50, degree)
    save(splats, tmp_path / f"a{suffix}")
    again = load(tmp_path / f"a{suffix}")
    assert again.config.kind == "splats" and again.config.degree == degree and again.frame == splats.frame
    assert_agree(splats, again, EXACT, ordered=True)


def test_a_stage_places_its_splats(tmp_path):
    from pxr import Usd, UsdGeom

    splats = random_splats(50, 1)
    save(splats, tmp_path / "a.usda")
    stage = Usd.Stage.Open(str(tmp_path / "a.usda"))
    UsdGeom.Xformable(stage.GetDefaultPrim()).AddTranslateOp().Set((1.0, 2.0, 3.0))
    UsdGeom.SetStageMetersPerUnit(stage, 0.5)
    stage.GetRootLayer().Save()
    # Half a turn about z from the stage.
    splats = splats.view(placement=Similarity(translation=(-0.5, -1.0, 1.5), scale=0.5))
    assert_agree(splats, load(tmp_path / "a.usda"), dict.fromkeys(EXACT, 1e-5), ordered=True)


def test_damaged_attributes_are_refused_by_name(tmp_path):
    from pxr import Usd

    save(random_splats(50, 1), tmp_path / "a.usda")
    stage = Usd.Stage.Open(str(tmp_path / "a.usda"))
    stage.GetPrimAtPath("/a/Splats").GetAttribute("opacities").Set([0.5])
    stage.GetRootLayer().Save()
    with pytest.raises(FormatError, match=r"a\.usda: .*different lengths"):
        load(tmp_path / "a.usda")


def test_mutants_of_text(tmp_path):
    """Crates are as safe as usd-core is; text is what people edit."""
    path = tmp_path / "a.usda"
    save(random_splats(5, 0), path)
    assert survive(path, path.read_bytes()) > 0.3
