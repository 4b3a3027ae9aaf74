"""The console script ``stagewise``: every stage as a sub-command, for people.

Rules call ``python -m stagewise.cli.<stage>`` instead: each loads only what it needs, and one can
say which files it runs. Here, too, a sub-command is imported only when it is called.
"""

import ast
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

Main = Callable[[Sequence[str] | None], int]

_FOLDER = Path(__file__).parent
_GUARD = '\nif __name__ == "__main__":'


def main(argv: Sequence[str] | None = None) -> int:
    """Runs ``stagewise <command> [its flags]``; without a command, lists them."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if not arguments or arguments[0] in ("-h", "--help"):
        print(usage())
        return 0
    name = arguments[0].replace("-", "_")
    if name not in commands():
        near = ", ".join(command.replace("_", "-") for command in commands())
        print(f"stagewise: no command {arguments[0]!r}; there are {near}", file=sys.stderr)
        return 2
    return load(name)(arguments[1:])


def commands() -> dict[str, Path]:
    """Returns the files of the sub-commands by name: the modules here that can be run."""
    return {
        path.stem: path
        for path in sorted(_FOLDER.glob("*.py"))
        if path != Path(__file__) and _GUARD in path.read_text(encoding="utf-8")
    }


def usage() -> str:
    """Returns the list of sub-commands, each with the first line of its module's text."""
    lines = ["usage: stagewise COMMAND [FLAGS]; `stagewise COMMAND --help` explains its flags", ""]
    for name, path in commands().items():
        text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
        summary = text.partition("\n")[0].removeprefix("Stage: ")
        lines.append(f"  {name.replace('_', '-'):22} {summary}")
    return "\n".join(lines)


def load(name: str) -> Main:
    """Imports one sub-command, and nothing of the others.

    Args:
        name: A key of `commands`.
    """
    return _load_toy(name) if name.startswith("toy_") else _load_general(name)


def _load_general(name: str) -> Main:
    match name:
        case "check":
            from stagewise.cli.check import main
        case "environment":
            from stagewise.cli.environment import main
        case "expected":
            from stagewise.cli.expected import main
        case "expected_studies":
            from stagewise.cli.expected_studies import main
        case "numbers":
            from stagewise.cli.numbers import main
        case "paper":
            from stagewise.cli.paper import main
        case "schema":
            from stagewise.cli.schema import main
        case "timing":
            from stagewise.cli.timing import main
        case "workflow":
            from stagewise.cli.workflow import main
        case _:
            raise LookupError(name)
    return main


def _load_toy(name: str) -> Main:
    match name:
        case "toy_agreement":
            from stagewise.cli.toy_agreement import main
        case "toy_diagnostics":
            from stagewise.cli.toy_diagnostics import main
        case "toy_estimate":
            from stagewise.cli.toy_estimate import main
        case "toy_figure":
            from stagewise.cli.toy_figure import main
        case "toy_law":
            from stagewise.cli.toy_law import main
        case "toy_mixture":
            from stagewise.cli.toy_mixture import main
        case "toy_modes":
            from stagewise.cli.toy_modes import main
        case "toy_representations":
            from stagewise.cli.toy_representations import main
        case "toy_retrain":
            from stagewise.cli.toy_retrain import main
        case "toy_run_tables":
            from stagewise.cli.toy_run_tables import main
        case "toy_sample":
            from stagewise.cli.toy_sample import main
        case "toy_sweep_table":
            from stagewise.cli.toy_sweep_table import main
        case "toy_tables":
            from stagewise.cli.toy_tables import main
        case "toy_throughput":
            from stagewise.cli.toy_throughput import main
        case "toy_train":
            from stagewise.cli.toy_train import main
        case "toy_trajectory":
            from stagewise.cli.toy_trajectory import main
        case "toy_windows":
            from stagewise.cli.toy_windows import main
        case _:
            raise LookupError(name)
    return main
