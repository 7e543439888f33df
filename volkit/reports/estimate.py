"""What a fit or a conversion will take, said before it begins."""

from typing import Any

from volkit.evaluation.evaluate import QUICK_VIEWS
from volkit.files.file_size import size_in_words
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
    """Memory by what it is for, and time, both in words; and `memory_bytes`, their sum.

    `pictures` are the bytes of decoded photographs, `answers` those of what a teacher is asked, `views` are judged in
    the end. A scene that grows is counted as it starts.
    """
    groups = [(group, sum(p.numel() for p in group.parameters)) for group in scene.param_groups()]
    parameters = 4 * sum(count for _, count in groups)
    parts = {
        "parameters": parameters,
        "gradients": parameters,
        "moments": sum(4 * MOMENTS[group.rule] * count for group, count in groups),
        "pictures": 2 * pictures,  # as they were read, and as one table of pixels
        "batch": scene.config.activation_bytes * scene.config.batch_samples,
    }
    if teacher is not None:
        parts["teacher"] = 4 * sum(p.numel() for p in teacher.parameters())
        parts["answers"] = answers
    total = sum(parts.values())
    spent = f"{budget.seconds:g} s" if budget.seconds else f"{budget.steps} steps"
    looks = min(EVALUATIONS * QUICK_VIEWS, EVALUATIONS * views) + views
    return {
        "memory_bytes": total,
        "memory": {name: size_in_words(value) for name, value in parts.items() if value}
        | {"in all": "about " + size_in_words(total)},
        "time": f"{spent} of optimisation, besides reading, {looks} rendered pictures to judge by, and writing",
    }
