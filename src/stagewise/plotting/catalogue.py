"""Every figure by name: the tables it needs, its height, and the function that draws it."""

from collections.abc import Callable, Mapping
from functools import partial
from types import MappingProxyType
from typing import NamedTuple

import pandas as pd
from matplotlib.figure import Figure

from stagewise.plotting.bench import draw_bench_costs
from stagewise.plotting.calibration import draw_calibration, draw_calibration_grid
from stagewise.plotting.conformance import draw_conformance
from stagewise.plotting.language_influence import (
    draw_language_cancel,
    draw_language_heat,
    draw_language_influence,
)
from stagewise.plotting.language_intervention import draw_language_intervention
from stagewise.plotting.language_scores import draw_language_llc, draw_language_scores
from stagewise.plotting.language_text import draw_language_text
from stagewise.plotting.multitask import draw_multitask_kernel, draw_multitask_separation
from stagewise.plotting.retraining_checks import (
    draw_retraining_loo,
    draw_retraining_mislabel,
    draw_retraining_removal,
    draw_retraining_signs,
)
from stagewise.plotting.retraining_scores import (
    draw_retraining_cost,
    draw_retraining_lds,
    draw_retraining_settings,
)
from stagewise.plotting.retraining_study import (
    draw_retraining_sensitivity,
    draw_retraining_speed,
)
from stagewise.plotting.scaling import draw_scaling
from stagewise.plotting.toy_agreement import draw_toy_agreement
from stagewise.plotting.toy_diagnostics import draw_toy_diagnostics
from stagewise.plotting.toy_influence import draw_toy_influence, draw_toy_law, draw_toy_timing
from stagewise.plotting.toy_mds import draw_toy_mds
from stagewise.plotting.toy_mixture import draw_toy_mixture
from stagewise.plotting.toy_modes import draw_toy_modes
from stagewise.plotting.toy_pairs import draw_toy_pairs
from stagewise.plotting.toy_sweep import draw_toy_sweep
from stagewise.plotting.toy_windows import draw_toy_windows
from stagewise.plotting.vision_alignment import (
    draw_vision_alignment,
    draw_vision_clusters,
    draw_vision_matrix,
)
from stagewise.plotting.vision_influence import draw_vision_detectors, draw_vision_influence
from stagewise.plotting.vision_map import (
    draw_vision_early,
    draw_vision_map,
    draw_vision_neighbours,
    draw_vision_sheet,
)
from stagewise.plotting.vision_sensitivity import draw_vision_long, draw_vision_sensitivity

Draw = Callable[[Figure, Mapping[str, pd.DataFrame]], None]


class Entry(NamedTuple):
    """What a figure is made of; the height is in inches, the width that of the text."""

    draw: Draw
    tables: tuple[str, ...]
    height: float


_CURVES = ("toy_influence", "toy_transitions")
_PAIRS = ("toy_pairs", "toy_mds")
_MAP = ("vision_images", "vision_map")

