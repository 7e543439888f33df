"""Memory and time that a fit or a conversion will take, estimated before it starts."""

from typing import Any

from volkit.evaluation.evaluate import QUICK_VIEWS
from volkit.files.file_size import format_size
from volkit.representations.representation import Representation
from volkit.training.loop import MOMENTS, Budget
from volkit.training.run import EVALUATIONS

__all__ = ["estimate"]


def estimate(
    scene: Representation,
    budget: Budget,
    pictures: int,
    views: int,
    *,
    teacher: Representation | None = None,
    answers: int = 0,
) -> dict[str, Any]:
    """Memory by purpose and time, both as text; and `memory_bytes`, the sum.

    `pictures` and `answers` are bytes of decoded photographs and of stored teacher samples, `views` the number that is
    evaluated at the end. A scene that grows is counted at its initial size.
    """
    groups = [(group, sum(p.numel() for p in group.parameters)) for group in scene.param_groups()]
    parameters = 4 * sum(count for _, count in groups)
    parts = {
        "parameters": parameters,
        "gradients": parameters,
        "moments": sum(4 * MOMENTS[group.rule] * count for group, count in groups),
        "pictures": 2 * pictures,  # decoded, and as one table of pixels
        "batch": scene.config.activation_bytes * scene.config.batch_samples,
    }
    if teacher is not None:
        parts["teacher"] = 4 * sum(p.numel() for p in teacher.parameters())
        parts["answers"] = answers
    total = sum(parts.values())
    budget_text = f"{budget.seconds:g} s" if budget.seconds else f"{budget.steps} steps"
    evaluations = min(EVALUATIONS * QUICK_VIEWS, EVALUATIONS * views) + views
    return {
        "memory_bytes": total,
        "memory": {name: format_size(value) for name, value in parts.items() if value}
        | {"in all": "about " + format_size(total)},
        "time": f"{budget_text} of optimisation, plus reading, {evaluations} pictures for evaluation, and writing",
    }
