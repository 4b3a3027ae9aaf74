"""One step of each kernel is its formula, digit for digit, and all kernels read alike."""

import ast
import inspect
from types import ModuleType

import jaxtyping
import pytest
import torch
from torch import Tensor

from stagewise.errors import ConfigError
from stagewise.models.linear_net import LinearNetLoss
from stagewise.sampling.kernels import baoab, by_name, mala, rmsprop_sgld, sgld, underdamped
from stagewise.sampling.potential import Potential
from stagewise.sampling.streams import Noise

MODULES = (sgld, underdamped, baoab, rmsprop_sgld, mala)
STEP, N_BETA, GAMMA, FRICTION = 1e-3, 30.0, 7.0, 0.3
BATCH = torch.tensor([[0, 1, 1], [3, 2, 0]])
EXACT = {"rtol": 1e-14, "atol": 1e-14}


def seeded(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).double()


@pytest.fixture(params=["plain", "recentred"])
def potential(request: pytest.FixtureRequest) -> Potential:
    loss = LinearNetLoss(seeded(3, 4, seed=1), 2)
    return Potential(loss, seeded(2, 14, seed=2), N_BETA, GAMMA, request.param)


@pytest.fixture
def w(potential: Potential) -> Tensor:
    return potential.centre[:, None] + 0.2 * seeded(2, 2, 14, seed=3)


@pytest.fixture
def noise() -> Noise:
    return Noise(seeded(2, 14, seed=4), torch.tensor([0.3, 0.9]).double())


def loss_gradient(potential: Potential, w: Tensor, batch: Tensor | None) -> Tensor:
    """The raw minibatch-mean loss gradient, by differentiation, one replica at a time."""
    rows = []
    for c in range(w.shape[0]):
        for k in range(w.shape[1]):
            chosen = None if batch is None else batch[k]
            mean = lambda x, chosen=chosen: potential.loss.losses(x[None, None], chosen).mean()  # noqa: E731
            rows.append(torch.func.grad(mean)(w[c, k]))
    return torch.stack(rows).view_as(w)


def slope(potential: Potential, w: Tensor, batch: Tensor | None) -> Tensor:
    """The gradient of U by the formula."""
    at_centre = potential.centre[:, None].expand_as(w)
    raw = loss_gradient(potential, w, batch)
    if potential.kind == "recentred":
        raw = raw - loss_gradient(potential, at_centre, batch)
    return N_BETA * raw + GAMMA * (w - at_centre)


@pytest.mark.parametrize("batch", [None, BATCH])
def test_sgld_step(potential: Potential, w: Tensor, noise: Noise, batch: Tensor | None) -> None:
    kernel = sgld.Kernel(STEP)
    state, info = kernel.step(potential, kernel.init(potential, w), batch, noise)
    expected = w - 0.5 * STEP * slope(potential, w, batch) + STEP**0.5 * noise.normal
    torch.testing.assert_close(state.position, expected, **EXACT)
    torch.testing.assert_close(info.mean_loss, potential.loss_gradient(w, batch).mean)


@pytest.mark.parametrize("batch", [None, BATCH])
def test_underdamped_step(
    potential: Potential, w: Tensor, noise: Noise, batch: Tensor | None
) -> None:
    kernel, velocity = underdamped.Kernel(STEP, FRICTION), 0.01 * seeded(2, 2, 14, seed=5)
    assert not kernel.init(potential, w).velocity.any()
    state, _ = kernel.step(potential, underdamped.State(w, velocity), batch, noise)
    eta = STEP / 2
    expected = (
        (1 - FRICTION) * velocity
        - eta * slope(potential, w, batch)
        + (2 * FRICTION * eta) ** 0.5 * noise.normal
    )
    torch.testing.assert_close(state.velocity, expected, **EXACT)
    torch.testing.assert_close(state.position, w + expected, **EXACT)


def test_underdamped_with_full_friction_is_sgld(
    potential: Potential, w: Tensor, noise: Noise
) -> None:
    one, other = sgld.Kernel(STEP), underdamped.Kernel(STEP, 1.0)
    left, right = one.init(potential, w), other.init(potential, w)
    for _ in range(5):
        left, _ = one.step(potential, left, BATCH, noise)
        right, _ = other.step(potential, right, BATCH, noise)
    torch.testing.assert_close(left.position, right.position, **EXACT)


