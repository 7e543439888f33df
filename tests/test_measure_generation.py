"""The tool that measures generation: a table and a sheet from a list of prompts; figures that mean what they say."""

import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from guidance import small_pipelines
from test_generate_job import prior  # noqa: F401

TOOLS = Path(__file__).parent.parent / "tools"


@pytest.fixture
def tools(monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(str(TOOLS))
    import cells
    import kept

    monkeypatch.setattr(kept, "SUMMARY", tmp_path / "results" / "summary.jsonl")
    monkeypatch.setattr(cells, "refuse_company", lambda: None)
    return tmp_path


def test_prompts_become_assets_a_table_and_a_sheet(prior, tools, monkeypatch, capsys):  # noqa: F811
    import generation_figures
    import measure_generation
    from kept import results

    monkeypatch.setattr(generation_figures, "CAPTIONS", 50)  # to be quick
    (tools / "list.txt").write_text("a red ball\n\na blue cube with a pink nose\n")
    given = ["--prompts", "list.txt", "--prior", prior, "--budget", "2", "--methods", "sds", "csd", "--to", "splats"]
    monkeypatch.chdir(tools)
    monkeypatch.setattr(sys, "argv", ["measure", *map(str, given), "--sheet", "sheet.png", "--work", "work"])
    for _ in range(2):  # the second time nothing is generated again
        measure_generation.main()
        said = capsys.readouterr().out
        assert "| sds | 1 plain | 0 of 1 (0 %)" in said and "| csd | 1 marked |" in said
    assert len(results("generation/toy")) == 4
    import imageio.v3 as imageio

    assert imageio.imread(tools / "sheet.png").shape == (2 * 96, 2 * 2 * 96, 3)


def test_particles_of_a_blind_prior_are_measured_against_each_other(prior, tools, monkeypatch, capsys):  # noqa: F811
    import generation_figures
    import measure_generation
    from kept import results

    monkeypatch.setattr(generation_figures, "CAPTIONS", 50)  # to be quick
    (tools / "list.txt").write_text("a red ball\n")
    given = [
        "--prompts",
        "list.txt",
        "--prior",
        prior,
        "--budget",
        "2",
        "--to",
        "splats",
        "--particles",
        "2",
        "--blind",
    ]
    monkeypatch.chdir(tools)
    monkeypatch.setattr(sys, "argv", ["measure", *map(str, given), "--work", "work"])
    measure_generation.main()
    assert "dB between particles" in capsys.readouterr().out
    (found,) = results("generation/toy").values()
    assert len(found["nearest"]) == 2 and found["apart"] > found["psnr_nearest"] > 0.0  # two grey clouds are alike
    assert "seconds" not in found  # steps were asked for: the run refuses no company, and tells no time
    blind = json.loads((tools / "work" / "pixels-blind" / "distillation.json").read_text())
    assert blind["camera"] == "silent" and blind["size"] == 12


def test_assets_are_made_worse_refined_and_edited(prior, tools, monkeypatch, capsys, few_views):  # noqa: F811
    import generation_figures
    import measure_rework
    from kept import results

    monkeypatch.setattr(generation_figures, "CAPTIONS", 50)  # to be quick
    monkeypatch.setattr(measure_rework, "MESH", replace(measure_rework.MESH, faces=300, texture=64, cells=24))
    meshed = measure_rework.extract_mesh
    monkeypatch.setattr(measure_rework, "extract_mesh", lambda field, options, size: meshed(field, options, size=48))
    monkeypatch.setattr("volkit.generation.rework.UNTOUCHED_DRAWS", 2)
    monkeypatch.setattr(sys, "argv", ["measure", "--first", "1", "--budget", "2", "--work", str(tools / "work")])
    measure_rework.main()
    kept = results("rework")
    refined, edited = kept["refined-a_red_sphere"], kept["edited-a_red_sphere_on_a_green_cube"]
    assert refined["chamfer_before"] > 0.02  # vertices were moved by 0.05, half of it along the surface
    assert refined["psnr_before"] < 30.0 < (edited["psnr_untouched"] or 99.0)  # None: nothing moved in two steps
    assert "chamfer_before" in capsys.readouterr().out


@pytest.mark.parametrize("prompt", ["a yellow cone on a purple cube", "a yellow cube with a blue nose"])
def test_the_exact_object_is_found_exactly(tools, prompt, monkeypatch):
    """Its own field: nearest of all captions, the outline to a pixel's width, the mark in front, once."""
    import generation_figures
    from toy.grammar import parse
    from toy.scenes import exact_scene

    from volkit.generation import CameraSampler
    from volkit.geometry import Domain

    scene = exact_scene(parse(prompt)).build(Domain.cube(1.0), torch.Generator().manual_seed(0))
    assert generation_figures.CAPTIONS >= 300
    monkeypatch.setattr(generation_figures, "CAPTIONS", 60)  # to be quick
    found = generation_figures.figures(scene, prompt, CameraSampler(distance=(3.7, 3.7)))
    assert found["rank"] == 1 and found["captions"] == 60
    # Drawn through a soft surface by one ray a pixel, and exactly by four: outlines differ in parts of a pixel of 64.
    assert found["iou"] > 0.95 and found["psnr"] > 26.0
    if "nose" in prompt:
        assert abs(found["azimuth"]) < 5.0 and found["faces"] == 1


def test_memory_is_measured_under_weights_that_nobody_trained(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(TOOLS))
    import measure_memory

    source = small_pipelines.latent(tmp_path / "shape")
    measure_memory.with_random_weights(source, tmp_path / "random")
    options = ["measure", str(source), "--work", str(tmp_path), "--steps", "1", "--views", "1", "--suffix", "ply"]
    monkeypatch.setattr(sys, "argv", options)
    found = measure_memory.generated(tmp_path / "random", measure_memory.options())
    assert found["steps"] == 1 and found["prior"] == "random" and found["peak_gib"] > 0.1
