"""What every stage's command line shares: flags from a signature, errors a user can act on.

A stage is one function whose parameters are its flags::

    def toy_train(settings: Settings, out: Path) -> None:
        \"\"\"Trains the two-layer linear net on one tree, over all seeds.\"\"\"

    main = stage(toy_train)

    if __name__ == "__main__":
        sys.exit(main())

``settings`` (a pydantic model) becomes ``--settings '<json>'``, ``Path``, ``str``, ``int`` and
``float`` a flag with one value, ``list[Path]`` a flag with one or more. A parameter with a default
is optional. Underscores in names become hyphens in flags.
"""

import argparse
import errno
import inspect
import os
import sys
import typing
from collections.abc import Callable, Sequence
from pathlib import Path

from stagewise.cli.watchdog import start_watchdog
from stagewise.config.base import parse_json
from stagewise.errors import StagewiseError

EXIT_USER_ERROR = 2
EXIT_INTERRUPTED = 130
_ONE_VALUE = (Path, str, int, float)


def stage(function: Callable[..., None]) -> Callable[[Sequence[str] | None], int]:
    """Makes the command line of a stage from its function.

    Args:
        function: The stage; annotated as the module's text says, the docstring is the help text.

    Returns:
        ``main(argv=None)``, which runs the stage and returns its exit status: 0, 2 for an error
        that is the user's to fix (one message on stderr), 130 after Ctrl-C. Any other exception
        is a bug and leaves with its traceback.
    """

    def main(argv: Sequence[str] | None = None) -> int:
        start_watchdog()
        limit_torch_threads()
        arguments: dict[str, typing.Any] = {}
        try:
            arguments = read_flags(function, argv)
            function(**arguments)
        except KeyboardInterrupt:
            return _fail(function, "interrupted", EXIT_INTERRUPTED)
        except StagewiseError as error:
            return _fail(function, str(error), EXIT_USER_ERROR)
        except (OSError, MemoryError, RuntimeError) as error:
            message = _disk_message(error, arguments) if isinstance(error, OSError) else None
            if (message := message or _memory_message(error)) is None:
                raise
            return _fail(function, message, EXIT_USER_ERROR)
        return 0

    main.__doc__ = function.__doc__
    return main


def read_flags(
    function: Callable[..., None], argv: Sequence[str] | None = None
) -> dict[str, typing.Any]:
    """Reads a stage's arguments from its command line, each JSON text as its annotation's model.

    Raises:
        ConfigError: A setting is unknown, missing, of the wrong type or out of range.
        SystemExit: A flag is; the usage is on stderr.
    """
    result = vars(_parser(function).parse_args(argv))
    for name, kind in _annotations(function).items():
        if kind != list[Path] and kind not in _ONE_VALUE and isinstance(result[name], str):
            result[name] = parse_json(kind, result[name])
    return result


def limit_torch_threads() -> None:
    """Gives torch the threads of OMP_NUM_THREADS if the stage has loaded it; never loads it."""
    torch = sys.modules.get("torch")
    threads = os.environ.get("OMP_NUM_THREADS", "")
    if torch is not None and threads.isdecimal() and int(threads) > 0:
        torch.set_num_threads(int(threads))


def _parser(function: Callable[..., None]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=f"python -m {_module_name(function)}",
        description=function.__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    optional = _defaults(function)
    for name, kind in _annotations(function).items():
        options: dict[str, typing.Any] = {"required": name not in optional}
        options["default"] = optional.get(name)
        if kind == list[Path]:
            options |= {"nargs": "+", "type": Path, "metavar": "PATH"}
        elif kind in _ONE_VALUE:
            options |= {"type": kind, "metavar": kind.__name__.upper()}
        else:
            options["metavar"] = "JSON"
        parser.add_argument("--" + name.replace("_", "-"), dest=name, **options)
    return parser


def _annotations(function: Callable[..., None]) -> dict[str, typing.Any]:
    """Returns the kind of every flag; ``Path | None`` counts as ``Path``."""
    kinds = typing.get_type_hints(function)
    kinds.pop("return", None)
    for name, kind in kinds.items():
        members = [member for member in typing.get_args(kind) if member is not type(None)]
        if len(members) == 1 and type(None) in typing.get_args(kind):
            kinds[name] = members[0]
    return kinds


def _defaults(function: Callable[..., None]) -> dict[str, typing.Any]:
    parameters = inspect.signature(function).parameters.values()
    return {p.name: p.default for p in parameters if p.default is not p.empty}


def _disk_message(error: OSError, arguments: dict[str, typing.Any]) -> str | None:
    """Words the faults of the disk that a user can mend; None for any other."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"no space left for {error.filename or 'the output'}: free some and run again"
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        place = error.filename or "the output"
        return (
            f"{place} cannot be written or read ({error.strerror}): make it and its folder "
            "writable for you, or set `results` in the config to a folder that is, and run again"
        )
    named = {str(value) for value in arguments.values() if isinstance(value, Path)}
    if isinstance(error, FileNotFoundError) and str(error.filename) in named:
        return f"{error.filename} does not exist: run the stage that makes it first"
    return None


def _memory_message(error: Exception) -> str | None:
    """Words a refused allocation, of numpy, of torch on the CPU or on a GPU; None for any other."""
    out = isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError"
    if not out and "not enough memory" not in str(error):
        return None
    return (
        f"out of memory ({str(error).partition(chr(10))[0] or 'an allocation was refused'}): run "
        "fewer jobs at once (--cores 1), on a machine with more memory, or with smaller blocks of "
        "chains, and run again: it goes on where it was"
    )


def _fail(function: Callable[..., None], message: str, status: int) -> int:
    print(f"{_module_name(function).rpartition('.')[2]}: {message}", file=sys.stderr, flush=True)
    return status


def _module_name(function: Callable[..., None]) -> str:
    """Returns the stage's module, whose ``__name__`` is ``__main__`` under ``python -m``."""
    if function.__module__ != "__main__":
        return function.__module__
    spec = getattr(sys.modules["__main__"], "__spec__", None)
    return spec.name if spec is not None else "__main__"