@pytest.mark.parametrize("batch", [None, BATCH])
def test_baoab_step(potential: Potential, w: Tensor, noise: Noise, batch: Tensor | None) -> None:
    kernel, velocity = baoab.Kernel(STEP, FRICTION), 0.1 * seeded(2, 2, 14, seed=5)
    first = kernel.init(potential, w)
    assert not first.velocity.any()
    torch.testing.assert_close(first.gradient, slope(potential, w, None), **EXACT)
    state, _ = kernel.step(potential, first._replace(velocity=velocity), batch, noise)
    h, c = (STEP / 2) ** 0.5, 1 - FRICTION
    kicked = velocity - h / 2 * first.gradient
    middle = w + h / 2 * kicked
    turned = c * kicked + (1 - c**2) ** 0.5 * noise.normal
    moved = middle + h / 2 * turned
    gradient = slope(potential, moved, batch)
    torch.testing.assert_close(state.position, moved, **EXACT)
    torch.testing.assert_close(state.gradient, gradient, **EXACT)
    torch.testing.assert_close(state.velocity, turned - h / 2 * gradient, **EXACT)


@pytest.mark.parametrize("batch", [None, BATCH])
def test_rmsprop_step(potential: Potential, w: Tensor, noise: Noise, batch: Tensor | None) -> None:
    kernel = rmsprop_sgld.Kernel(STEP, adapt_steps=None)
    assert not kernel.init(potential, w).second_moment.any()
    moment = seeded(2, 2, 14, seed=5).square()
    state, _ = kernel.step(potential, rmsprop_sgld.State(w, moment, 3), batch, noise)
    new = 0.99 * moment + 0.01 * loss_gradient(potential, w, batch) ** 2
    scale = 1 / (new.sqrt() + 0.1)
    drift = 0.5 * STEP * scale * slope(potential, w, batch)
    expected = w - drift + (STEP * scale).sqrt() * noise.normal
    torch.testing.assert_close(state.second_moment, new, **EXACT)
    torch.testing.assert_close(state.position, expected, **EXACT)


def test_rmsprop_freezes_after_its_adaptation(
    potential: Potential, w: Tensor, noise: Noise
) -> None:
    moments = {}
    for adapt in (2, None):
        kernel = rmsprop_sgld.Kernel(STEP, adapt)
        state, seen = kernel.init(potential, w), []
        for _ in range(4):
            state, _ = kernel.step(potential, state, None, noise)
            seen.append(state.second_moment)
        moments[adapt] = seen
    assert torch.equal(moments[2][1], moments[None][1])
    assert torch.equal(moments[2][3], moments[2][1])
    assert not torch.equal(moments[None][3], moments[None][1])


def test_mala_step(potential: Potential, w: Tensor, noise: Noise) -> None:
    step = 0.01  # large enough that one chain rejects
    kernel = mala.Kernel(step)
    state, info = kernel.step(potential, kernel.init(potential, w), None, noise)
    proposal = w - 0.5 * step * slope(potential, w, None) + step**0.5 * noise.normal

    def log_density(to: Tensor, start: Tensor) -> Tensor:
        mean = start - 0.5 * step * slope(potential, start, None)
        return -(to - mean).square().sum(-1) / (2 * step)

    ratio = potential.value(w) - potential.value(proposal)
    ratio += log_density(w, proposal) - log_density(proposal, w)
    accepted = noise.uniform.log() < ratio
    torch.testing.assert_close(info.acceptance, ratio.exp().clamp(max=1.0), rtol=1e-9, atol=1e-12)
    assert torch.equal(info.accepted, accepted)
    expected = torch.where(accepted[..., None], proposal, w)
    torch.testing.assert_close(state.position, expected, **EXACT)
    torch.testing.assert_close(
        state.gradient, slope(potential, expected, None), rtol=1e-12, atol=1e-12
    )
    torch.testing.assert_close(state.excess, potential.excess(expected), rtol=1e-12, atol=1e-12)


def test_mala_decides_for_each_replica(potential: Potential, w: Tensor) -> None:
    kernel = mala.Kernel(0.02)
    state, seen = kernel.init(potential, w), []
    for step in range(10):
        noise = Noise(seeded(2, 14, seed=step), torch.tensor([0.0, 1.0]).double())
        old = state.position
        state, info = kernel.step(potential, state, None, noise)
        moved = (state.position != old).any(-1)
        assert torch.equal(moved, info.accepted)
        seen.append(info.accepted)
    assert torch.stack(seen)[:, :, 0].all()  # u = 0 always accepts
    assert not torch.stack(seen)[:, :, 1].all()  # u = 1 accepts only where U + log q gains


