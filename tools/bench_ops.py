"""Time the native ops against plain torch: `python tools/bench_ops.py [section ...] [--device cuda]`.

A section is a function from a `Bench` to cases; add one to SECTIONS. Results are kept as `bench_ops-<device>` in
tools/results/summary.jsonl. Equal output comes first: each section compares its variants before it times them.
"""

from volkit.threads import set_wait_policy

set_wait_policy()  # before torch is loaded

import argparse
from collections.abc import Callable
from functools import partial

import torch
from bench_frame import IDLE, Bench, Cases, agree, busy_cores, save
from bench_sampling import bench_composite, bench_march, bench_plane_sample, bench_voxel_sample
from bench_splat import bench_splat
from bench_step import bench_step

from volkit.ops import AdamRule, HashLevels, MlpShape, adam_, backend, fused_mlp, hash_encode


def bench_hash_encode(bench: Bench) -> Cases:
    """L16 F2, 16 to 2048: uniform points, and points along rays."""
    cases: Cases = {}
    for log2_table in (15, 19):
        levels = HashLevels.with_finest(2048, log2_table=log2_table)
        table = (bench.rand(levels.entries, 2) - 0.5).requires_grad_()
        half = table.detach().half().requires_grad_()
        buffer = torch.zeros_like(table)
        for order, positions in {"uniform": bench.rand(bench.points, 3), "rays": _along_rays(bench)}.items():
            grad = bench.rand(32, bench.points).t()

            def train(leaf: torch.Tensor, positions=positions, grad=grad, buffer=buffer, levels=levels) -> None:
                hash_encode(positions, leaf, levels, table_grad=buffer).backward(grad)

            agree(partial(hash_encode, positions[:4096], table, levels), 1e-3)
            look = partial(torch.no_grad()(hash_encode), positions, levels=levels)
            cases[f"T={log2_table} {order}"] = bench.time(
                {
                    "forward": partial(look, table=table),
                    "forward half": partial(look, table=half),
                    "forward+backward": partial(train, table),
                    "forward+backward half": partial(train, half),
                },
                bench.points,
            )
    few = bench.points // 16
    with backend.use("reference"):
        cases["T=19 plain torch, 1/16 of the points"] = bench.time(
            {"forward+backward": lambda: hash_encode(positions[:few], table, levels).backward(grad[:few])}, few
        )
    return cases


def bench_fused_mlp(bench: Bench) -> Cases:
    """The networks of instant-ngp, and wider ones."""
    cases: Cases = {}
    for shape in (MlpShape(32, 16, 64, 1), MlpShape(32, 16, 64, 2), MlpShape(32, 16, 128, 2)):
        weights = ((bench.rand(shape.parameters) - 0.5) * 0.3).requires_grad_()
        inputs = bench.rand(shape.inputs, bench.points).t().requires_grad_()
        grad = bench.rand(shape.outputs, bench.points).t()

        def train(products: str, choice: str = "auto", shape=shape, inputs=inputs, weights=weights, grad=grad) -> None:
            with backend.use(choice):  # pyright: ignore[reportArgumentType]
                fused_mlp(inputs, weights, shape, products=products).backward(grad)  # pyright: ignore

        agree(partial(fused_mlp, inputs[:4096], weights, shape, products="float32"), 1e-4)
        look = partial(torch.no_grad()(fused_mlp), inputs, weights, shape)
        cases[f"{shape.inputs}-{'-'.join([str(shape.width)] * shape.hidden_layers)}-{shape.outputs}"] = bench.time(
            {
                "forward bfloat16": look,
                "forward float32": partial(look, products="float32"),
                "forward+backward bfloat16": partial(train, "bfloat16"),
                "forward+backward float32": partial(train, "float32"),
                "plain torch forward+backward": partial(train, "float32", "reference"),
            },
            bench.points,
        )
    return cases


