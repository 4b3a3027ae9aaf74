"""A plan is read off a dry run; costs follow from what like jobs took, and it says how."""

import math
from pathlib import Path
from typing import get_args

import pytest
import torch

from stagewise.baselines import gradient_gram as gram
from stagewise.cli.plan_costs import START, Estimator, sizes
from stagewise.cli.plan_jobs import Job, dry_run, parse
from stagewise.cli.plan_rates import Rates, measured_rates
from stagewise.cli.plan_records import Measured, measured, read_record, write_record
from stagewise.cli.plan_report import report
from stagewise.cli.plan_retraining import GRADIENT
from stagewise.cli.plan_work import GRAM_BYTES, PYTHIA, PYTHIA_VOCABULARY, gram_passes, work
from stagewise.cli.vision_data import _glyphs
from stagewise.config.retraining import SAMPLED, Method
from stagewise.config.vision import DataStage, GlyphSource
from stagewise.errors import ConfigError, SchemaError
from stagewise.files import WENT_ON
from stagewise.models.flops import resnet9_flop, sequence_flop
from stagewise.models.googlenet import build
from stagewise.storage import studies
from stagewise.storage.images import HELD, TRAIN
from stagewise.storage.metrics import number

METHODS = [one for one in get_args(Method) if one not in SAMPLED]

SAMPLING = (
    '{"name": "balanced", "sampling": {"burn_in": 20, "chains": CHAINS, "draws": 12, "seeds": [0],'
    ' "spacing": 5, "stride": 2}, "training": {"checkpoints": 9, "hidden": 10}, "tree":'
    ' {"branching": [2, 2, 2], "nested": null}}'
)
EIGHT = SAMPLING.replace("CHAINS", "8")
PLAN = f"""\
rule toy_sample:
    input: results/toy/training.nc, src/stagewise/cli/toy_sample.py
    output: results/toy/trace.nc
    log: results/logs/toy_sample/a.log
    jobid: 3
    benchmark: results/benchmarks/toy_sample/a.tsv
    reason: Forced execution
    resources: tmpdir=/tmp, mem_mb=3000, runtime=60
Shell command: python -m stagewise.cli.toy_sample --settings '{EIGHT}' --out x > y 2>&1

[Fri Nov 27 05:38:26 2026]
rule toy_estimate:
    input: results/toy/trace.nc, src/stagewise/cli/toy_estimate.py
    output: results/toy/bif.nc
    benchmark: results/benchmarks/toy_estimate/a.tsv
    threads: 2
    resources: tmpdir=/tmp, mem_mb=1000, runtime=10, gpu=0
Shell command: python -m stagewise.cli.toy_estimate --trace results/toy/trace.nc > y 2>&1

[Fri Nov 27 05:38:26 2026]
rule all:
    input: results/toy/bif.nc
    jobid: 0
Shell command: None
"""


def jobs(chains: int = 8) -> list[Job]:
    return parse(PLAN.replace('"chains": 8', f'"chains": {chains}'))


def known(of: list[Job]) -> list[Measured]:
    """What two jobs took: 40 CPU seconds and 1 MB, 10 CPU seconds and 1 kB."""
    counted = sizes(of)
    sample, estimate = of
    size = counted[sample.key]
    return [
        Measured(sample.key, sample.rule, sample.identity(), 44, 40, 700, 10, 10**6,
                 work=size.amount, written=size.written),
        Measured(estimate.key, estimate.rule, estimate.identity(), 11, 10, 500, 10**6, 10**3),
    ]  # fmt: skip


def test_jobs_are_read_from_what_snakemake_prints() -> None:
    """Catches code taken for data, and rules that only name targets taken for jobs."""
    sample, estimate = jobs()
    assert (sample.key, sample.rule) == ("toy_sample/a", "toy_sample")
    assert sample.inputs == ("results/toy/training.nc",)
    assert (sample.threads, sample.gpus, sample.memory_mb, sample.runtime) == (1, 0, 3000, 60)
    assert sample.settings["sampling"]["chains"] == 8
    assert (estimate.threads, estimate.settings) == (2, {})


def test_equal_work_costs_what_was_measured() -> None:
    planned = jobs()
    estimator = Estimator(planned, known(planned), Rates(1e12, {}))
    costs = [estimator.cost(job) for job in planned]
    assert [cost.basis for cost in costs] == ["measured", "measured"]
    assert [3600 * cost.cpu_hours for cost in costs] == pytest.approx([40, 10])
    assert [cost.written for cost in costs] == [10**6, 10**3]
    assert costs[0].memory_mb == 700


def test_more_work_costs_more_and_so_does_what_reads_it() -> None:
    """Four times the chains: all but the start takes four times as long, files grow as much."""
    small, large = jobs(8), jobs(32)
    estimator = Estimator(large, known(small), Rates(1e12, {}))
    sample, estimate = (estimator.cost(job) for job in large)
    assert (sample.basis, sample.factor) == ("scaled", 4.0)
    assert 3600 * sample.cpu_hours == pytest.approx(START + 4 * (40 - START))
    assert sample.written == pytest.approx(4e6)
    assert sample.memory_mb > 700
    assert (estimate.basis, estimate.factor) == ("scaled", 4.0)
    assert 3600 * estimate.cpu_hours == pytest.approx(START + 4 * (10 - START))