def test_mala_rejects_what_is_not_finite(potential: Potential, w: Tensor) -> None:
    kernel = mala.Kernel(STEP)
    blown = Noise(
        torch.full((2, 14), 1e200, dtype=torch.float64), torch.tensor([0.0, 0.5]).double()
    )
    state, info = kernel.step(potential, kernel.init(potential, w), None, blown)
    assert torch.equal(state.position, w)
    assert not info.accepted.any()


def test_mala_refuses_minibatches(potential: Potential, w: Tensor, noise: Noise) -> None:
    kernel = mala.Kernel(STEP)
    state = kernel.init(potential, w)
    with pytest.raises(ConfigError, match="full gradient"):
        kernel.step(potential, state, BATCH, noise)
    with pytest.raises(ConfigError, match="uniform"):
        kernel.step(potential, state, None, Noise(noise.normal))


def make(module: ModuleType) -> by_name.Kernel:
    friction = FRICTION if module in (underdamped, baoab) else None
    return by_name.make(module.Kernel.name, STEP, friction=friction)


@pytest.mark.parametrize("module", MODULES, ids=lambda m: m.Kernel.name)
def test_a_step_is_pure(module: ModuleType, potential: Potential, w: Tensor, noise: Noise) -> None:
    kernel = make(module)
    state = kernel.init(potential, w)
    if module is not mala:
        state, _ = kernel.step(potential, state, None, noise)
    kept = [one.clone() if isinstance(one, Tensor) else one for one in (*state, *noise)]
    first, _ = kernel.step(potential, state, None, noise)
    again, _ = kernel.step(potential, state, None, noise)
    for before, after in zip(kept, (*state, *noise), strict=True):
        assert torch.equal(torch.as_tensor(before), torch.as_tensor(after))
    for one, other in zip(first, again, strict=True):
        assert torch.equal(torch.as_tensor(one), torch.as_tensor(other))


@pytest.mark.parametrize("module", MODULES, ids=lambda m: m.Kernel.name)
def test_kernels_read_alike(module: ModuleType) -> None:
    """The same names in the same order with the same arguments, in every file."""
    body = ast.parse(inspect.getsource(module)).body
    names = [node.name for node in body if isinstance(node, ast.ClassDef | ast.FunctionDef)]
    public = [name for name in names if not name.startswith("_")]
    assert public[:4] == ["State", "Info", "drift_scale", "noise_scale"]
    assert public[-1] == "Kernel"
    methods = [
        name for name in vars(module.Kernel) if inspect.isfunction(vars(module.Kernel)[name])
    ]
    assert [name for name in methods if not name.startswith("__")] == ["init", "step"]
    for method in ("init", "step"):
        found, wanted = (
            list(inspect.signature(getattr(kernel, method)).parameters)
            for kernel in (module.Kernel, sgld.Kernel)
        )
        assert found == wanted
    assert module.State._fields[0] == "position"
    assert next(iter(inspect.signature(module.Kernel).parameters)) == "step_size"
    assert module.Kernel.name == module.__name__.rsplit(".", 1)[1]


@pytest.mark.parametrize("module", MODULES, ids=lambda m: m.Kernel.name)
def test_info_never_reaches_the_chain(module: ModuleType) -> None:
    """No state field is an info field, and step hands info out but takes none in."""
    assert not set(module.State._fields) & set(module.Info._fields)
    annotations = inspect.signature(module.Kernel.step).parameters.values()
    assert all("Info" not in str(one.annotation) for one in annotations)


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("sgld", {"step_size": 0.0}, "step_size is 0.0; it must be finite and positive"),
        ("sgld", {"step_size": "1e-4"}, "not a number; write 1.0e-4"),
        ("sgld", {"friction": 0.5}, "the others take none"),
        ("underdamped", {}, "'underdamped' and 'baoab' need a friction"),
        ("baoab", {"friction": 1.5}, r"friction is 1.5; it must be in \(0, 1\]"),
        ("underdamped", {"friction": 1.5}, r"friction is 1.5; it must be in \(0, 1\]"),
        ("rmsprop_sgld", {"adapt_steps": 0}, "at least one step of burn-in"),
        ("hmc", {}, "choose one of"),
    ],
)
def test_settings_out_of_range_are_named(name: str, settings: dict, message: str) -> None:
    jaxtyping.config.update("jaxtyping_disable", True)  # which would find some first, in this test
    with pytest.raises(ConfigError, match=message):
        by_name.make(name, settings.pop("step_size", STEP), **settings)
