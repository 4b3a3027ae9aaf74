# The studies of retraining: their cells, and what their rules read.
from stagewise.config.retraining_study import cells as sensitivity_cells

SENSITIVITY = RETRAINING.sensitivity
SENSITIVITY_STEPS = list(RETRAINED[SENSITIVITY.problem].recipe.checkpoints)
SENSITIVITY_CELLS = sensitivity_cells(SENSITIVITY, len(SENSITIVITY_STEPS))
SENSITIVITY_FIRST = [
    f"{first:03d}" for first in range(0, len(SENSITIVITY_CELLS), SENSITIVITY.cell_block)
]
SENSITIVITY_BLOCK = "<results>/studies/retraining/sensitivity_{cell}.nc"
SENSITIVITY_TABLES = ["retraining_sensitivity", "retraining_speed"]
STUDIED_PROBLEMS = {name: RETRAINED[name] for name in RETRAINING.studies}


def of_study(path):
    """The file of the problem whose sampler is varied."""
    return path.format(rproblem=SENSITIVITY.problem, labels="clean", rset="scored_a50")


def cells_from(first):
    """The cells of a job, by the number of the first."""
    return SENSITIVITY_CELLS[first : first + SENSITIVITY.cell_block]
