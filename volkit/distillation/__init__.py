"""Scenes trained on photographs (`fit`) or on another scene (`distill`).

- `fit`, `distill`, `result`: the two verbs, and what they return.
- `students`: configuration and construction of untrained scenes.
- `closed_form`, `lattice`, `tensor_start`, `density_cloud`, `splat_start`: initialisation, before any training step.
- `pixels`, `teacher_cache`, `stages`, `field_training`: supervision and training of fields.
- `splat_training`, `strategies`: training and densification of splats.
- `pvd_objective`, `pvd_active`, `pvd_student`: progressive volume distillation, as published, for comparison.
"""
