"""The language runs of ``config/gpu.yaml`` on a GPU, in one process and without Snakemake.

    python bench/gpu_language.py --jobs config/gpu.yaml results/gpu/language/numbers.json >jobs.json
    python bench/gpu_language.py jobs.json out/

``jobs.json`` is a list of {"sample": settings, "influence": settings, "corpus": path, "training":
path, "gradients": path, "out": name}: what the stages of the workflow are told. Traces are many
gigabytes and are never written: each checkpoint's influence is estimated in a process of its own
while the GPU goes on with the next training. ``--jobs CONFIG TARGET`` prints the list for the
trainings that ``snakemake --configfile CONFIG TARGET`` would sample.
"""

import json
import multiprocessing
import os
import shlex
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import xarray as xr
from threadpoolctl import threadpool_limits

from stagewise.cli.language_sample import sampled
from stagewise.config.language import InfluenceStage, TokenSampleStage
from stagewise.evaluation.language_influence import INDUCTION, around, influence_dataset
from stagewise.storage import class_gradients, netcdf
from stagewise.storage import corpus as corpus_file
from stagewise.storage.language_influence import LANGUAGE_INFLUENCE
from stagewise.storage.schema import CHECKPOINT


def main(listed: str, folder: str) -> None:
    """Sample training by training, estimate checkpoint by checkpoint, join, write."""
    out = Path(folder)
    out.mkdir(parents=True, exist_ok=True)
    limit = multiprocessing.get_context("fork").Semaphore(max(1, (os.cpu_count() or 2) - 2))
    waiting, seconds = [], {}
    for job in json.loads(Path(listed).read_text()):
        begun = time.perf_counter()
        settings = TokenSampleStage.model_validate_json(json.dumps(job["sample"]))
        traces = sampled(settings, Path(job["corpus"]), Path(job["training"]), None)
        seconds[job["out"]] = {
            "wall": time.perf_counter() - begun,
            "chains": traces[0].attrs["wall_seconds"],
            "chain_steps": traces[0].attrs["chain_steps"],
        }
        print(job["out"], seconds[job["out"]], flush=True)
        parts = [
            _start(job, traces, place, out, limit) for place in range(traces[0].sizes[CHECKPOINT])
        ]
        waiting.append((job["out"], parts))
        del traces
    for name, parts in waiting:
        for process, _ in parts:
            process.join()
        joined = join([netcdf.read(path) for _, path in parts])
        LANGUAGE_INFLUENCE.validate(joined, name)
        netcdf.write(joined, out / name)
        for _, path in parts:
            path.unlink()
        print("joined", name, flush=True)
    (out / "seconds.json").write_text(json.dumps(seconds))


def _start(
    job: dict, traces: tuple[xr.Dataset, xr.Dataset], place: int, out: Path, limit: object
) -> tuple[multiprocessing.process.BaseProcess, Path]:
    """Fork a process that shares the traces' memory and writes one checkpoint's influence."""
    path = out / f"{job['out']}.{place:03d}"
    process = multiprocessing.get_context("fork").Process(
        target=_estimate, args=(job, traces, place, path, limit)
    )
    process.start()
    return process, path


def _estimate(
    job: dict, traces: tuple[xr.Dataset, xr.Dataset], place: int, path: Path, limit: object
) -> None:
    with limit, threadpool_limits(1):  # type: ignore[attr-defined]
        here = [one.isel({CHECKPOINT: [place]}) for one in traces]
        found = influence_dataset(
            InfluenceStage.model_validate_json(json.dumps(job["influence"])),
            corpus_file.read(Path(job["corpus"])),
            here[:1],
            here[1:],
            class_gradients.read(Path(job["gradients"])),
        )
        netcdf.write(found, path)


def join(parts: list[xr.Dataset]) -> xr.Dataset:
    """Join checkpoints; the text is that of the moments around the highest influence."""
    over = [n for n, v in parts[0].variables.items() if CHECKPOINT in v.dims]
    joined = xr.concat([one[over] for one in parts], dim=CHECKPOINT)
    curve = -joined["influence"].values[:, INDUCTION, INDUCTION]
    peak = int(np.nanargmax(curve)) if np.isfinite(curve).any() else None
    moments = [parts[place].isel(moment=[1]) for place in around(peak, len(parts))]
    text = [n for n, v in parts[0].data_vars.items() if "moment" in v.dims]
    shown = xr.concat([one[text].drop_vars("moment") for one in moments], dim="moment")
    rest = parts[0].drop_vars([*over, *text])
    return xr.merge([joined, shown, rest], compat="override").assign_attrs(
        parts[0].attrs
        | {"n_chains_dropped": sum(int(one.attrs["n_chains_dropped"]) for one in parts)}
    )


def jobs(config: str, target: str) -> list[dict]:
    """Return what Snakemake would tell the stages, read from its dry run."""
    command = [sys.executable, "-m", "snakemake", "--configfile", config, "-n", "-p", "--nolock"]
    command += ["--forceall", target]
    printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    lines = [_words(line) for line in printed.splitlines() if "stagewise.cli.language_" in line]
    told = [dict(zip(words[3::2], words[4::2], strict=False)) | {"-m": words[2]} for words in lines]
    found: dict[str, dict] = {}
    for one in told:
        if one["-m"].endswith("language_sample"):
            settings = json.loads(one["--settings"])
            job = found.setdefault(one["--training"], {"sample": settings | {"steps": []}})
            # All chains and checkpoints together, whatever the blocks of the workflow.
            job["sample"]["steps"] = sorted({*job["sample"]["steps"], *settings["steps"]})
            job["sample"] |= {"chain_start": 0}
            job["sample"]["sampling"]["chain_block"] = settings["sampling"]["chains"]
            job |= {"corpus": one["--corpus"], "training": one["--training"]}
    for one in told:
        if one["-m"].endswith("language_influence"):
            training = str(Path(one["--gradients"]).with_name("training.nc"))
            found[training] |= {
                "influence": json.loads(one["--settings"]),
                "gradients": one["--gradients"],
                "out": "_".join(Path(one["--gradients"]).parts[-3:-1]) + ".nc",
            }
    return list(found.values())


def _words(line: str) -> list[str]:
    return shlex.split(line.partition("Shell command: ")[2] or line.strip())


if __name__ == "__main__":
    if sys.argv[1] == "--jobs":
        print(json.dumps(jobs(*sys.argv[2:]), indent=1))
    else:
        main(*sys.argv[1:])