def test_what_was_never_measured_is_said_to_be_unknown() -> None:
    planned = jobs()
    text = report(
        "t", [(job, Estimator(planned, [], Rates(1e12, {})).cost(job)) for job in planned], [], "r"
    )
    assert "2 jobs,     - h, not known" in text
    assert "toy_estimate, toy_sample" in text


def test_a_gpu_job_is_counted_by_its_operations() -> None:
    """Pythia-14M: minibatches of gradients, and forward passes over what is recorded."""
    corpus = {"source": {"length": 512}}
    sampling = dict(batch_size=32, burn_in=100, chain_block=4, chains=16, draws=250, spacing=2)
    sampling |= {"prior_draws": 100, "recorded": 128}
    network = {"kind": "pretrained", "model": "EleutherAI/pythia-14m"}
    settings = {"network": network, "sampling": sampling, "steps": [512]}
    job = jobs()[0]._replace(rule="language_sample", settings=settings, gpus=1)
    size = work(job, lambda rule: corpus if rule == "language_corpus" else None)
    passes = 4 * ((100 + 250 * 2) * 32 * 3 + (250 + 100) * 128)
    assert size.amount == passes * sequence_flop(*PYTHIA["14m"], 4, PYTHIA_VOCABULARY, 512)
    assert size.flop
    assert size.written == 4 * 350 * 128 * 512
    unknown = {**settings, "network": {"kind": "pretrained", "model": "somebody/else"}}
    assert work(job._replace(settings=unknown), lambda rule: corpus) is None


def test_the_largest_job_is_held_against_what_it_asks_for() -> None:
    """4000 times the chains: neither an hour nor 3 GB will do."""
    small, large = jobs(8), jobs(32000)
    estimator = Estimator(large, known(small), Rates(1e12, {}))
    text = report("t", [(job, estimator.cost(job)) for job in large], [], "r")
    assert "Longer than the `runtime` that they ask for: toy_estimate, toy_sample." in text
    assert "Larger than the `mem_mb` that they ask for: toy_estimate, toy_sample." in text


