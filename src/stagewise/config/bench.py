"""Settings of the speed bench."""

from typing import Annotated, Literal

from pydantic import Field

from stagewise.config.base import Count, Positive, Strict

Sampler = Literal["stagewise", "devinterp", "posteriors", "vmap"]
Workload = Literal["toy", "mlp", "neox", "googlenet"]
Axis = Literal["chains", "draws", "recorded", "hidden"]


class Workshop(Strict):
    """One workload: what is sampled, how, and how often it is timed."""

    #: Checkpoints sampled at once.
    checkpoints: Count = 1
    #: Hidden units, or the transformer's width; 0 where the network has one size only.
    hidden: Annotated[int, Field(ge=0)] = 0
    #: Tokens of a sequence, where there are sequences.
    length: Count = 1
    #: Samples, where data are made up.
    samples: Count = 1
    #: Samples whose losses are recorded at each draw.
    recorded: Count
    #: Chains per checkpoint.
    chains: Count
    #: Chains, and checkpoints, of samplers that run one after another: their cost per chain-draw
    #: does not depend on it.
    chains_one_by_one: Count
    checkpoints_one_by_one: Count = 1
    #: Draws of theirs; null for as many. What each chain costs once must not drown the slope.
    draws_one_by_one: Count | None = None
    #: Samples per minibatch; null for full gradients.
    batch: Count | None
    #: Inverse temperature times n.
    n_beta: Positive
    #: Per squared unit of weight.
    localization: Positive
    #: Of the Langevin steps, in squared units of weight.
    step_size: Positive
    #: Steps before the first draw's own.
    burn_in: Annotated[int, Field(ge=0)]
    #: Steps per draw.
    spacing: Count
    #: Draws N of the first of two runs; the second has 2 N.
    draws: Count
    #: Opponents' deterministic steps may differ from ours by this share of the step's length.
    step_error: Positive = 1.0e-3
    #: Rounds in which every sampler is timed once, in turn.
    rounds: Count


class Share(Strict):
    """A model whose draws are compared with the machine's matrix products."""

    #: Workload whose settings it takes.
    workload: Workload
    #: Width, where it is not the workload's.
    hidden: Annotated[int, Field(ge=0)]
    #: Timed repetitions.
    draws: Count


class BenchSettings(Strict):
    """The whole bench."""

    #: Torch's threads, in every process.
    threads: Count
    #: Samplers in the order in which they are timed.
    samplers: tuple[Sampler, ...] = Field(min_length=1)
    #: Opponents agree if their mean excess losses differ by at most so many standard errors.
    standard_errors: Positive
    workloads: dict[Workload, Workshop]
    #: Least ratio of marginal costs that this project sets itself, by workload and opponent.
    reaches: dict[Workload, dict[Sampler, Positive]]
    #: Least share of the rate of matrix products.
    share_reach: Positive
    #: Cost curves of this project's sampler on the perceptron: values of each axis.
    scaling: dict[Axis, tuple[Count, ...]]
    #: Draws of each point of the curves.
    scaling_draws: Count
    #: By the name that the numbers bear.
    shares: dict[Workload, Share]


class BenchJob(Strict):
    """One job of the workflow: a workload, or the cost curves."""

    seed: Annotated[int, Field(ge=0)]
    #: Workload whose samplers are compared; null for the cost curves.
    workload: Workload | None = None
    bench: BenchSettings

    def shares(self) -> dict[str, Share]:
        """Return the shares of the machine that are measured on this workload."""
        return {
            name: one for name, one in self.bench.shares.items() if one.workload == self.workload
        }
