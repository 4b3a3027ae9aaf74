"""What influence costs with BIF and with EK-FAC, put together from parts, and how it grows.

BIF, chains of burn-in b and d draws about one checkpoint, N samples and Q queries:

    seconds = setup + chains [(b + d) step + d draw]

with a step the gradient of a minibatch, the noise and the move, and a draw the losses of N + Q
sequences. EK-FAC with L blocks, q queries at a time, p the seconds of a forward and backward pass
over N that no factor is taken of, and c, e, v, s those of the four phases with one block's layers:

    covariances  p + L (c - p)         eigenvectors  L e
    eigenvalues  p + L (v - p)         scores        Q/q [p' + L (s - p')],  p' = p (1 + q/N)

Its memory is that of the pass and L times what one block adds. Exponents are slopes of log seconds
(or MB) over log parameters by least squares, errors from the residuals. The crossing of two lines
a + b x, at x = log10 parameters, is (a2 - a1)/(b1 - b2).
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from stagewise.config.scaling import ProtocolSettings, ScalingSettings
from stagewise.errors import SchemaError
from stagewise.storage.metrics import number

#: One measurement, as ``stagewise.cli.scaling`` returns it.
Measured = Mapping[str, Any]
METHODS = ("bif", "ekfac")
_SOURCE = "scaling"


class Line(NamedTuple):
    """log10 y = intercept + slope log10 x.

    Attributes:
        slope: The exponent.
        slope_error: Standard error from the residuals; 0 with two points.
        intercept: At x = 1.
        points: Number of points.
        span: Least and largest log10 x.
    """

    slope: float
    slope_error: float
    intercept: float
    points: int
    span: tuple[float, float]


def protocol_seconds(measured: Measured, protocol: ProtocolSettings) -> float:
    """Return the seconds of the whole protocol with the measurement's number of sequences."""
    if measured["method"] == "bif":
        steps = protocol.burn_in + protocol.draws
        chain = steps * measured["step"] + protocol.draws * measured["draw"]
        return float(measured["setup"] + protocol.chains * chain)
    blocks, plain = measured["blocks"], measured["plain"]
    passes = plain * (1.0 + protocol.query_batch / measured["train"])
    batches = math.ceil(protocol.queries / protocol.query_batch)
    return float(
        _all_blocks(plain, measured["covariances"], blocks)
        + blocks * measured["eigenvectors"]
        + _all_blocks(plain, measured["eigenvalues"], blocks)
        + batches * _all_blocks(passes, measured["scores"], blocks)
    )


def protocol_memory(measured: Measured) -> float:
    """Return the peak memory of the whole protocol, MB; of chains run one at a time."""
    if measured["method"] == "bif":
        return float(measured["memory_mb"])
    return _all_blocks(measured["plain_mb"], measured["memory_mb"], measured["blocks"])


def _all_blocks(without: float, one: float, blocks: int) -> float:
    """Return what all blocks cost from the cost without any and with one; one never costs less."""
    return float(without + blocks * max(0.0, one - without))


def fit(x: Sequence[float], y: Sequence[float]) -> Line:
    """Fit a power law.

    Raises:
        SchemaError: There are fewer than two points, or one is not positive.
    """
    points = np.asarray([x, y], float)
    if points.shape[1] < 2 or not (np.isfinite(points) & (points > 0)).all():
        raise SchemaError(
            f"sizes {list(x)} and costs {list(y)}; a power law needs two positive points at least: "
            "measure more sizes"
        )
    u, v = np.log10(points)
    spread = float(((u - u.mean()) ** 2).sum())
    slope = float(((u - u.mean()) * (v - v.mean())).sum() / spread)
    intercept = float(v.mean() - slope * u.mean())
    residual = v - intercept - slope * u
    error = 0.0
    if len(u) > 2:
        error = math.sqrt(float((residual**2).sum()) / (len(u) - 2) / spread)
    return Line(slope, error, intercept, len(u), (float(u.min()), float(u.max())))


def crossing(one: Line, other: Line, errors: float, decades: float) -> float | None:
    """Return log10 of where two power laws meet, or None.

    None where the exponents differ by less than ``errors`` standard errors, so that a meeting point
    would be one of noise, or where it lies more than ``decades`` beyond what was measured.
    """
    apart = one.slope - other.slope
    if apart == 0 or abs(apart) < errors * math.hypot(one.slope_error, other.slope_error):
        return None
    found = (other.intercept - one.intercept) / apart
    low, high = min(one.span[0], other.span[0]), max(one.span[1], other.span[1])
    return found if low - decades <= found <= high + decades else None


