"""How much work a job is, from its settings: floating-point operations where its network is known.

For jobs whose cost their settings do not say (they read files and make tables of them) there is
no entry: their cost follows the size of what they read.
"""

import math
import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from stagewise.cli import plan_retraining
from stagewise.cli.plan_jobs import Job
from stagewise.cli.plan_retraining import GRADIENT
from stagewise.config.vision import THUMBNAIL
from stagewise.data.glyph_render import FACES

#: Characters of the corpora that are made from docstrings, and token classes of a sequence.
CHARACTERS, CLASSES = 100, 8
#: Layers and width of the Pythia models (arXiv:2304.01373, table 1); perceptrons of four widths.
PYTHIA = {
    "14m": (6, 128),
    "31m": (6, 256),
    "70m": (6, 512),
    "160m": (12, 768),
    "410m": (24, 1024),
    "1b": (16, 2048),
    "1.4b": (24, 2048),
    "2.8b": (32, 2560),
    "6.9b": (32, 4096),
    "12b": (36, 5120),
}
PYTHIA_VOCABULARY = 50304
#: Bytes that recordings of all of GoogLeNet's layers, and of the largest, take for a pixel.
RECORDED_BYTES, LARGEST_BYTES = 1145, 128
#: Their room: a third of a GPU of 80 GB. On a CPU there is less, and there are more passes.
GRAM_BYTES = 25 * 2**30


class Work(NamedTuple):
    """The size of a job.

    Attributes:
        amount: Work, in a unit of its own for each rule.
        written: Numbers that it writes; None where that follows from what it reads.
        flop: Whether the unit of ``amount`` is a floating-point operation.
    """

    amount: float
    written: float | None = None
    flop: bool = False


#: Settings of the job that made a file, by that job's rule.
Upstream = Callable[[str], Mapping[str, Any] | None]


def work(job: Job, upstream: Upstream) -> Work | None:
    """Return a job's size, or None where its settings do not say it.

    Args:
        job: The job.
        upstream: Settings of the job with a given rule that it depends on, or None.
    """
    if job.rule in plan_retraining.COUNTED:
        size = plan_retraining.counted(job.rule, job.settings)
        return None if size is None else Work(*size, flop=True)
    known = _WORK.get(job.rule)
    return None if known is None else known(job.settings, upstream)


def chain_steps(sampling: Mapping[str, Any]) -> float:
    """Return the steps of one chain: burn-in and draws."""
    return sampling["burn_in"] + sampling["draws"] * sampling["spacing"]


