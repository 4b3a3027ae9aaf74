"""Stage: when the stages of language training happen, measured without any influence."""

import sys
from pathlib import Path

import pandas as pd

from stagewise.cli.stage import stage
from stagewise.config.language import StagesStage
from stagewise.evaluation.language_stages import dated, measurements
from stagewise.files import atomic_path, write_json
from stagewise.seeds import generator
from stagewise.storage import corpus as corpus_file
from stagewise.storage import language_training


def language_stages(
    settings: StagesStage, corpus: Path, training: list[Path], out: Path, table: Path
) -> None:
    """Dates the transitions of every training of one run and lists what they are dated from."""
    held = corpus_file.held_out(corpus_file.read(corpus)).sizes["sequence"]
    seeds, frames = {}, []
    for path in training:
        trained = language_training.read(path)
        seed = int(trained.attrs["run_seed"])
        rng = generator(settings.seed, "language", settings.name, seed, "stages")
        shares = [1 / trained.sizes["held"]] * trained.sizes["held"]
        weights = rng.multinomial(trained.sizes["held"], shares, size=settings.bootstrap)
        measured = measurements(trained, weights.astype(float))
        seeds[str(seed)] = dated(measured)
        frames.append(measured.table.assign(run=settings.name, seed=seed))
        print(f"seed {seed}, {trained.sizes['held']} of {held} sequences: {seeds[str(seed)]}")
    with atomic_path(table) as temporary:
        pd.concat(frames, ignore_index=True).to_csv(temporary, index=False)
    write_json(out, seeds)


main = stage(language_stages)

if __name__ == "__main__":
    sys.exit(main())
