"""Record the numbers of a long study, of the bench or of Slurm, in paper/expected."""

import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from stagewise.cli.expected import refuse_other_settings
from stagewise.cli.stage import stage
from stagewise.storage import studies
from stagewise.storage.metrics import read_numbers

#: Targets of make that are not called like the record of their numbers.
TARGETS = {"cluster": "test-cluster"}


def expected_studies(
    numbers: Path,
    settings_file: Path,
    default: Path = Path("config/default.yaml"),
    out: Path = Path("paper/expected/studies.json"),
    over: Path | None = None,
    study: str = "",
) -> None:
    """Copies the numbers of a study (or the bench) into the record that the paper prints.

    With them go the commit of the working folder and the day. ``--study`` names one of several that
    share the record: the others' numbers stay. Refused if the settings are not those of
    ``--default``, with ``--over`` laid over it. A record that holds these very numbers stays as it
    is, so that it keeps the commit and the day on which they were found: delete it to date them
    anew.
    """
    found = read_numbers(numbers)
    refuse_other_settings(settings_file, default, f"make {TARGETS.get(out.stem, out.stem)}", over)
    old = studies.read(out) if out.is_file() else None
    if old is not None and _held(old, study) == found:
        print(f"expected_studies: {out} holds these {len(found)} numbers already")
        return
    record = studies.StudyRecord(working_commit(out.parent), f"{datetime.now(UTC):%Y-%m-%d}", found)
    studies.write(studies.with_part(old, study, record) if study else record, out)
    print(f"expected_studies: {len(found)} numbers of {record.commit} recorded in {out}")


def _held(record: studies.StudyRecord, study: str) -> dict[str, dict[str, Any]]:
    """Returns what a record holds of a study; all of it where there are no studies."""
    if not study:
        return record.numbers
    return {key: record.numbers[key] for key in record.parts.get(study, {}).get("keys", [])}


def working_commit(records: Path) -> str:
    """Returns the commit of the working folder; "unknown" outside a repository.

    It ends in ``-dirty`` if any file differs from it, new ones included; the folder of the records
    does not count, as nothing is computed from them.
    """
    head = _git("rev-parse", "--short=12", "HEAD")
    if not head:
        return "unknown"
    changed = _git("status", "--porcelain", "--", ":/", f":(exclude){records}")
    return head if changed == "" else f"{head}-dirty"


def _git(*arguments: str) -> str | None:
    """Returns what a git command prints; None if it fails or there is no git."""
    try:
        done = subprocess.run(["git", *arguments], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()


main = stage(expected_studies)

if __name__ == "__main__":
    sys.exit(main())
