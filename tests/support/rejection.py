"""A statistical test runs as it is and must pass, then with each bug it names and must reject."""

import inspect
from collections.abc import Callable
from typing import Any

import pytest

from support import mutants_estimators, mutants_modules  # noqa: F401  (they fill the table)
from support.mutants import MUTANTS
from support.statistics import Rejected


def rejects(*names: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Makes one test of a body and of every mutant it names.

    The body runs on the package as it stands, and then with one bug planted at a time; then it must
    raise ``Rejected``, not merely some error. Its own arguments stay open to ``parametrize``.
    """

    def decorate(body: Callable[..., None]) -> Callable[..., None]:
        def test(mutant: str | None, monkeypatch: pytest.MonkeyPatch, **arguments: Any) -> None:
            if mutant is None:
                body(**arguments)
                return
            MUTANTS[mutant].plant(monkeypatch)
            try:
                body(**arguments)
            except Rejected:
                return
            pytest.fail(f"accepted although {MUTANTS[mutant].bug}")

        own = inspect.signature(body).parameters.values()
        added = inspect.signature(test).parameters
        test.__signature__ = inspect.Signature(
            [*own, added["mutant"], added["monkeypatch"]], return_annotation=None
        )
        test.__name__, test.__doc__, test.__module__ = body.__name__, body.__doc__, body.__module__
        test.pytestmark = list(getattr(body, "pytestmark", []))
        ids = ["correct", *names]
        return pytest.mark.parametrize("mutant", [None, *names], ids=ids)(test)

    return decorate
