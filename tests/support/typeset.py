"""One section of the paper, typeset from records that a test made."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import typst
from pypdf import PdfReader

from support.repository import ROOT

RECORDS = ("numbers", "settings", "studies", "bench", "gpu", "cluster")


def section_text(
    folder: Path, name: str, records: Mapping[str, dict[str, Any]], before: str = ""
) -> str:
    """Typeset sections/<name>.typ alone, after ``before``, and return its text on one line.

    Args:
        folder: To work in.
        name: Of the section's file.
        records: By their names; those not named are empty.
        before: What the section refers to, in Typst's language.
    """
    for record in RECORDS:
        path = folder / f"generated/{record}.json"
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(records.get(record, {})), encoding="utf-8")
    for own in ("lib.typ", f"sections/{name}.typ"):
        path = folder / own
        path.parent.mkdir(exist_ok=True)
        path.write_text((ROOT / "paper" / own).read_text(encoding="utf-8"), encoding="utf-8")
    entry, out = folder / "main.typ", folder / "main.pdf"
    entry.write_text(
        f'#set heading(numbering: "1")\n{before}\n#include "sections/{name}.typ"', encoding="utf-8"
    )
    out.write_bytes(
        typst.compile(
            str(entry),
            root=str(folder),
            ignore_system_fonts=True,
            sys_inputs={"draft": "true"},
        )
    )
    text = " ".join(page.extract_text() for page in PdfReader(out).pages)
    return " ".join(text.replace("\u200b", "").split())