def test_benchmarks_and_sizes_of_files_are_read_and_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Catches jobs without an output, "NA" of short ones, and times of the rest of resumed ones."""
    monkeypatch.chdir(tmp_path)
    planned = jobs()
    for job in planned:
        path = Path(job.benchmark)
        path.parent.mkdir(parents=True)
        path.write_text("s\tmax_rss\tcpu_time\n12.5\tNA\t11.0\n")
    Path("results/toy").mkdir()
    Path(planned[0].outputs[0]).write_bytes(b"x" * 100)
    (found,) = measured(planned, sizes(planned))
    assert (found.key, found.seconds, found.cpu_seconds) == ("toy_sample/a", 12.5, 11.0)
    assert (found.memory_mb, found.bytes_in, found.bytes_out) == (0.0, 0, 100)
    log = Path("results/logs/toy_sample/a.log")
    log.parent.mkdir(parents=True)
    log.write_text("step 3 of 9\n")
    assert measured(planned, sizes(planned)) == [found]
    log.write_text(f"{WENT_ON}\nstep 9 of 9\n")
    assert measured(planned, sizes(planned)) == []
    write_record([found], Path("costs.json"), commit="abc", date="2026-01-01")
    assert read_record(Path("costs.json")) == ([found], {"commit": "abc", "date": "2026-01-01"})
    Path("costs.json").write_text('{"jobs": [{"key": 1}]}')
    with pytest.raises(SchemaError, match=r"costs\.json is no record.*plan --record"):
        read_record(Path("costs.json"))


def test_it_says_where_it_must_be_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match="no Snakefile here"):
        dry_run(["all"], None)


def test_the_nearest_measurement_is_scaled() -> None:
    """Catches extrapolation from a far job where a near one was measured."""
    small, middle, large = jobs(8), jobs(32), jobs(64)
    near = known(middle)[0]._replace(key="toy_sample/b", cpu_seconds=100)
    estimator = Estimator(
        large, [known(small)[0]._replace(key="toy_sample/c"), near], Rates(1e12, {})
    )
    assert math.isclose(estimator.cost(large[0]).factor, 2.0)


def retraining(rule: str, **update: object) -> Job:
    """A job on CIFAR-10 as config/paper.yaml has it, with few subsets."""
    problem = {
        "network": {"kind": "resnet9", "widths": [64, 128, 256, 128]},
        "train": 50000,
        "queries": 200,
        "recipe": {
            "kind": "descent",
            "steps": 100,
            "batch_size": 512,
            "members": 5,
            "checkpoints": [50, 100],
        },
        "sets": {"scored_a50": {"role": "scored", "subsets": 10, "seeds": 5}},
    }
    return jobs()[0]._replace(rule=rule, settings={"problem": problem, **update}, gpus=1)


def test_retraining_is_counted_step_by_step() -> None:
    """Catches blocks that count as the whole set, and the last one as a full one."""
    forward, parameters = resnet9_flop((64, 128, 256, 128))
    # 0.29 billion multiply-adds.
    assert (parameters, forward) == (2_274_880, pytest.approx(0.58e9, rel=0.01))
    one = 100 * 512 * 3 * forward
    found = [
        work(retraining("retraining_block", set_name="scored_a50", start=start, block=4), _nothing)
        for start in (0, 8)
    ]
    assert [size.amount for size in found] == [4 * 5 * one, 2 * 5 * one]
    whole = work(retraining("retraining_targets", set_name="scored_a50"), _nothing)
    assert whole.amount == 10 * 5 * one
    assert work(retraining("retraining_train", labels="clean"), _nothing).amount == 5 * one
    job = retraining("retraining_block", set_name="scored_a50", start=0, block=4)
    cost = Estimator([job], [], Rates(1e12, {})).cost(job)
    assert cost.basis == "counted"
    assert cost.gpu_hours == pytest.approx(20 * one / 1e12 / 3600)


@pytest.mark.parametrize("method", [*METHODS, *SAMPLED])
def test_every_attributors_work_is_known(method: str) -> None:
    sampled = {"goal": {"batch_sizes": [512]}, "chains": 16, "draws": 100}
    rule = "retraining_sample" if method in SAMPLED else "retraining_attribute"
    size = work(retraining(rule, method=method, sampled=sampled, setting=0), _nothing)
    assert size.amount > 0
    assert size.written >= 8 * 50000 * 200


def test_language_models_have_the_rate_that_was_measured(tmp_path: Path) -> None:
    """Half a second for 8 sequences of 128 tokens; and nothing where there is no record."""
    numbers = {"scaling.bif.step.1b4": 0.5, "scaling.protocol.batch": 8}
    numbers |= {"scaling.protocol.length": 128}
    record = {name: number(value, source="scaling") for name, value in numbers.items()}
    path = tmp_path / "gpu.json"
    studies.write(studies.StudyRecord("abc", "2026-01-01", record, "a GPU"), path)
    rates = measured_rates(path, 1e12)
    step = 8 * 3 * sequence_flop(24, 2048, 4, PYTHIA_VOCABULARY, 128)
    assert rates.by_size == {"1.4b": pytest.approx(step / 0.5)}
    job = jobs()[0]
    named = job._replace(settings={"network": {"model": "EleutherAI/pythia-1.4b"}})
    assert (rates.of(named), rates.of(job)) == (rates.by_size["1.4b"], 1e12)
    assert rates.device == "a GPU"
    assert measured_rates(tmp_path / "none.json", 1e12) == Rates(1e12, {})


def _nothing(rule: str) -> None:
    return None


def test_glyphs_are_counted_as_they_are_rendered() -> None:
    """Catches a face, a rendering or a letter that is forgotten, against the stage's own set."""
    source = {"kind": "glyphs", "letters": 8, "homoglyph_pairs": 1, "held_faces": 13}
    source |= {"renderings": 2, "held_renderings": 3, "size": 16}
    data, _ = _glyphs(
        DataStage(source=source, recorded=26, seed=1), GlyphSource.model_validate(source)
    )
    count = data["split"].to_series().value_counts()
    job = jobs()[0]._replace(rule="vision_data", settings={"source": source})
    size = work(job, _nothing)
    assert size.amount == (count[TRAIN] + count[HELD]) * source["size"] ** 2
    training = job._replace(rule="vision_train", settings={"network": {"epochs": 5}})
    given = {"vision_data": {"source": source, "recorded": 26}}
    one = work(training, lambda rule: given[rule]).amount
    forward = work(
        job._replace(rule="vision_similarity", settings={"step": 3}), lambda rule: given[rule]
    ).amount / (2 * 26)
    assert one == 5 * count[TRAIN] * GRADIENT * forward


def test_products_of_gradients_take_the_passes_that_are_made() -> None:
    """Against the code's own blocks and groups, with GoogLeNet's own layers.

    Layers in their order leave less than half of any two groups' room, and the last of three or
    more blocks may be next to empty: by no more than that is the count off.
    """
    module = build(4).eval().requires_grad_(False)
    layers = {
        name: layer
        for name, layer in module.named_modules()
        if next(layer.parameters(recurse=False), None) is not None
    }
    edge = 64
    one = torch.zeros(1, 3, edge, edge), torch.zeros(1, dtype=torch.long)
    small = gram._sizes(module, *one, layers)
    for recorded, size in ((520, 32), (10_000, 224)):
        sizes = {name: of * size**2 // edge**2 for name, of in small.items()}
        most = gram._most_samples(sizes, GRAM_BYTES)
        pairs = list(gram._pairs_of_blocks(recorded, most))
        groups = gram._groups(sizes, len(pairs[0]), GRAM_BYTES)
        made = sum(map(len, pairs)) * len(groups)
        assert made / 2 < gram_passes(recorded, size) < 1.5 * made
