"""Every rule keeps the house rules; read from its text, so that none can forget one."""

import ast
import importlib
import re
import shlex
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest
import yaml

from stagewise.cli.stage import read_flags
from stagewise.plotting.catalogue import FIGURES
from support.repository import ROOT
from support.workflow import Copy, copy_repository, count_jobs

FILES = (ROOT / "Snakefile", *sorted((ROOT / "workflow" / "rules").glob("*.smk")))
CONFIGS = sorted(path.stem for path in (ROOT / "config").glob("*.yaml"))
BLOCK = re.compile(r"^(?:use )?rule (?P<name>\w+)[^\n]*:\n(?P<body>(?:(?: {4}[^\n]*)?\n)+)", re.M)
#: Parameters that are a flag and its values, or nothing.
FLAGS = {"calibration", "mislabel", "search", "checkpoints"}
FORBIDDEN = ("run", "script", "notebook", "wrapper", "checkpoint", "scattergather")


def rules() -> dict[str, str]:
    """Text of every rule by name."""
    found = {}
    for path in FILES:
        for match in BLOCK.finditer(path.read_text(encoding="utf-8") + "\n"):
            heading = match.group(0).partition("\n")[0]
            base = re.match(r"use rule (\w+) as (\w+) with", heading)
            found[base[2] if base else match["name"]] = match["body"]
    return found


RULES = rules()
WORKING = {name: body for name, body in RULES.items() if "    output:" in body}
CALLING = {name: body for name, body in RULES.items() if "    shell:" in body}


def stages_named(body: str, pattern: str) -> set[str]:
    return set(re.findall(pattern, body))


def test_they_are_found() -> None:
    assert {"all", "toy", "figures", "tables", "studies", "paper", "numbers"} <= set(RULES)
    jobs = ("train", "exact", "calibrate", "sample", "table", "grid_study")
    assert {f"problem_{job}" for job in jobs} <= set(RULES)
    assert len(CALLING) > 15


def test_rule_all_stands_in_the_main_file() -> None:
    """A Snakefile of includes alone builds nothing and exits with 0."""
    main = (ROOT / "Snakefile").read_text(encoding="utf-8")
    assert re.search(r"^rule all:\n    default_target: True\n", main, flags=re.MULTILINE)
    assert "min_version(" in main


@pytest.mark.parametrize("name", WORKING)
def test_every_working_rule_has_a_log_a_benchmark_and_code_as_input(name: str) -> None:
    body = WORKING[name]
    for directive in ("log", "benchmark", "input"):
        assert f"    {directive}:" in body, directive
    (stage,) = stages_named(body, r'code=code\("stagewise\.cli\.(\w+)"\)')
    digests = stages_named(body, r'code=digest\("stagewise\.cli\.(\w+)"\)')
    assert digests <= {stage}
    if name in CALLING:
        assert digests == {stage}
        assert stages_named(body, r"python -m stagewise\.cli\.(\w+)") == {stage}


@pytest.mark.parametrize("name", WORKING)
def test_the_log_lies_where_the_benchmark_lies(name: str) -> None:
    """Catches a job whose resumption `stagewise.storage.benchmarks.went_on` would not find."""
    (log,) = re.findall(r"    log:\s+f?\"(.*)\",", WORKING[name])
    (benchmark,) = re.findall(r"    benchmark:\s+f?\"(.*)\"", WORKING[name])
    assert benchmark == log.replace("<logs>", "<benchmarks>").removesuffix(".log") + ".tsv"


@pytest.mark.parametrize("name", CALLING)
def test_every_calling_rule_has_threads_resources_and_both_streams_in_its_log(name: str) -> None:
    body = CALLING[name]
    for directive in ("threads", "resources", "conda"):
        assert f"    {directive}:" in body, directive
    # A number, or what a function of the rule's act makes of the job.
    value = r"(\d+|[a-z]\w*|[a-z]\w*\(\d+(, \d+)?\)),"
    assert re.search(f"mem_mb={value}", body)
    assert re.search(f"runtime={value}", body)
    command = "".join(
        ast.literal_eval(part) for part in re.findall(r'^        (".*")$', shell(body), re.M)
    )
    assert command.endswith(" > {log:q} 2>&1")
    assert not re.search(r"\{(?!input|output|params|wildcards|threads|log)", command)
    assert not re.search(r"\{(input|output|params)[.\w]*\}", command)