def scaling_numbers(
    measured: Mapping[str, Measured], settings: ScalingSettings
) -> dict[str, dict[str, Any]]:
    """Return the study's numbers.

    Args:
        measured: Measurements by the names of ``stagewise.config.scaling.jobs``; those that could
            not be made are missing.
        settings: The study's.

    Raises:
        SchemaError: Fewer than two sizes were measured with a method.
    """
    found = {
        f"scaling.protocol.{key}": number(value, source=_SOURCE)
        for key, value in settings.protocol.model_dump().items()
    }
    lines = {}
    for method in METHODS:
        own = {s: measured[f"{method}_{s}"] for s in settings.sizes if f"{method}_{s}" in measured}
        found |= _sizes(method, own, settings.protocol)
        x = [one["parameters"] for one in own.values()]
        lines[method] = fit(x, [protocol_seconds(one, settings.protocol) for one in own.values()])
        memory = fit(x, [protocol_memory(one) for one in own.values()])
        for key, line in (("exponent", lines[method]), ("memory_exponent", memory)):
            found[f"scaling.{method}.{key}"] = _exponent(line)
        found |= _against_data(method, measured, settings) | _whole(method, measured, settings)
    met = crossing(
        lines["bif"], lines["ekfac"], settings.crossing_errors, settings.crossing_decades
    )
    found["scaling.crossing_found"] = number(int(met is not None), source=_SOURCE)
    if met is not None:
        key = "scaling.crossing_log10_parameters"
        found[key] = number(met, n=len(settings.sizes), source=_SOURCE)
    return found


def _sizes(
    method: str, own: Mapping[str, Measured], protocol: ProtocolSettings
) -> dict[str, dict[str, Any]]:
    found = {}
    for size, one in own.items():
        seconds = protocol_seconds(one, protocol)
        values = {"seconds": (seconds, "s"), "memory": (protocol_memory(one), "MB")}
        if method == "bif":
            values |= {"step": (one["step"], "s"), "draw": (one["draw"], "s")}
        else:
            share = one["blocks"] * one["eigenvectors"] / seconds
            values["eigenvectors_share"] = (share, "")
        for key, (value, unit) in values.items():
            found[f"scaling.{method}.{key}.{size}"] = number(value, unit=unit, source=_SOURCE)
        found[f"scaling.{method}.parameters.{size}"] = number(one["parameters"], source=_SOURCE)
    return found


def _against_data(
    method: str, measured: Mapping[str, Measured], settings: ScalingSettings
) -> dict[str, dict[str, Any]]:
    """Return seconds against the number of training sequences, and their exponent."""
    found, points = {}, []
    for train in settings.data.train:
        one = measured.get(f"{method}_{settings.data.size}_n{train}")
        if one is not None:
            points.append((train, protocol_seconds(one, settings.protocol)))
            key = f"scaling.{method}.data_seconds.{train}"
            found[key] = number(points[-1][1], unit="s", source=_SOURCE)
    if len(points) > 1:
        line = fit(*zip(*points, strict=True))
        found[f"scaling.{method}.data_exponent"] = _exponent(line)
    return found


def _whole(
    method: str, measured: Mapping[str, Measured], settings: ScalingSettings
) -> dict[str, dict[str, Any]]:
    """Return the time of protocols that were run whole over what was put together from parts."""
    found = {}
    for size in settings.whole.get(method, ()):
        whole, parts = (measured.get(f"{method}_{size}{end}") for end in ("_whole", ""))
        if whole is not None and parts is not None:
            ratio = whole["all"] / protocol_seconds(parts, settings.protocol)
            found[f"scaling.{method}.whole_ratio.{size}"] = number(ratio, source=_SOURCE)
    return found


def _exponent(line: Line) -> dict[str, Any]:
    error = line.slope_error if line.points > 2 else None
    return number(line.slope, se=error, n=line.points, source=_SOURCE)


def scaling_rows(numbers: Mapping[str, Mapping[str, Any]], device: str) -> list[dict[str, Any]]:
    """Return the points of a record, with the power laws through them, as rows for the figure.

    Rows have device, method, quantity ("seconds" or "memory"), parameters, cost and fitted.
    """
    rows = []
    for method in METHODS:
        start = f"scaling.{method}.parameters."
        sizes = [key.removeprefix(start) for key in numbers if key.startswith(start)]
        x = [numbers[f"{start}{size}"]["value"] for size in sizes]
        for quantity in ("seconds", "memory") if len(sizes) > 1 else ():
            y = [numbers[f"scaling.{method}.{quantity}.{size}"]["value"] for size in sizes]
            line = fit(x, y)
            fitted = 10 ** (line.intercept + line.slope * np.log10(x))
            rows += [
                {
                    "device": device,
                    "method": method,
                    "quantity": quantity,
                    "parameters": parameters,
                    "cost": cost,
                    "fitted": through,
                }
                for parameters, cost, through in zip(x, y, fitted.tolist(), strict=True)
            ]
    return rows
