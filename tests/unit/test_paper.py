"""The paper: compiled from its numbers, equal bytes, and a missing number named."""

import json
import re
from pathlib import Path

import pytest
import yaml
from matplotlib.figure import Figure

from stagewise.cli import paper
from stagewise.config.root import load
from stagewise.plotting.catalogue import FIGURES
from stagewise.plotting.style import save_pdf, styled
from support.numbers import entry
from support.repository import ROOT

SOURCE = ROOT / "paper/main.typ"
SECTIONS = sorted([SOURCE, ROOT / "paper/lib.typ", *(ROOT / "paper/sections").glob("*.typ")])
#: Where the text asks for every number under a prefix, one of them.
UNDER_PREFIX = (
    "toy.sgld_vs_mala.relative_difference.x",
    "toy.sweep.corner.law.best_r",
    "toy.mixture.max_z",
    "toy.diagnostics.rhat_max",
    "toy.llc.final",
)


@pytest.fixture(scope="module")
def settings_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    config = yaml.safe_load((ROOT / "config/default.yaml").read_text(encoding="utf-8"))
    path = tmp_path_factory.mktemp("settings") / "settings.json"
    path.write_text(load(config).model_dump_json(), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def numbers(settings_file: Path) -> dict:
    found = dict.fromkeys(UNDER_PREFIX, entry(0.5, 0.01, 5))
    while missing := paper.missing_keys(SOURCE, found, settings_file):
        found |= dict.fromkeys(missing, entry(0.5, 0.01, 5))  # which may ask for more
    return found


@pytest.fixture(scope="module")
def figures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("figures")
    with styled():
        for name in FIGURES:
            save_pdf(Figure((2, 1)), folder / f"{name}.pdf")
    return folder


def build(folder: Path, numbers: dict, settings_file: Path, figures: Path) -> tuple[int, Path]:
    path = folder / "numbers.json"
    path.write_text(json.dumps(numbers), encoding="utf-8")
    flags = ["--source", str(SOURCE), "--numbers", str(path), "--out", str(folder / "main.pdf")]
    flags += ["--settings-file", str(settings_file), "--figures", str(figures)]
    return paper.main(flags), folder / "main.pdf"


def test_equal_inputs_give_equal_bytes_without_a_date(
    tmp_path: Path, numbers: dict, settings_file: Path, figures: Path
) -> None:
    status, first = build(tmp_path, numbers, settings_file, figures)
    assert status == 0
    (tmp_path / "again").mkdir()
    _, second = build(tmp_path / "again", numbers, settings_file, figures)
    assert first.read_bytes() == second.read_bytes()
    assert first.read_bytes().startswith(b"%PDF")
    assert b"CreationDate" not in first.read_bytes()


def test_every_missing_number_is_named(
    tmp_path: Path,
    numbers: dict,
    settings_file: Path,
    figures: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    gone = ("toy.modes.max_rel_error", "toy.peak_step.b.harmful.cousin", "toy.llc")
    fewer = {key: value for key, value in numbers.items() if not key.startswith(gone)}
    status, out = build(tmp_path, fewer, settings_file, figures)
    message = capsys.readouterr().err
    assert status == 2
    assert all(key.replace("toy.llc", "toy.llc*") in message for key in gone)
    assert not out.exists()


def test_typst_itself_stops_at_a_missing_number(tmp_path: Path) -> None:
    import typst

    (tmp_path / "generated").mkdir()
    for name in ("numbers", "settings", "studies", "bench", "gpu", "cluster"):
        (tmp_path / f"generated/{name}.json").write_text("{}")
    (tmp_path / "lib.typ").write_text((ROOT / "paper/lib.typ").read_text(encoding="utf-8"))
    text = tmp_path / "main.typ"
    text.write_text('#import "lib.typ": *\n#num("toy.not.there")')
    with pytest.raises(typst.TypstError, match=r"no number has the key toy\.not\.there"):
        typst.compile(str(text), ignore_system_fonts=True)


def test_a_missing_figure_is_named(
    tmp_path: Path,
    numbers: dict,
    settings_file: Path,
    figures: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    status, _ = build(tmp_path, numbers, settings_file, figures / "toy_mds.pdf")
    assert status == 2
    assert "figures/toy_" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("call", "shown"),
    [
        ('num("a.b")', "0.99871 ± 0.00021 (n = 5)"),
        ('num("a.b", digits: 1, n: false)', "0.9987 ± 0.0002"),
        ('num("a.small")', "(1.500 ± 0.020) × 10−7"),
        ('num("a.exact")', "0.0123"),
        ('num("a.count")', "1200 steps"),
        ('num("a.none")', "none"),
        ('num("a.negative")', "−3.0 ± 1.0"),
        ('verdict(("a.b", "a.exact"), (x, y) => x > y)', "replicated"),
        ('verdict(("a.b", "a.exact"), (x, y) => x < y)', "not replicated"),
        ('verdict(("a.b", "a.none"), (x, y) => x > y)', "not measured"),
    ],
)
def test_numbers_read_as_they_should(call: str, shown: str, tmp_path: Path) -> None:
    found = {
        "a.b": entry(0.99871, 0.00021, 5),
        "a.small": entry(1.5e-7, 2.0e-9),
        "a.exact": entry(0.012345),
        "a.count": entry(1200) | {"unit": "steps"},
        "a.none": entry(None),
        "a.negative": entry(-3.0, 1.0),
    }
    assert rendered(call, found, tmp_path) == shown


def rendered(call: str, numbers: dict, folder: Path) -> str:
    """Typesets one expression and returns its text."""
    import typst

    (folder / "generated").mkdir()
    (folder / "generated/numbers.json").write_text(json.dumps(numbers), encoding="utf-8")
    for name in ("settings", "studies", "bench", "gpu", "cluster"):
        (folder / f"generated/{name}.json").write_text("{}")
    (folder / "lib.typ").write_text((ROOT / "paper/lib.typ").read_text(encoding="utf-8"))
    (folder / "main.typ").write_text(f'#import "lib.typ": *\n#{call}')
    typst.compile(str(folder / "main.typ"), str(folder / "main.pdf"), ignore_system_fonts=True)
    return text_of(folder / "main.pdf")


def text_of(pdf: Path) -> str:
    """Reads the text of the first page back from a PDF."""
    from pypdf import PdfReader

    return re.sub(r"\s+", " ", PdfReader(pdf).pages[0].extract_text()).strip()


def study_paper(folder: Path, record: object) -> tuple[int, str]:
    """Builds a paper that prints one study; ``None`` for no record."""
    (folder / "lib.typ").write_text((ROOT / "paper/lib.typ").read_text(encoding="utf-8"))
    (folder / "main.typ").write_text('#import "lib.typ": *\n#study("toy.sweep.full.")[Wide.]')
    if record is not None:
        (folder / "expected").mkdir()
        (folder / "expected/studies.json").write_text(json.dumps(record), encoding="utf-8")
    for name in ("numbers", "settings"):
        (folder / f"{name}.json").write_text("{}")
    flags = {
        "source": "main.typ",
        "numbers": "numbers.json",
        "settings-file": "settings.json",
        "figures": "",
        "out": "main.pdf",
    }
    named = [part for flag, name in flags.items() for part in (f"--{flag}", str(folder / name))]
    status = paper.main(named)
    return status, text_of(folder / "main.pdf") if status == 0 else ""


#: A record of one number, and the study that has it.
WHOLE = {"commit": "a", "date": "2026-01-31", "numbers": {"a.b": entry(1.0)}}
PART = {"commit": "a", "date": "2026-01-31", "keys": ["a.b"]}


def test_a_study_that_was_not_run_says_so(tmp_path: Path) -> None:
    assert study_paper(tmp_path, None) == (0, "Wide. Not run: make studies.")


def test_a_study_is_printed_with_its_commit_and_date(tmp_path: Path) -> None:
    found = {"toy.sweep.full.law.best_r": entry(0.98, 0.01, 3), "toy.other.r": entry(0.123)}
    record = {"commit": "0123456789ab-dirty", "date": "2026-01-31", "numbers": found}
    status, text = study_paper(tmp_path, record)
    assert status == 0
    text = text.replace("\u200b", "")
    for part in ("law.best_r", "0.980 ± 0.010", "Wide.", "0123456789ab-dirty", "2026-01-31"):
        assert part in text
    assert "0.123" not in text


def test_a_study_of_several_is_printed_with_its_own_commit(tmp_path: Path) -> None:
    found = {"toy.sweep.full.law.best_r": entry(0.98, 0.01, 3), "vision.x": entry(0.1)}
    parts = {
        "toy": {"commit": "older", "date": "2026-01-31", "keys": ["toy.sweep.full.law.best_r"]},
        "vision": {"commit": "newer", "date": "2026-02-01", "keys": ["vision.x"]},
    }
    record = {"commit": "newer", "date": "2026-02-01", "numbers": found, "parts": parts}
    status, text = study_paper(tmp_path, record)
    assert status == 0
    assert "at commit older on 2026-01-31" in text


@pytest.mark.parametrize(
    ("record", "named"),
    [
        (WHOLE | {"parts": []}, "parts"),
        (WHOLE | {"parts": {"toy": {"commit": "a", "keys": []}}}, "'toy' needs commit, date"),
        (WHOLE | {"parts": {"toy": PART | {"date": "today"}}}, "'toy': date"),
        (WHOLE | {"parts": {"toy": PART | {"keys": []}}}, "a.b"),
        (WHOLE | {"parts": {"toy": PART, "more": PART}}, "a.b"),
        ({"commit": "a", "numbers": {}}, "'date'"),
        ({"commit": "", "date": "2026-01-31", "numbers": {}}, "commit"),
        ({"commit": "a", "date": "31 January", "numbers": {}}, "date"),
        ({"commit": "a", "date": "2026-01-31", "numbers": {"a.b": {"value": 1}}}, "a.b"),
        ({"commit": "a", "date": "2026-01-31", "numbers": []}, "numbers"),
    ],
)
def test_a_malformed_record_of_the_studies_is_refused(
    record: dict, named: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert study_paper(tmp_path, record)[0] == 2
    message = capsys.readouterr().err
    assert "studies.json" in message
    assert named in message


def test_the_paper_shows_every_figure() -> None:
    text = "".join(path.read_text(encoding="utf-8") for path in SECTIONS)
    # Drawn by `make studies` beside its tables; the paper prints its numbers from the record.
    studied = {"calibration_grid", "vision_sensitivity", "vision_long", "retraining_sensitivity"}
    drawn = set(FIGURES) - studied - {"retraining_speed"}
    assert set(re.findall(r'#picture\("(\w+)"\)', text)) == drawn
    assert {name for name in re.findall(r"@fig-(\w+)", text)} <= set(FIGURES)


def test_the_paper_downloads_nothing() -> None:
    assert [path.name for path in SECTIONS if "@preview" in path.read_text(encoding="utf-8")] == []


def test_the_text_types_no_measured_number() -> None:
    allowed = {"0.9", "0.99", "1.01"}  # criteria, and the line in the figure of R-hat
    prose = [path for path in SECTIONS if path.parent.name == "sections"]
    for path in prose:
        text = re.sub(r"#\w+\([^)]*\)", "", path.read_text(encoding="utf-8"))
        assert set(re.findall(r"(?<![\w.])\d+\.\d+(?!fr|em|pt|cm)", text)) <= allowed, path.name
