"""Kinds of representation in few numbers: for tests that need some scene, and ask nothing of how good it is."""

from dataclasses import fields

from volkit.representations import HashGridConfig, MlpConfig, TensorVMConfig

# Of the usual form, and quick.
CHANGES = (
    (HashGridConfig, {"levels": 8, "log2_table": 13, "width": 16}),
    (TensorVMConfig, {"resolution": 32, "start": 24}),
    (MlpConfig, {"layers": 3, "width": 32, "skip": 0}),
)


def small_defaults() -> list[tuple[object, tuple[object, ...]]]:
    """Constructors of configs, and the defaults of their parameters that build the small kind."""
    return [
        (config.__init__, tuple(({field.name: field.default for field in fields(config)} | changes).values()))
        for config, changes in CHANGES
    ]