def _toy_sampling(settings: Mapping[str, Any], _: Upstream) -> Work:
    sampling, training = settings["sampling"], settings["training"]
    checkpoints = -(-training["checkpoints"] // sampling["stride"])
    lanes = checkpoints * sampling["chains"]
    return Work(
        lanes * chain_steps(sampling) * training["hidden"],
        lanes * sampling["draws"] * _leaves(settings["tree"]),
    )


def _toy_training(settings: Mapping[str, Any], _: Upstream) -> Work:
    training = settings["training"]
    runs = training["seeds"] * settings.get("windows", {"count": 1})["count"]
    return Work(
        runs * training["steps"] * training["hidden"],
        training["seeds"] * training["checkpoints"],
    )


def _toy_law(settings: Mapping[str, Any], _: Upstream) -> Work:
    sampling, training = settings["sampling"], settings["training"]
    checkpoints = -(-training["checkpoints"] // sampling["stride"])
    return Work(checkpoints * len(sampling["seeds"]), checkpoints * len(sampling["seeds"]))


def _leaves(tree: Mapping[str, Any]) -> int:
    count = 1
    for one in tree["branching"] or ():
        count *= one
    return count if tree["branching"] else len(re.findall(r"'", str(tree["nested"]))) // 2


def _two_tasks(settings: Mapping[str, Any], _: Upstream) -> Work:
    row, training = settings["row"], settings["training"]
    networks = len(settings["run_seeds"]) * len(row.get("shared") or [0])
    lanes = networks * row["chains"]
    return Work(
        lanes * chain_steps(row) * training["width"] * settings["data"]["modulus"] ** 2,
        lanes * row["draws"] * settings["data"]["recorded"] * 2,
    )


def _sequence(settings: Mapping[str, Any], upstream: Upstream) -> float | None:
    """Operations of a forward pass on one sequence."""
    from stagewise.models.flops import sequence_flop

    corpus, network = upstream("language_corpus"), settings["network"]
    if corpus is None:
        return None
    if network["kind"] != "pretrained":
        shape = (network["layers"], network["width"], network["expansion"], CHARACTERS)
    else:
        size = pythia_size(network)
        if size is None:
            return None
        shape = (*PYTHIA[size], 4, PYTHIA_VOCABULARY)
    return sequence_flop(*shape, corpus["source"]["length"])


def pythia_size(network: Mapping[str, Any]) -> str | None:
    """Return the size of a public language model, if it is known."""
    found = re.search(r"pythia-([\d.]+[mb])", str(network.get("model", "")))
    return found[1] if found and found[1] in PYTHIA else None


def _language_corpus(settings: Mapping[str, Any], _: Upstream) -> Work:
    source = settings["source"]
    tokens = (source["train"] + source["held"]) * source["length"]
    return Work(tokens, tokens)


def _language_sample(settings: Mapping[str, Any], upstream: Upstream) -> Work | None:
    forward, sampling = _sequence(settings, upstream), settings["sampling"]
    if forward is None:
        return None
    lanes = len(settings["steps"]) * min(sampling["chain_block"], sampling["chains"])
    draws = sampling["draws"] + sampling["prior_draws"]
    passes = chain_steps(sampling) * sampling["batch_size"] * GRADIENT
    passes += draws * sampling["recorded"]
    length = upstream("language_corpus")["source"]["length"]
    return Work(lanes * passes * forward, lanes * draws * sampling["recorded"] * length, flop=True)


def _language_gradients(settings: Mapping[str, Any], upstream: Upstream) -> Work | None:
    forward, recorded = _sequence(settings, upstream), settings["recorded"]
    if forward is None:
        return None
    groups, steps = recorded * CLASSES, len(settings["steps"])
    return Work(steps * groups * GRADIENT * forward, steps * groups**2, flop=True)


def _language_train(settings: Mapping[str, Any], upstream: Upstream) -> Work | None:
    forward, corpus = _sequence(settings, upstream), upstream("language_corpus")
    if forward is None:
        return None
    held, training = corpus["source"]["held"], settings.get("training")
    if settings["network"]["kind"] == "pretrained":
        return Work(len(settings["steps"]) * held * forward, None, flop=True)
    passes = training["steps"] * training["batch_size"] * GRADIENT
    passes += training["steps"] // training["measure_every"] * held
    return Work(passes * forward, None, flop=True)


def _image(upstream: Upstream) -> float | None:
    from stagewise.models.flops import image_flop

    data = upstream("vision_data")
    if data is None:
        return None
    source = data["source"]
    return image_flop(source["size"], source.get("letters") or source["classes"])


def _recorded(settings: Mapping[str, Any], upstream: Upstream) -> int:
    if settings.get("recorded") == "judged":
        return settings["judged"] + settings["queries"]
    return upstream("vision_data")["recorded"]


def _vision_sample(settings: Mapping[str, Any], upstream: Upstream) -> Work | None:
    forward, sampling = _image(upstream), settings["sampling"]
    if forward is None:
        return None
    chains, recorded = (
        min(sampling["chain_block"], sampling["chains"]),
        _recorded(settings, upstream),
    )
    steps = 0 if sampling["n_beta"] == 0 else chain_steps(sampling)
    gradients = 2 if sampling["potential"] == "recentred" else 1
    passes = chains * steps * sampling["batch_size"] * GRADIENT * gradients
    passes += chains * sampling["draws"] * recorded
    return Work(passes * forward, chains * sampling["draws"] * recorded, flop=True)


def _vision_similarity(settings: Mapping[str, Any], upstream: Upstream) -> Work | None:
    forward = _image(upstream)
    if forward is None:
        return None
    data = upstream("vision_data")
    recorded = data["recorded"]
    passes = 2 * recorded
    if settings["step"] is None:
        passes += GRADIENT * gram_passes(recorded, data["source"]["size"])
    return Work(passes * forward, recorded**2, flop=True)


def gram_passes(recorded: int, size: int) -> int:
    """Return how many images go forward and backward for all products of gradients.

    They do so once for each group of layers whose recordings fit, and where not one layer's do,
    once for each pair of blocks of images (`stagewise.baselines.gradient_gram`).
    """
    room, area = GRAM_BYTES // 2, size**2
    most = room // (LARGEST_BYTES * area)
    blocks = 1 if recorded <= most else math.ceil(recorded / (most // 2))
    held = recorded if blocks == 1 else 2 * (most // 2)
    groups = math.ceil(held * RECORDED_BYTES * area / room)
    return max(blocks * (blocks - 1) // 2, 1) * held * groups


def _vision_train(settings: Mapping[str, Any], upstream: Upstream) -> Work | None:
    forward, network = _image(upstream), settings["network"]
    if forward is None:
        return None
    source = upstream("vision_data")["source"]
    if source["kind"] == "glyphs":
        images = _letters(source) * _known_faces(source) * source["renderings"]
        return Work(network["epochs"] * images * GRADIENT * forward, None, flop=True)
    return Work(source["classes"] * source["held_per_class"] * forward, None, flop=True)


def _letters(source: Mapping[str, Any]) -> int:
    """Classes: each pair of letters that look alike has one more."""
    return source["letters"] + source["homoglyph_pairs"]


def _known_faces(source: Mapping[str, Any]) -> int:
    """Faces that the network is trained on."""
    return len(FACES) - source["held_faces"]


def _vision_data(settings: Mapping[str, Any], _: Upstream) -> Work:
    source = settings["source"]
    if source["kind"] == "glyphs":
        known, held = _known_faces(source) * source["renderings"], source["held_faces"]
        images = _letters(source) * (known + held * source["held_renderings"])
        return Work(images * source["size"] ** 2, images * source["size"] ** 2)
    # Files stay where they are: a small picture of each is made, in about the time of a rendering.
    images = source["classes"] * (source["train_per_class"] + source["held_per_class"])
    return Work(images * THUMBNAIL**2, images * THUMBNAIL**2)


_WORK: dict[str, Callable[[Mapping[str, Any], Upstream], Work | None]] = {
    "toy_sample": _toy_sampling,
    "toy_law": _toy_law,
    "toy_train": _toy_training,
    "toy_modes": _toy_training,
    "toy_trajectory": _toy_training,
    "toy_retrain": _toy_training,
    "toy_windows": _toy_training,
    "toy_representations": _toy_training,
    "multitask_sample": _two_tasks,
    "language_corpus": _language_corpus,
    "language_sample": _language_sample,
    "language_gradients": _language_gradients,
    "language_train": _language_train,
    "vision_sample": _vision_sample,
    "vision_similarity": _vision_similarity,
    "vision_train": _vision_train,
    "vision_data": _vision_data,
}
