# What all rules share: the validated config, folders, names, code(). No rules here.
import json
import sys
from pathlib import Path

from pydantic_core import to_jsonable_python
from snakemake.exceptions import WorkflowError

sys.path.insert(0, f"{workflow.basedir}/workflow")

from imports import code, digest, hand_down, inherit

from stagewise.cli.faults import explain, refuse_closed
from stagewise.cli.watchdog import name_myself
from stagewise.config.root import load
from stagewise.errors import ConfigError, StagewiseError

try:
    CONFIG = load(config)
except ConfigError as error:
    # Snakemake prints a WorkflowError as it is, any other exception as a bug.
    raise WorkflowError(str(error)) from None

# What stages import is looked up once for each state of the package: jobs on a cluster, and the
# next call, find the answer here.
FOUND_CODE = Path(".snakemake", "stagewise_code.json")
inherit(FOUND_CODE)

# Jobs end when this process does, and run the Python that runs Snakemake.
name_myself()
os.environ.update(
    PATH=os.pathsep.join([str(Path(sys.executable).parent), *os.get_exec_path()])
)


pathvars:
    results=CONFIG.results,
    logs=f"{CONFIG.results}/logs",
    benchmarks=f"{CONFIG.results}/benchmarks",
    tables=(CONFIG.tables or f"{CONFIG.results}/tables").rstrip("/"),
    paper=CONFIG.paper or "paper",


# Wildcards are identities of things in the config, never settings.
wildcard_constraints:
    tree="|".join(CONFIG.toy.trees),
    row="|".join(CONFIG.toy.all_rows()),
    seed=r"\d+",


# What the numbers of the paper are merged from, and the benchmark files of the default run: each
# act adds its own.
NUMBERS = []
BENCHMARKS = []


def start_or_refuse(folders):
    """Stops before the first job where results cannot be written."""
    try:
        refuse_closed(folders)
    except StagewiseError as error:
        raise WorkflowError(str(error)) from None


def of_run(name, value):
    """A limit of the whole run: this Snakemake's, or that of the one that submitted it as a job.

    On a cluster every job parses the workflow again, with the limits of its node. It must come to
    the threads and GPUs that were asked for in its name, and finds them in its environment.
    """
    variable = f"STAGEWISE_{name.upper()}"
    if not workflow.remote_exec:
        os.environ[variable] = str(value)
    return int(os.environ.get(variable, value))


def gpu_limit():
    """GPUs of this Snakemake: as many as jobs ask for, unless `--resources gpu=N` says otherwise."""
    limit = workflow.resource_settings.resources.get("gpu")
    number = getattr(limit, "value", limit)  # none inside a job, and without a profile
    return 1 if number is None else int(number)


# Threads of jobs that have the machine to themselves, and GPUs of jobs that want one: none after
# `--resources gpu=0`.
CORES = of_run("cores", workflow.cores or 1)
GPUS = min(1, of_run("gpus", gpu_limit()))


def settings(**parts):
    """The settings of a job as one JSON text: equal settings give equal texts.

    Snakemake compares parameters as a set of values, so that there must be only one of them; and
    it must not be a plain string of the rule, whose braces would be taken for wildcards.
    """
    return json.dumps(to_jsonable_python(parts), sort_keys=True)
