"""The public verbs: what `import volkit` offers, and that it costs nothing before a verb is called."""

import inspect
import subprocess
import sys

import pytest

import volkit


def test_importing_and_help_do_not_wait_for_torch():
    code = (
        "import sys, volkit, volkit.cli; volkit.cli.main(['--help']); volkit.cli.main(['--version']); "
        "assert 'torch' not in sys.modules and 'numpy' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)


def test_rooms_of_the_same_name_do_not_hide_verbs():
    from volkit.rendering.volume import VolumeRenderer
    from volkit.training.loop import Budget

    assert Budget(steps=1) and VolumeRenderer()
    assert inspect.isfunction(volkit.fit) and inspect.isfunction(volkit.render)
    assert inspect.ismodule(sys.modules["volkit.fit"])


@pytest.mark.parametrize("name", volkit.__all__)
def test_verbs_are_typed_and_documented(name):
    verb = getattr(volkit, name)
    signature = inspect.signature(verb)
    assert verb.__doc__ and signature.return_annotation is not inspect.Signature.empty
    assert all(p.annotation is not inspect.Parameter.empty for p in signature.parameters.values())


@pytest.mark.parametrize("name", ["fit", "convert", "generate", "render", "compare"])
def test_a_verb_has_the_defaults_of_its_command(name):
    from importlib import import_module

    job = inspect.signature(getattr(import_module(f"volkit.commands.{name}"), f"{name.capitalize()}Job")).parameters
    for parameter in inspect.signature(getattr(volkit, name)).parameters.values():
        if parameter.default is not inspect.Parameter.empty:
            assert job[parameter.name].default == parameter.default, parameter.name


def test_load_and_save_are_those_of_the_formats(tmp_path):
    import torch

    from volkit.geometry import Domain
    from volkit.representations.hash_grid import HashGridConfig

    field = HashGridConfig(levels=2, log2_table=6, width=16).build(Domain.cube(1.0), torch.Generator().manual_seed(0))
    volkit.save(field, tmp_path / "a.safetensors")
    assert torch.equal(volkit.load(str(tmp_path / "a.safetensors")).table, field.table)
    with pytest.raises(ValueError, match="no such file"):
        volkit.load(tmp_path / "absent.safetensors")
