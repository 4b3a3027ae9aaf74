"""GPT-NeoX models, trained here or public, and their losses of every token."""

import copy
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn
from transformers import GPTNeoXConfig, GPTNeoXForCausalLM

from stagewise.models.module import MOST_BATCHED, ModuleLoss
from stagewise.models.pieces import PiecewiseLoss

#: Largest model, in parameters, whose replicas run as one batched call on a GPU, where a replica
#: of a small one by itself is all launches of kernels.
MOST_BATCHED_ON_GPU = 2**23
#: Most bytes of the logits of one pass. A pass holds some four times as much.
LOGIT_BYTES = 2**30


class NextTokens(nn.Module):
    """A causal model as a map from token ids (sequence, position) to logits."""

    def __init__(self, model: nn.Module) -> None:
        """Wrap a Transformers model."""
        super().__init__()
        self.model = model

    def forward(
        self, tokens: Int[Tensor, "sequence position"]
    ) -> Float[Tensor, "sequence position token"]:
        """Return the logits of the token after each position."""
        return self.model(input_ids=tokens).logits


def build(
    vocabulary: int,
    length: int,
    *,
    layers: int,
    width: int,
    heads: int,
    expansion: int,
    rotary: float,
    parallel_residual: bool,
    init_scale: float = 0.02,
    seed: int,
    device: torch.device | str = "cpu",
) -> GPTNeoXForCausalLM:
    """Return a new model with weights drawn from ``seed``, in eval mode.

    Args:
        vocabulary: Number of tokens.
        length: Longest sequence that it reads.
        layers: Blocks of attention and perceptron.
        width: Of the residual stream.
        heads: Of each attention.
        expansion: Units of a perceptron over the width.
        rotary: Share of each head's dimensions that is rotated.
        parallel_residual: Attention and perceptron side by side.
        init_scale: Standard deviation of the matrices.
        seed: Of the weights, which depend on the kind of device too.
        device: Where to draw them.
    """
    config = GPTNeoXConfig(
        vocab_size=vocabulary,
        hidden_size=width,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        intermediate_size=expansion * width,
        max_position_embeddings=length,
        rotary_pct=rotary,
        use_parallel_residual=parallel_residual,
        initializer_range=init_scale,
        hidden_dropout=0.0,
        attention_dropout=0.0,
        use_cache=False,
        bos_token_id=None,
        eos_token_id=None,
    )
    with torch.random.fork_rng(), torch.device(device):
        torch.manual_seed(seed % 2**63)
        model = GPTNeoXForCausalLM(config)
    return model.float().eval()


def token_losses(
    logits: Float[Tensor, "sequence position token"], targets: Int[Tensor, "sequence position"]
) -> Float[Tensor, "sequence position"]:
    """Return -log p of each target, nats."""
    losses = F.cross_entropy(logits.flatten(0, 1), targets.flatten(), reduction="none")
    return losses.view(targets.shape)


def language_loss(
    model: nn.Module,
    tokens: Int[Tensor, "sequence position"],
    checkpoints: Sequence[dict[str, Tensor]] | None = None,
    *,
    batched: bool | None = None,
    at_once: int | None = None,
) -> ModuleLoss:
    """Return the loss of every next token of ``tokens``, about one or many checkpoints.

    Args:
        model: A Transformers model.
        tokens: Ids, on the device of the model.
        checkpoints: State dicts of the model; None is the model as it is.
        batched: Run all replicas in one batched call; None decides by their size and the device.
        at_once: Passes over more sequences go piece by piece; None goes by the logits' size.
    """
    named = None
    if checkpoints is not None:
        named = [{f"model.{name}": one for name, one in state.items()} for state in checkpoints]
    if batched is None:
        most = MOST_BATCHED if tokens.device.type == "cpu" else MOST_BATCHED_ON_GPU
        batched = sum(one.numel() for one in model.parameters()) <= most
    if batched:
        # vmap calls fused attention once for each replica; eager attention is plain products.
        model = copy.deepcopy(model)
        model.set_attn_implementation("eager")
    return PiecewiseLoss(
        NextTokens(model),
        token_losses,
        tokens[:, :-1],
        tokens[:, 1:],
        checkpoints=named,
        vectorize=batched,
        per_token=True,
        at_once=at_once or sequences_at_once(model.config.vocab_size, tokens.shape[1] - 1),
    )


def sequences_at_once(vocabulary: int, length: int) -> int:
    """Return how many sequences' logits, float32, `LOGIT_BYTES` hold; at least one."""
    return max(1, LOGIT_BYTES // (4 * vocabulary * length))


def flat_weights(model: nn.Module) -> Float[Tensor, " parameter"]:
    """Return all parameters in the order of ``named_parameters``, each flattened."""
    return torch.cat([one.detach().flatten() for one in model.parameters()])


def set_flat_weights(model: nn.Module, flat: Float[Tensor, " parameter"]) -> None:
    """Write such a vector into a model."""
    parts = flat.split([one.numel() for one in model.parameters()])
    with torch.no_grad():
        for parameter, part in zip(model.parameters(), parts, strict=True):
            parameter.copy_(part.view_as(parameter))