def shell(body: str) -> str:
    return body.partition("    shell:\n")[2]


def test_no_rule_does_what_cannot_be_pasted_or_tracked() -> None:
    for path in FILES:
        text = path.read_text(encoding="utf-8")
        for word in FORBIDDEN:
            assert not re.search(rf"^ *{word}\b[^=\n]*:", text, flags=re.MULTILINE), (
                path.name,
                word,
            )


def test_settings_reach_a_job_as_one_parameter() -> None:
    """Snakemake compares a job's parameters as a set of values: two of them could swap.

    Flags that not every job of a rule has are parameters that begin with their own name.
    """
    for name, body in WORKING.items():
        parameters = re.search(r"    params:\n((?:        [^\n]*\n)+)", body)
        names = re.findall(r"^        (\w+)=", parameters[1], re.M) if parameters else []
        assert set(names) - FLAGS <= {
            "settings",
            "code",
            "scratch",
            "folder",
            "name",
            "source",
        }, name
        for flag in FLAGS & set(names):
            assert name not in CALLING or f'["--{flag}", ' in body, (name, flag)


def test_wildcards_are_constrained() -> None:
    used = set()
    for path in FILES:
        used |= set(re.findall(r"wildcards\.(\w+)|\bw\.(\w+)", path.read_text(encoding="utf-8")))
    names = {first or second for first, second in used}
    text = "".join(path.read_text(encoding="utf-8") for path in FILES)
    constrained = "".join(re.findall(r"wildcard_constraints:\n((?:    [^\n]*\n)+)", text))
    assert names
    assert {name for name in names if f"    {name}=" not in constrained} == set()


def test_every_figure_names_the_tables_that_it_draws() -> None:
    text = (ROOT / "workflow" / "rules" / "figures.smk").read_text(encoding="utf-8")
    literals = re.findall(
        r"^(?:STUDY_|RECORD_|BRANCH_|JUDGED_|SCALING_)?FIGURES = (\{.*?^\})",
        text,
        flags=re.MULTILINE | re.DOTALL,
    )
    assert len(literals) == 6
    named = {key: one for literal in literals for key, one in ast.literal_eval(literal).items()}
    assert {name: set(tables) for name, tables in named.items()} == {
        name: set(entry.tables) for name, entry in FIGURES.items()
    }
    captions = (ROOT / "workflow" / "report" / "figure.rst").read_text(encoding="utf-8")
    assert set(re.findall(r'^  "(\w+)": "', captions, flags=re.MULTILINE)) == set(named)


def profiles() -> list[Path]:
    return sorted((ROOT / "profiles").glob("*/profile.yaml"))


@pytest.mark.parametrize("path", profiles(), ids=lambda path: path.parent.name)
def test_every_profile_repeats_what_every_run_needs(path: Path) -> None:
    """--workflow-profile replaces the default one, so that nothing is inherited."""
    profile = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert profile["rerun-incomplete"] is True
    assert profile["resources"]["gpu"] >= 1
    assert profile["max-checksum-file-size"] >= 10**10
    assert set(profile["rerun-triggers"]) == {"code", "input", "mtime", "params", "software-env"}


def test_there_is_one_profile_a_folder_and_a_default() -> None:
    assert ROOT / "profiles/default/profile.yaml" in profiles()
    for folder in (ROOT / "profiles").iterdir():
        assert [file.name for file in folder.iterdir()] == ["profile.yaml"]


