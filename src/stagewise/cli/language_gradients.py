"""Stage: inner products of the gradients of token classes, at every checkpoint of one seed."""

import json
import sys
from pathlib import Path

import numpy as np

from stagewise.baselines.class_gradients import group_products, groups_of
from stagewise.cli.language_model import checkpoints, class_tensor, token_tensor
from stagewise.cli.stage import stage
from stagewise.config.language import ClassGradientStage
from stagewise.provenance import provenance
from stagewise.storage import class_gradients, language_training
from stagewise.storage import corpus as corpus_file


def language_gradients(
    settings: ClassGradientStage, corpus: Path, training: Path, out: Path
) -> None:
    """Writes the products of groups (class, sequence) of the sequences that chains record."""
    data = corpus_file.read(corpus)
    recorded = corpus_file.training_set(data).isel(sequence=slice(0, settings.recorded))
    tokens, classes = token_tensor(recorded), class_tensor(recorded)
    trained, products = language_training.read(training), []
    for step in settings.steps:
        model, (state,) = checkpoints(settings.network, data, trained, [step])
        model.load_state_dict(state)
        products.append(group_products(model, tokens, classes))
        print(f"step {step}: {len(products[-1])} groups", flush=True)
    groups = groups_of(classes)
    record = provenance(
        "language_gradients",
        settings.model_dump(mode="json"),
        {"corpus": corpus, "training": training},
    )
    found = class_gradients.from_arrays(
        product=np.stack(products),
        step=list(settings.steps),
        unit_sequence=recorded["sequence"].values[groups.sequence],
        unit_class=data["class"].values[groups.token_class],
        attrs={"run": settings.name, "provenance": json.dumps(record, sort_keys=True)},
    )
    class_gradients.write(found, out)


main = stage(language_gradients)

if __name__ == "__main__":
    sys.exit(main())
