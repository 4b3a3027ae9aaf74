"""How much work the jobs of the comparison by retraining are: floating-point operations.

Networks trained again are counted step by step. What a calibration flies and how long its chains
relax follows from the curvature that it measures; counted are as many steps as on digits.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

#: A gradient in units of a forward pass: the backward pass takes twice as much.
GRADIENT = 3
CLASSES, SETTINGS = 10, 9
#: Full gradients of the search for the minimum of a convex problem, per run.
ITERATIONS = 20
#: Full gradients behind a curvature: 4 probes, 24 iterations, two gradients each.
CURVATURE = 192
#: Pilots of a calibration and their draws; steps before the first draw and between two.
PILOTS, PILOT_DRAWS, BURN_IN, SPACING = 10, 24, 60, 6
#: Numbers that a calibration writes with its choice.
RECORD = 2000
#: Dimensions of TRAK's projections, all together.
PROJECTED = 256 + 1024 + 4096


class Size(NamedTuple):
    """What one job computes and writes.

    Attributes:
        amount: Floating-point operations.
        written: Numbers.
    """

    amount: float
    written: float


class Sizes(NamedTuple):
    """Sizes that the jobs of a problem have in common.

    Attributes:
        forward: Operations of a forward pass on one sample.
        parameters: P.
        train: n.
        queries: Queries.
        newton: Whether it is minimised rather than trained.
    """

    forward: float
    parameters: int
    train: int
    queries: int
    newton: bool

    def run(self, recipe: Mapping[str, Any]) -> float:
        """Operations of one training."""
        samples = self.train * ITERATIONS if self.newton else recipe["steps"] * recipe["batch_size"]
        return samples * GRADIENT * self.forward

    def chains(self, chains: int, draws: int, batch_size: int) -> float:
        """Operations of chains; minibatches have the gradient at the centre beside theirs."""
        batch = 2 * batch_size if batch_size else self.train
        steps = (BURN_IN + draws * SPACING) * batch * GRADIENT
        return chains * (steps + draws * (self.train + self.queries)) * self.forward


def sizes_of(problem: Mapping[str, Any]) -> Sizes | None:
    """Return the sizes of a problem, or None where its network is not known."""
    network = problem["network"]
    newton = problem["recipe"]["kind"] == "newton"
    if network["kind"] == "mlp":
        widths = [64, *network["hidden"], CLASSES]
        pairs = list(zip(widths[:-1], widths[1:], strict=True))
        forward, parameters = sum(2 * a * b for a, b in pairs), sum((a + 1) * b for a, b in pairs)
    elif network["kind"] == "conv":
        forward, parameters = _convolutions(network["channels"])
    elif network["kind"] == "resnet9":
        from stagewise.models.flops import resnet9_flop

        forward, parameters = resnet9_flop(tuple(network["widths"]))
    else:
        return None
    return Sizes(forward, parameters, problem["train"], problem["queries"], newton)


def _convolutions(channels: list[int]) -> tuple[float, int]:
    """Count convolutions of 3 x 3 with stride 2 on digits, and the linear layer."""
    side, before, forward, parameters = 8, 1, 0.0, 0
    for after in channels:
        side = (side + 1) // 2
        forward += 2 * 9 * before * after * side**2
        parameters += (9 * before + 1) * after
        before = after
    flat = before * side**2
    return forward + 2 * flat * CLASSES, parameters + (flat + 1) * CLASSES


def train(settings: Mapping[str, Any], of: Sizes) -> Size:
    """All members, and their weights at the checkpoints."""
    recipe = settings["problem"]["recipe"]
    if of.newton:
        # A matrix of all parameters in each iteration.
        amount = ITERATIONS / 2 * of.train * CLASSES * 2.0 * of.parameters**2
        return Size(amount, of.parameters)
    kept = recipe["members"] * len(recipe["checkpoints"]) * of.parameters
    return Size(recipe["members"] * of.run(recipe), kept)


def targets(settings: Mapping[str, Any], of: Sizes) -> Size:
    """Every subset of the set, or of the block, with every seed."""
    one = settings["problem"]["sets"][settings["set_name"]]
    subsets = one["subsets"] + (one["role"] == "loo")
    if settings.get("block") is not None:
        subsets = max(0, min(settings["block"], subsets - settings["start"]))
    return _retrained(settings, of, subsets, one["seeds"])


def removal(settings: Mapping[str, Any], of: Sizes) -> Size:
    """The full set, and one for each query, attributor and count."""
    plan = settings["problem"]["removal"]
    subsets = 1 + plan["queries"] * len(plan["methods"]) * len(plan["counts"])
    return _retrained(settings, of, subsets, plan["seeds"])


def _retrained(settings: Mapping[str, Any], of: Sizes, subsets: int, seeds: int) -> Size:
    amount = subsets * seeds * of.run(settings["problem"]["recipe"])
    # Losses in double precision, masks of a byte, and four models.
    written = 2 * subsets * seeds * of.queries + subsets * of.train / 4 + 4 * of.parameters
    return Size(amount, written)


def calibrate(settings: Mapping[str, Any], of: Sizes) -> Size:
    """The curvature, and pilots at every batch size."""
    goal = settings["sampled"]["goal"]
    pilots = sum(
        PILOTS * of.chains(goal["pilot_chains"], PILOT_DRAWS, batch)
        for batch in goal["batch_sizes"]
    )
    return Size(CURVATURE * of.train * GRADIENT * of.forward + pilots, RECORD)


def sample(settings: Mapping[str, Any], of: Sizes) -> Size:
    """One setting's chains; scores and errors of two forms of the influence."""
    return Size(_chains(settings, of), 2 * 2 * 2 * of.train * of.queries)