def test_the_groups_of_the_slurm_profile_are_of_rules_that_exist() -> None:
    """Snakemake says nothing of a name that it does not know, and submits the jobs one by one."""
    profile = yaml.safe_load((ROOT / "profiles/slurm/profile.yaml").read_text(encoding="utf-8"))
    groups = dict(entry.split("=") for entry in profile["groups"])
    assert set(groups) <= set(CALLING)
    assert len(groups) == len(profile["groups"])
    sizes = dict(entry.split("=") for entry in profile["group-components"])
    assert set(sizes) <= set(groups.values())
    assert all(int(size) > 1 for size in sizes.values())
    # Snakemake adds up the GPUs of jobs that are submitted together, which run one after another.
    on_gpus = {name for name, body in CALLING.items() if "gpu=" in body}
    assert {name for name in on_gpus if groups.get(name) in sizes} == set()


def test_a_submitted_job_has_the_limits_of_the_run_that_submitted_it(tmp_path: Path) -> None:
    """Else its threads would be those of its node, and it would ask for a GPU that it has not."""
    copy = copy_repository(tmp_path)
    targets = ("toy/numbers_throughput.json", "language/pythia_14m/seed0/training.nc")
    plan = ["-n", *(f"results/paper/{name}" for name in targets), "--configfile"]
    plan += ["config/paper.yaml", "--cores", "4"]
    limits = {"STAGEWISE_CORES": "3", "STAGEWISE_GPUS": "0"}
    for mode, cores, gpus in (("default", 4, 1), ("remote", 3, 0)):
        inherited = Copy(copy.folder, copy.environment | limits)
        said = inherited.run(inherited.command(*plan, "--mode", mode))
        assert set(re.findall(r"threads: (\d+)", said)) == {str(cores)}
        assert set(re.findall(r"gpu=(\d+)", said)) == {str(gpus)}


def test_rules_ask_for_no_less_than_was_measured(tmp_path: Path) -> None:
    """The table of docs/cluster.md against what jobs ask Slurm for, studies' jobs among them."""
    page = (ROOT / "docs/cluster.md").read_text(encoding="utf-8")
    row = r"^\| (\w+) \| \d+ \| (\d+) s \| \d+ s \| (\d+) MB \|$"
    rows = re.findall(row, page, flags=re.MULTILINE)
    copy = copy_repository(tmp_path)
    plan = copy.run(copy.command("-n", "all", "studies"))
    asked = {}
    for block in plan.split("\n\n"):
        rule = re.search(r"^(?:local)?rule (\w+):$", block, flags=re.MULTILINE)
        minutes, memory = (re.search(rf"{name}=(\d+)", block) for name in ("runtime", "mem_mb"))
        if rule and minutes and memory:
            asked[rule[1]] = int(minutes[1]), int(memory[1])
    assert len(rows) > 10
    for rule, seconds, megabytes in rows:
        minutes, memory = asked[rule]
        assert int(seconds) < 60 * minutes, rule
        assert int(megabytes) < memory, rule


@pytest.fixture(scope="module")
def plan(fresh: Copy) -> Callable[[str], str]:
    """What a dry run of all targets prints under a configuration, asked for once."""

    @cache
    def ask(config: str) -> str:
        targets = ("all", "studies", "studies_retraining")
        return fresh.run(fresh.command("-n", *targets, "--configfile", f"config/{config}.yaml"))

    return ask


@pytest.mark.parametrize("config", CONFIGS)
def test_every_configuration_makes_a_plan(plan: Callable[[str], str], config: str) -> None:
    jobs = count_jobs(plan(config))
    assert jobs["all"] == jobs["studies"] == jobs["studies_retraining"] == 1
    assert jobs["study_numbers"] > 4
    assert jobs["toy_sample"] > 1


@pytest.mark.parametrize("config", ["default", "smoke"])
def test_every_printed_command_has_the_flags_and_settings_of_its_stage(
    plan: Callable[[str], str], config: str
) -> None:
    """Reads them as the stage would, without running it: one job a rule is enough."""
    commands = re.findall(
        r"python -m stagewise\.cli\.(\w+) (.*) > \S+ 2>&1$", plan(config), flags=re.MULTILINE
    )
    assert len(dict(commands)) > 15
    for stage, flags in dict(commands).items():
        module = importlib.import_module(f"stagewise.cli.{stage}")
        read_flags(getattr(module, stage), shlex.split(flags))
