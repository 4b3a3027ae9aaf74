"""What the runs of a configuration read: fonts, text, models, weights, images, WordNet."""

import importlib.util
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from stagewise.cli.doctor_finding import Finding, missing, note, ok
from stagewise.config.retraining import RetrainingSettings
from stagewise.config.retraining_data import PublicNetwork
from stagewise.config.root import Root
from stagewise.config.vision import FolderSource, VisionSettings, WeightsSettings
from stagewise.errors import StagewiseError


def examine(config: Root) -> Iterator[Finding]:
    """Look at what each run reads, without reading it whole; nothing is downloaded."""
    yield from fonts(config.vision)
    yield from texts(config)
    yield from models(config)
    yield from images(config.vision)
    yield from weights(config.vision)
    yield from cifar(config.retraining)


def fonts(vision: VisionSettings) -> Iterator[Finding]:
    """The faces of matplotlib (DejaVu, STIX), for figures and for the glyphs."""
    from stagewise.data.glyph_render import FACES, font_file

    absent = []
    for face in FACES:
        try:
            font_file(face)
        except StagewiseError:
            absent.append(face)
    if not absent:
        yield ok("fonts", f"{len(FACES)} faces of matplotlib (DejaVu, STIX)")
        return
    users = [name for name, run in vision.runs.items() if run.source.kind == "glyphs"]
    text = f"matplotlib's folder lacks {', '.join(absent)}"
    remedy = "install matplotlib's own wheel, which ships them: pip install --force-reinstall "
    remedy += "matplotlib (distributions' packages leave them out)"
    yield missing("fonts", text, remedy) if users else note("fonts", text, remedy)


def _with_text(config: Root) -> Iterator[tuple[str, Any]]:
    """Yield what reads text, by its place in the configuration."""
    for name, run in config.language.runs.items():
        yield f"language.runs.{name}", run
    for name, problem in config.retraining.problems.items():
        if problem.source.kind in ("docstrings", "documents"):
            yield f"retraining.problems.{name}", problem


def texts(config: Root) -> Iterator[Finding]:
    """Packages whose docstrings are the text; files or data sets of documents; tokenizers."""
    for place, one in _with_text(config):
        what, source = f"text of {place}", one.source
        if source.kind == "documents":
            yield _documents(what, source)
            yield _tokenizer(f"tokenizer of {place}", source.tokenizer)
            continue
        names = [source.package, getattr(source, "pretraining", source.package)]
        absent = [name for name in dict.fromkeys(names) if importlib.util.find_spec(name) is None]
        if absent:
            yield missing(what, f"{', '.join(absent)} not installed", "make .venv")
        else:
            yield ok(what, f"docstrings of {' and '.join(dict.fromkeys(names))}")


def _documents(what: str, source: Any) -> Finding:
    place = Path(source.path)
    if place.exists():
        return ok(what, f"{place}")
    if place.suffix or len(place.parts) > 2 or place.is_absolute():
        return missing(
            what,
            f"{place} does not exist",
            f"put a .txt, .jsonl (text under {source.column!r}) or .parquet file there, or a "
            "folder of them; docs/pretrained.md says how much text is needed",
        )
    return note(what, f"{source.path} is no local file: taken for a data set of the hub", _HUB)


_HUB = "it is streamed where there is a network; else read from the cache (docs/pretrained.md)"


def _tokenizer(what: str, name: str) -> Finding:
    if Path(name, "tokenizer.json").is_file():
        return ok(what, f"in {name}")
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    try:
        found = try_to_load_from_cache(name, "tokenizer.json")
    except HFValidationError:
        found = None
    if isinstance(found, str):
        return ok(what, f"{name} in the hub's cache")
    return missing(what, f"{name} is neither a folder nor in the cache", f"hf download {name}")