def _chains(settings: Mapping[str, Any], of: Sizes) -> float:
    sampled = settings["sampled"]
    batch = min(sampled["goal"]["batch_sizes"], key=lambda size: size or of.train)
    return of.chains(sampled["chains"], sampled["draws"], batch)


def attribute(settings: Mapping[str, Any], of: Sizes) -> Size | None:
    """All settings of one attributor; scores and errors in double precision."""
    amount = _attributed(settings, of)
    written = SETTINGS * 2 * 2 * of.train * of.queries
    return None if amount is None else Size(amount, written)


def mislabel(settings: Mapping[str, Any], of: Sizes) -> Size | None:
    """One setting; every training sample is a query as well."""
    if settings["method"] == "bif":
        amount: float | None = CURVATURE * of.train * GRADIENT * of.forward + _chains(settings, of)
    else:
        amount = _attributed(settings, of._replace(queries=of.queries + of.train))
    return None if amount is None else Size(amount, 4 * of.train)


def _attributed(settings: Mapping[str, Any], of: Sizes) -> float | None:
    recipe, both = settings["problem"]["recipe"], of.train + of.queries
    gradients = both * GRADIENT * of.forward
    products = 2.0 * of.train * of.queries * of.parameters
    members = 1 if of.newton else recipe["members"]
    checkpoints = 1 if of.newton else len(recipe["checkpoints"])
    matrix = of.train * CLASSES * 2.0 * of.parameters**2 + of.parameters**3
    known = {
        # Two passes over all classes of every sample, then products at every damping.
        "ekfac": 2 * CLASSES * of.train * GRADIENT * of.forward + SETTINGS * (gradients + products),
        "trak": members * (gradients + 2.0 * both * of.parameters * PROJECTED),
        "tracin": checkpoints * (gradients + products),
        "gradient_similarity": gradients + products,
        "representation": both * of.forward,
        "random": of.train * of.queries * float(SETTINGS),
        "exact_ggn": matrix + gradients + SETTINGS * products,
        "exact_hessian": of.parameters * of.train * 2 * GRADIENT * of.forward + 9 * matrix,
    }
    return known.get(settings["method"])


Counted = Callable[[Mapping[str, Any], Sizes], Size | None]
COUNTED: dict[str, Counted] = {
    "retraining_train": train,
    "retraining_targets": targets,
    "retraining_block": targets,
    "retraining_removal": removal,
    "retraining_calibrate": calibrate,
    "retraining_sample": sample,
    "retraining_attribute": attribute,
    "retraining_mislabel": mislabel,
}


def counted(rule: str, settings: Mapping[str, Any]) -> Size | None:
    """Return the size of a job of retraining, or None where it is not known."""
    of = sizes_of(settings["problem"])
    return None if of is None else COUNTED[rule](settings, of)
