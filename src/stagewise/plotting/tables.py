"""The tidy tables behind the figures: their columns, and reading them."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

import pandas as pd

from stagewise.errors import SchemaError

COLUMNS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        name: tuple(columns.split())
        for name, columns in {
            "toy_modes": "tree init seed mode singular_value step strength predicted",
            "toy_influence": "tree seed influence relation step value se",
            "toy_pairs": "tree influence sample query relation step value se",
            "toy_transitions": "tree seed mode step",
            "toy_flips": "tree seed influence relation step",
            "toy_mds": "tree seed item branch step x y",
            "toy_windows": "tree seed relation window_start window_end at_end peak at_final",
            "toy_sweep": "n_beta localization step_size relaxation target r se local_fraction",
            "toy_agreement": "tree row n_beta localization relation r se",
            "toy_z": "tree row localization expected observed",
            "toy_mixture": "control pair kind value se mass",
            "toy_diagnostics": "tree seed step quantity value",
            "calibration_search": "problem phase n_beta step_size batch_size snr agreement bias"
            " bias_se chosen",
            "calibration_rows": "problem row agreement agreement_se reliability wall_seconds",
            "calibration_grid": "problem row agreement",
            "conformance": "sampler version problem law headline problem_passed relative_error"
            " relative_error_se continuum_error continuum_error_se",
            "bench_costs": "axis value quantity cost",
            "scaling": "device method quantity parameters cost fitted",
            "language_scores": "run seed step quantity group value se",
            "language_curves": "run seed kind first second step value se",
            "language_heat": "run seed moment step first second value z",
            "language_text": "run seed moment step sequence query place text class value se",
            "language_llc": "run seed step group value se",
            "language_cancel": "run seed method first second total size cancelled se noise"
            " sign_change",
            "language_claims": "run seed quantity group value se low high",
            "language_branches": "seed arm step accuracy low high",
            "multitask_separation": "shared seed quantity value",
            "multitask_kernel": "shared row column value",
            "multitask_map": "shared sample task answer x y",
            "multitask_coupling": "batches seed value",
            "vision_alignment": "run method seed measure tree scope value null null_sd p",
            "vision_relations": "run method seed relation value se positives",
            "vision_depths": "run method seed depth labels measure value null null_sd p",
            "vision_draws": "run seed draws relation value se",
            "vision_early": "run method step relation value se",
            "vision_images": "run id class label group variant pixels",
            "vision_map": "run step id x y zoom",
            "vision_matrix": "run method row column group value",
            "vision_neighbours": "run method query rank neighbour related",
            "vision_sensitivity": "run kind job n_beta localization step_size draws"
            " quantity value se",
            "vision_long": "run kind job n_beta localization draws quantity value se",
            "vision_detectors": "run detector value se n",
            "retraining_lds": "problem alpha method value low high",
            "retraining_difference": "problem alpha first second value low high",
            "retraining_ceiling": "problem alpha quantity value low high",
            "retraining_settings": "problem method setting value seconds chosen",
            "retraining_cost": "problem method seconds value low high",
            "retraining_loo": "problem method value low high n_samples",
            "retraining_removal": "problem method k value low high",
            "retraining_signs": "problem judge scope method value low high",
            "retraining_mislabel": "problem method value se",
            "retraining_sensitivity": "axis name damping n_beta step chains draws kernel potential"
            " batch_size control_variate settings optimiser_step value se low high",
            "retraining_speed": "method kind seconds value low high",
            "vision_influence": "run method query side rank sample value conflict flipped pixels"
            " query_pixels",
        }.items()
    }
)


def read_table(path: Path) -> pd.DataFrame:
    """Reads the table ``path``, whose stem names it.

    Raises:
        SchemaError: if the file is missing or empty, or lacks columns that its figures need.
    """
    try:
        # Only an empty cell is missing: "null" is a kind of curve, and tokens may read "NA".
        table = pd.read_csv(path, keep_default_na=False, na_values=[""])
    except FileNotFoundError:
        raise SchemaError(f"table {path} does not exist: run the stage that makes it") from None
    except (pd.errors.EmptyDataError, pd.errors.ParserError) as error:
        raise SchemaError(
            f"table {path} cannot be read ({error}): delete it and run its stage again"
        ) from error
    missing = [column for column in COLUMNS[path.stem] if column not in table]
    if missing:
        raise SchemaError(
            f"table {path} lacks {', '.join(missing)}; it has {', '.join(table)}: "
            "delete it and run its stage again"
        )
    if table.empty:
        raise SchemaError(f"table {path} has no rows: delete it and run its stage again")
    return table


def read_tables(names: Sequence[str], paths: Sequence[Path]) -> dict[str, pd.DataFrame]:
    """Reads the tables ``names`` from folders and files among ``paths``.

    Raises:
        SchemaError: if a table is in none of them, or as in `read_table`.
    """
    return {name: read_table(_find(name, paths)) for name in names}


def _find(name: str, paths: Sequence[Path]) -> Path:
    for path in paths:
        if path.is_dir() and (path / f"{name}.csv").is_file():
            return path / f"{name}.csv"
        if path.name == f"{name}.csv":
            return path
    places = ", ".join(str(path) for path in paths)
    raise SchemaError(f"table {name}.csv is not in {places}: run the stage that makes it")