def models(config: Root) -> Iterator[Finding]:
    """Public checkpoints, whole, in a folder or in the hub's cache."""
    for place, one in _with_text(config):
        network = one.network
        if network.kind != "pretrained":
            continue
        what = f"checkpoints of {place}"
        steps = [network.step] if isinstance(network, PublicNetwork) else one.all_steps()
        absent = _absent_steps(network.model, steps, network.cache)
        if not absent:
            yield ok(what, f"{len(steps)} steps of {network.model}")
            continue
        cache = "" if network.cache is None else f" --cache-dir {network.cache}"
        yield missing(
            what,
            f"{len(absent)} of {len(steps)} steps of {network.model} are not here: "
            f"{', '.join(map(str, absent[:5]))}{' ...' if len(absent) > 5 else ''}",
            f"for each: hf download {network.model} --revision step{absent[0]}{cache}",
        )


def _absent_steps(model: str, steps: Sequence[int], cache: str | None) -> list[int]:
    """Steps that are neither in a local folder nor in the cache; the hub is not asked."""
    from stagewise.models.pretrained import present_steps

    return sorted(set(steps) - present_steps(model, steps, cache))


def images(vision: VisionSettings) -> Iterator[Finding]:
    """Trees of images, one folder for each class, and WordNet's dictionary."""
    for name, run in vision.runs.items():
        source = run.source
        if not isinstance(source, FolderSource):
            continue
        for part, place in (("train", Path(source.train)), ("held", Path(source.held))):
            yield _image_folder(f"images of vision.runs.{name}.{part}", place, source.classes)
        dictionary, what = Path(source.wordnet, "data.noun"), f"WordNet of vision.runs.{name}"
        if dictionary.is_file():
            yield ok(what, f"{dictionary}")
        else:
            remedy = "apt-get install wordnet-base (WordNet 3.0), or name the folder of data.noun"
            yield missing(what, f"{dictionary} does not exist", remedy)


def cifar(retraining: RetrainingSettings) -> Iterator[Finding]:
    """Files of CIFAR-10, whole."""
    for name, problem in retraining.problems.items():
        if problem.source.kind != "cifar10":
            continue
        from stagewise.data.cifar import REMEDY, unusable

        what, folder = f"images of retraining.problems.{name}", Path(problem.source.folder)
        absent, broken = unusable(folder)
        if absent or broken:
            text = f"{folder}: {len(absent)} files missing, {len(broken)} not the published ones"
            yield missing(what, text, f"{REMEDY} {folder}")
        else:
            yield ok(what, f"CIFAR-10 in {folder}")


def _image_folder(what: str, place: Path, classes: int) -> Finding:
    remedy = f"put {classes} folders there, named by WordNet id (n01440764, ...); ImageNet's own "
    remedy += "archives come from image-net.org after registration"
    if not place.is_dir():
        return missing(what, f"{place} does not exist", remedy)
    found = sum(1 for one in os.scandir(place) if one.is_dir() and one.name[0] != ".")
    if found != classes:
        return missing(what, f"{place} has {found} folders, {classes} are expected", remedy)
    return ok(what, f"{found} classes in {place}")


def weights(vision: VisionSettings) -> Iterator[Finding]:
    """Weights that were trained elsewhere: a file, or torchvision's in torch's cache."""
    for name, run in vision.runs.items():
        if not isinstance(run.network, WeightsSettings):
            continue
        what, given = f"weights of vision.runs.{name}", run.network.weights
        if Path(given).is_file():
            yield ok(what, given)
            continue
        import torch
        from torchvision.models import GoogLeNet_Weights

        if given not in GoogLeNet_Weights.__members__:
            remedy = f"put a state dict there, or name one of {list(GoogLeNet_Weights.__members__)}"
            yield missing(what, f"{given} is no file", remedy)
            continue
        url = GoogLeNet_Weights[given].url
        cached = Path(torch.hub.get_dir(), "checkpoints", url.rpartition("/")[2])
        if cached.is_file():
            yield ok(what, f"{given} in torch's cache")
        else:
            yield missing(what, f"{given} is not in torch's cache", f"download {url} to {cached}")
