# What all rules share: the validated config, folders, names, code(). No rules here.
import json
import sys
from pathlib import Path

from pydantic_core import to_jsonable_python
from snakemake.exceptions import WorkflowError

sys.path.insert(0, f"{workflow.basedir}/workflow")

from imports import code, digest

from stagewise.cli.faults import explain, refuse_closed
from stagewise.cli.watchdog import name_myself
from stagewise.config.root import load
from stagewise.errors import ConfigError, StagewiseError

try:
    CONFIG = load(config)
except ConfigError as error:
    # Snakemake prints a WorkflowError as it is, any other exception as a bug.
    raise WorkflowError(str(error)) from None

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


def settings(**parts):
    """The settings of a job as one JSON text: equal settings give equal texts.

    Snakemake compares parameters as a set of values, so that there must be only one of them; and
    it must not be a plain string of the rule, whose braces would be taken for wildcards.
    """
    return json.dumps(to_jsonable_python(parts), sort_keys=True)
