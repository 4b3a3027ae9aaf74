"""A model of Pythia-14M's shape, saved, loaded and sampled; random weights, a short context.

``docs/pretrained.md`` has time and memory of the same run at context 512.
"""

import math
from pathlib import Path

import numpy as np
import torch

import stagewise
from stagewise.models.neox import NextTokens, token_losses
from stagewise.models.pretrained import check_revisions, load_pretrained
from support.neox_files import neox

CONTEXT = 32
PYTHIA_14M = {
    "vocab_size": 50304,
    "hidden_size": 128,
    "num_hidden_layers": 6,
    "num_attention_heads": 4,
    "intermediate_size": 512,
    "max_position_embeddings": CONTEXT,
    "rotary_pct": 0.25,
    "use_parallel_residual": True,
}


def test_a_checkpoint_of_the_real_shape_is_sampled_end_to_end(tmp_path: Path) -> None:
    neox(0, **PYTHIA_14M).half().save_pretrained(tmp_path / "step512")
    check_revisions(str(tmp_path), [512], None)
    model = load_pretrained(str(tmp_path), 512, None)
    sizes = {name: one.numel() for name, one in model.named_parameters()}
    assert sum(sizes.values()) == 14_067_712
    # The number that the Pythia paper gives without embeddings.
    assert (
        sum(size for name, size in sizes.items() if "embed" not in name and "head" not in name)
        == 1_189_888
    )

    tokens = torch.randint(50304, (4, CONTEXT + 1), generator=torch.Generator().manual_seed(0))
    trace = stagewise.sample_losses(
        NextTokens(model),
        token_losses,
        (tokens[:, :-1], tokens[:, 1:]),
        per_token=True,
        n_beta=30.0,
        localization=1e5,
        step_size=1e-6,
        burn_in=0,
        batch_size=2,
        chains=2,
        draws=2,
    )
    assert trace["excess_loss"].sizes == {"chain": 2, "draw": 2, "sample": 4 * CONTEXT}
    assert trace["status"].values.tolist() == [0, 0]
    np.testing.assert_allclose(trace["loss_ref"].mean(), math.log(50304), atol=0.2)
    # At least half of what noise alone moves them in one step: the weights are not stuck.
    assert (trace["distance"] > 0.5 * math.sqrt(1e-6 * sum(sizes.values()))).all()
    assert (trace["excess_loss"].std("sample") > 0).all()
