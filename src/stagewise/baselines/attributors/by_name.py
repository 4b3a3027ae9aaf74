"""The attributors by the names that the config uses; a new one is a file here and a line below."""

from stagewise.baselines.attributor import Attributor
from stagewise.baselines.attributors import (
    ekfac,
    exact_ggn,
    exact_hessian,
    gradient_similarity,
    random,
    representation,
    tracin,
    trak,
)

ATTRIBUTORS: dict[str, Attributor] = {
    "exact_ggn": exact_ggn.ATTRIBUTOR,
    "exact_hessian": exact_hessian.ATTRIBUTOR,
    "ekfac": ekfac.ATTRIBUTOR,
    "trak": trak.ATTRIBUTOR,
    "tracin": tracin.ATTRIBUTOR,
    "gradient_similarity": gradient_similarity.ATTRIBUTOR,
    "representation": representation.ATTRIBUTOR,
    "random": random.ATTRIBUTOR,
}
