"""The console script ``stagewise``: every stage as a sub-command, for people.

Rules call ``python -m stagewise.cli.<stage>`` instead: each loads only what it needs, and one can
say which files it runs. Here, too, a sub-command is imported only when it is called.
"""

import ast
import importlib
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

Main = Callable[[Sequence[str] | None], int]

_FOLDER = Path(__file__).parent
_GUARD = '\nif __name__ == "__main__":'
#: What `workflow` becomes is no command of its own.
_OTHERS = (Path(__file__), _FOLDER / "scheduler.py")


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
        if path not in _OTHERS and _GUARD in path.read_text(encoding="utf-8")
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
    # By name, so that a new stage needs no entry here; no rule runs this module.
    return importlib.import_module(f"stagewise.cli.{name}").main