FIGURES: Mapping[str, Entry] = MappingProxyType(
    {
        "toy_modes": Entry(draw_toy_modes, ("toy_modes",), 3.4),
        "toy_influence": Entry(draw_toy_influence, _CURVES, 5.0),
        "toy_timing": Entry(draw_toy_timing, (*_CURVES, "toy_flips"), 3.6),
        "toy_law": Entry(draw_toy_law, ("toy_influence",), 5.6),
        "toy_agreement": Entry(draw_toy_agreement, ("toy_agreement", "toy_z"), 3.5),
        "toy_pairs": Entry(partial(draw_toy_pairs, tree="balanced"), _PAIRS, 5.4),
        "toy_pairs_unbalanced": Entry(partial(draw_toy_pairs, tree="unbalanced"), _PAIRS, 5.4),
        "toy_mds": Entry(draw_toy_mds, (*_CURVES, "toy_mds"), 4.8),
        "toy_windows": Entry(draw_toy_windows, ("toy_windows", "toy_influence"), 3.6),
        "toy_sweep": Entry(draw_toy_sweep, ("toy_sweep",), 2.3),
        "toy_mixture": Entry(draw_toy_mixture, ("toy_mixture",), 3.2),
        "toy_diagnostics": Entry(draw_toy_diagnostics, ("toy_diagnostics",), 6.4),
        "calibration": Entry(draw_calibration, ("calibration_search", "calibration_rows"), 4.6),
        "calibration_grid": Entry(draw_calibration_grid, ("calibration_grid",), 2.6),
        "conformance": Entry(draw_conformance, ("conformance",), 5.6),
        "bench_costs": Entry(draw_bench_costs, ("bench_costs",), 3.0),
        "scaling": Entry(draw_scaling, ("scaling",), 3.6),
        "language_scores": Entry(draw_language_scores, ("language_scores", "language_claims"), 6.0),
        "language_influence": Entry(
            draw_language_influence, ("language_curves", "language_claims"), 4.2
        ),
        "language_heat": Entry(draw_language_heat, ("language_heat",), 4.6),
        "language_text": Entry(draw_language_text, ("language_text",), 3.6),
        "language_llc": Entry(draw_language_llc, ("language_llc", "language_claims"), 4.0),
        "language_cancel": Entry(draw_language_cancel, ("language_cancel",), 4.2),
        "multitask_kernel": Entry(
            draw_multitask_kernel, ("multitask_kernel", "multitask_map"), 4.2
        ),
        "multitask_separation": Entry(
            draw_multitask_separation, ("multitask_separation", "multitask_coupling"), 2.5
        ),
        "language_intervention": Entry(draw_language_intervention, ("language_branches",), 2.6),
        "vision_sheet": Entry(draw_vision_sheet, ("vision_images",), 2.2),
        "vision_map": Entry(draw_vision_map, _MAP, 5.0),
        "vision_neighbours": Entry(
            draw_vision_neighbours, ("vision_images", "vision_neighbours"), 3.4
        ),
        "vision_alignment": Entry(
            draw_vision_alignment, ("vision_relations", "vision_depths", "vision_draws"), 2.9
        ),
        "vision_clusters": Entry(draw_vision_clusters, ("vision_alignment", "vision_depths"), 2.6),
        "vision_matrix": Entry(draw_vision_matrix, ("vision_matrix",), 3.2),
        "vision_early": Entry(draw_vision_early, (*_MAP, "vision_early"), 3.8),
        "vision_sensitivity": Entry(draw_vision_sensitivity, ("vision_sensitivity",), 2.4),
        "vision_long": Entry(draw_vision_long, ("vision_long",), 2.6),
        "vision_influence": Entry(draw_vision_influence, ("vision_influence",), 2.2),
        "vision_detectors": Entry(draw_vision_detectors, ("vision_detectors",), 2.2),
        "retraining_lds": Entry(
            draw_retraining_lds,
            ("retraining_lds", "retraining_difference", "retraining_ceiling"),
            4.6,
        ),
        "retraining_cost": Entry(
            draw_retraining_cost, ("retraining_cost", "retraining_settings"), 2.8
        ),
        "retraining_settings": Entry(draw_retraining_settings, ("retraining_settings",), 2.8),
        "retraining_loo": Entry(draw_retraining_loo, ("retraining_loo",), 2.3),
        "retraining_removal": Entry(draw_retraining_removal, ("retraining_removal",), 2.6),
        "retraining_signs": Entry(draw_retraining_signs, ("retraining_signs",), 2.2),
        "retraining_sensitivity": Entry(
            draw_retraining_sensitivity, ("retraining_sensitivity",), 7.0
        ),
        "retraining_speed": Entry(draw_retraining_speed, ("retraining_speed",), 3.4),
        "retraining_mislabel": Entry(draw_retraining_mislabel, ("retraining_mislabel",), 2.2),
    }
)