def bench_adam(bench: Bench) -> Cases:
    """A 6.1 M x 2 table: every row, one row in six, and torch's fused Adam."""
    entries, rule = HashLevels.with_finest(2048).entries, AdamRule(1e-2)
    state = [bench.rand(entries, 2) for _ in range(4)]
    touched = (bench.rand(entries) < 1 / 6).nonzero().flatten()
    rival = torch.nn.Parameter(state[0].clone())
    rival.grad = state[1].clone()
    optimiser = torch.optim.Adam([rival], lr=1e-2, betas=(0.9, 0.99), eps=1e-15, fused=True)

    def sparse() -> None:
        state[1][touched] = 1.0
        adam_(*state, 10, rule, touched_only=True)  # pyright: ignore

    variants: dict[str, Callable[[], object]] = {
        "every row": lambda: adam_(*state, 10, rule),  # pyright: ignore
        "one row in six, with its filling": sparse,
        "the filling alone": lambda: state[1].index_fill_(0, touched, 1.0),
        "torch fused, every row": optimiser.step,
    }
    return {"6.1 M x 2": bench.time(variants, entries)}


# Million items a second that two cores at 3.66 GHz with AVX-512 and BF16 could reach, by section, case and variant (the
# start of their names): arithmetic and loads alone, without marching, loss and Adam. Elsewhere the share means little.
BOUNDS = {
    ("hash_encode", "T=19 uniform", "forward+backward"): 10.0,
    ("fused_mlp", "32-64-64-16", "forward+backward bfloat16"): 10.9,
    ("fused_mlp", "32-64-64-16", "forward+backward float32"): 5.4,
    ("step", "", "volkit bfloat16"): 4.6,
    ("step", "", "volkit float32"): 3.0,
    ("voxel_sample", "", "forward+backward"): 13.0,
    ("splat", "100000 splats, 400x400, blending alone", "forward"): 5900.0,
    ("splat", "100000 splats, 400x400, blending alone", "backward"): 2600.0,
    ("splat", "500000 splats, 800x800, blending alone", "forward"): 5900.0,
}

SECTIONS: dict[str, Callable[[Bench], Cases]] = {
    "hash_encode": bench_hash_encode,
    "fused_mlp": bench_fused_mlp,
    "adam": bench_adam,
    "march": bench_march,
    "composite": bench_composite,
    "plane_sample": bench_plane_sample,
    "voxel_sample": bench_voxel_sample,
    "splat": bench_splat,
    "step": bench_step,
}


def _along_rays(bench: Bench, steps: int = 32) -> torch.Tensor:
    origins = bench.rand(bench.points // steps, 1, 3)
    directions = torch.nn.functional.normalize(bench.rand(bench.points // steps, 1, 3) - 0.5, dim=-1)
    distance = torch.arange(steps, device=bench.device).view(1, -1, 1) * (3**0.5 / 1024)
    return (origins + directions * distance).reshape(-1, 3).clamp(0, 1)


def with_shares(section: str, cases: Cases) -> Cases:
    """The cases with the share of the bound that each variant reaches, where one is known; CPU only."""
    for (name, case_start, variant), bound in BOUNDS.items():
        for case, variants in cases.items():
            if name == section and case.startswith(case_start) and "million_per_s" in variants.get(variant, {}):
                numbers = variants[variant]
                numbers |= {"bound_million_per_s": bound, "of_bound": round(numbers["million_per_s"] / bound, 3)}
    return cases


def main() -> None:
    """Run the named sections, or all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sections", nargs="*", default=list(SECTIONS), help=f"of {', '.join(SECTIONS)}")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument("--points", type=int, default=2**18)
    parser.add_argument("--busy", action="store_true", help="run beside other processes; the result says so")
    arguments = parser.parse_args()
    if not arguments.busy and (busy := busy_cores()) > IDLE:
        raise SystemExit(f"other processes use {busy:.2f} cores: wait for an idle machine, or accept it with --busy")
    device = torch.device(arguments.device)
    bench = Bench(device, arguments.repeats, arguments.points, torch.Generator().manual_seed(0))
    for name in arguments.sections:
        cases = SECTIONS[name](bench)
        if device.type == "cpu":
            cases = with_shares(name, cases)
        for case, variants in cases.items():
            for variant, numbers in variants.items():
                print(f"{name:12} {case:24} {variant:34}", *(f"{k} {v}" for k, v in numbers.items()))
        print("written:", save("bench_ops", device, {name: cases}))


if __name__ == "__main__":
    main()
