"""Window ablation: is an item missed most when its influence peaks?

Dropping item p during a window changes query q's loss by about (lr/n) ∫ ∇l_p·∇l_q over the window,
so the change at the window's end follows −BIF, as far as the local posterior sees what training
does; to first order it is the strong-localization influence, whatever the posterior. A relation may
have a helpful peak and a later harmful one, of like size: they are compared apart. The claim would
be false if effect and influence peaked more than a window from each other, or if another relation's
peak predicted the effect's as well.
"""

import numpy as np
import pandas as pd
import xarray as xr

from stagewise.evaluation.curves import RELATIONS, Summary, correlation, relation_mean, summarize


def window_table(tree: str, windows: xr.Dataset, relation: np.ndarray) -> pd.DataFrame:
    """Loss change of the query when the sample is dropped in a window, mean over pairs.

    ``at_end`` of the window, ``peak`` (of largest size from there on), ``at_final`` of the run.
    """
    start, end = windows["window_start"].values, windows["window_end"].values
    frames = []
    for seed in windows["seed"].values:
        for name in RELATIONS:
            frames.append(
                pd.DataFrame(
                    {
                        "tree": tree,
                        "seed": seed,
                        "relation": name,
                        "window_start": start,
                        "window_end": end,
                        "at_end": relation_mean(_pairs(windows, "at_end", seed), relation, name),
                        "peak": relation_mean(_pairs(windows, "peak", seed), relation, name),
                        "at_final": relation_mean(
                            _pairs(windows, "at_final", seed), relation, name
                        ),
                    }
                )
            )
    return pd.concat(frames, ignore_index=True)


def ablation_numbers(windows: pd.DataFrame, influence: pd.DataFrame) -> dict[str, Summary]:
    """Offset between the window of the largest effect and the peak of the sampled influence.

    Both are read on the grid of windows: the influence is averaged over each. An offset is the
    centre of the window of the largest effect less that of the largest mean −BIF, in steps, and
    likewise for the most harmful ones; averaged over relations and both signs within a seed. n is
    the number of seeds.

    Args:
        windows: `window_table` of one tree.
        influence: Influence table of the same tree.

    Returns:
        ``at_final.largest``, the largest effect left at the end of the run, nats; and
        ``peak_offset`` (signed mean), ``.absolute`` (mean of its size), ``.mismatched`` (the same
        with another relation's influence), ``.{helpful,harmful}.{relation}``, and ``r.{relation}``,
        the correlation of effect and influence over windows (``r_prior``: with the law at
        nβ = 0).
    """
    found: dict[str, list[float]] = {}

    def note(key: str, value: float) -> None:
        found.setdefault(key, []).append(float(value))

    for seed in sorted(windows["seed"].unique().tolist()):
        effect, predicted, centre = _on_windows(windows, influence, seed, "bif")
        _, prior, _ = _on_windows(windows, influence, seed, "bif_prior")
        own, other = [], []
        for sign, word in ((1, "helpful"), (-1, "harmful")):
            top = {name: centre[np.argmax(sign * effect[name])] for name in RELATIONS}
            expected = {name: centre[np.argmax(sign * predicted[name])] for name in RELATIONS}
            for name in RELATIONS:
                own.append(top[name] - expected[name])
                note(f"peak_offset.{word}.{name}", own[-1])
                other += [abs(top[name] - expected[b]) for b in RELATIONS if b != name]
        note("peak_offset", np.mean(own))
        note("peak_offset.absolute", np.mean(np.abs(own)))
        note("peak_offset.mismatched", np.mean(other))
        for name in RELATIONS:
            note(f"r.{name}", correlation(effect[name], predicted[name]))
            note(f"r_prior.{name}", correlation(effect[name], prior[name]))
    numbers = {key: summarize(values) for key, values in found.items()}
    final = windows["at_final"].abs()
    return numbers | {"at_final.largest": Summary(float(final.max()), float("nan"), len(final))}


def _pairs(windows: xr.Dataset, name: str, seed: int) -> np.ndarray:
    chosen = windows[name].sel(seed=seed)
    return chosen.transpose("window", "sample", "query").values


def _on_windows(
    windows: pd.DataFrame, influence: pd.DataFrame, seed: int, which: str
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray], np.ndarray]:
    """Effect and mean −influence of every relation in each window, and the windows' centres."""
    effect, predicted = {}, {}
    for name in RELATIONS:
        rows = windows[(windows["seed"] == seed) & (windows["relation"] == name)]
        curve = influence[
            (influence["seed"] == seed)
            & (influence["relation"] == name)
            & (influence["influence"] == which)
        ]
        step, value = curve["step"].to_numpy(), curve["value"].to_numpy()
        starts, ends = rows["window_start"].to_numpy(), rows["window_end"].to_numpy()
        fine = [np.linspace(a, b, 33) for a, b in zip(starts, ends, strict=True)]
        effect[name] = rows["at_end"].to_numpy()
        predicted[name] = np.array([-np.interp(grid, step, value).mean() for grid in fine])
    return effect, predicted, (starts + ends) / 2
