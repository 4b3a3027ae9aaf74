"""Replicas of a large module one by one: copies that positions are written into, a thread each.

``torch.vmap`` turns convolutions whose weights differ between replicas into grouped ones, and
products with one weight matrix into batched ones, which are slow once a single replica fills a
core. Replicas need nothing of each other, so the cores are better used by a replica each than by
torch's threads inside every operation, which meet at a barrier at its end.
"""

import copy
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache
from queue import SimpleQueue
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

LossFunction = Callable[[Any, Tensor], Tensor]
#: What the module is called with: its one argument, or its keyword arguments.
Inputs = Tensor | Mapping[str, Tensor]
Weights = Mapping[str, Tensor]


class Job(NamedTuple):
    """One replica: its flat position, what the checkpoint holds fixed, and its samples."""

    position: Tensor
    frozen: Weights
    inputs: Inputs
    targets: Tensor


def call(module: Callable[..., Any], inputs: Inputs) -> Any:
    """Call the module with its one argument or its keyword arguments."""
    return module(**inputs) if isinstance(inputs, Mapping) else module(inputs)


class Replicas:
    """Evaluates replicas of one module, several side by side where torch has several threads.

    The copies share the module's memory until a position is written into them; a position is
    written by pointing the parameters at it, so that nothing is copied.

    Args:
        module: In eval mode.
        loss_fn: (output, targets) -> one loss per sample.
        moving: Names of the parameters that a position holds, in its order.
    """

    def __init__(self, module: nn.Module, loss_fn: LossFunction, moving: Sequence[str]) -> None:
        """Make the first copy; more are made when threads ask for them."""
        self._module, self._loss_fn, self._moving = module, loss_fn, list(moving)
        self._free: SimpleQueue[_Copy] = SimpleQueue()
        self._copies = 0

    def losses(self, jobs: Sequence[Job]) -> Float[Tensor, "replica sample"]:
        """Return each replica's losses."""
        return torch.stack(self._spread(lambda one, job, _: one.losses(job), jobs))

    def mean_and_gradient(
        self, jobs: Sequence[Job]
    ) -> tuple[Float[Tensor, " replica"], Float[Tensor, "replica parameter"]]:
        """Return each replica's mean loss and its gradient."""
        gradients = jobs[0].position.new_empty(len(jobs), len(jobs[0].position))
        means = self._spread(lambda one, job, k: one.gradient(job, gradients[k]), jobs)
        return torch.stack(means), gradients

    def _spread(
        self, work: Callable[["_Copy", Job, int], Tensor], jobs: Sequence[Job]
    ) -> list[Tensor]:
        """Do the work for each job, each in a free copy, and return the results in order."""
        threads = torch.get_num_threads()
        workers = min(threads, len(jobs)) if jobs[0].position.device.type == "cpu" else 1
        while self._copies < workers:
            self._free.put(_Copy(self._module, self._loss_fn, self._moving))
            self._copies += 1

        def one(job: Job, place: int) -> Tensor:
            free = self._free.get()
            try:
                return work(free, job, place)
            finally:
                self._free.put(free)

        if workers == 1:
            return [one(job, place) for place, job in enumerate(jobs)]
        with _threads_each(threads // workers, threads):
            pool = _pool(workers, threads // workers, os.getpid())
            return list(pool.map(one, jobs, range(len(jobs))))


class _Copy:
    """A module of its own whose parameters and buffers can be pointed elsewhere."""

    def __init__(self, module: nn.Module, loss_fn: LossFunction, moving: Sequence[str]) -> None:
        own = [*module.parameters(), *module.buffers()]
        shared = {id(p): nn.Parameter(p.data, requires_grad=False) for p in module.parameters()}
        shared |= {id(b): b.detach() for b in module.buffers()}
        # The memo keeps alive what it maps, so that no id is used twice.
        self._module = copy.deepcopy(module, {**shared, id(shared): own})
        self._loss_fn = loss_fn
        named = dict(self._module.named_parameters())
        self._places = {**named, **dict(self._module.named_buffers())}
        self._moving = [named[name].requires_grad_() for name in moving]
        self._sizes = [one.numel() for one in self._moving]

    def losses(self, job: Job) -> Tensor:
        with torch.no_grad():
            return self._evaluate(job)

    def gradient(self, job: Job, out: Tensor) -> Tensor:
        """Return the mean loss and write its gradient into ``out``."""
        with torch.enable_grad():
            mean = self._evaluate(job).mean()
            if out.is_cuda:  # where memory is dear: without a second gradient beside ``out``
                self._add_gradient(mean, out.zero_())
                return mean.detach()
            parts = torch.autograd.grad(mean, self._moving, materialize_grads=True)
        torch.cat([part.reshape(-1) for part in parts], out=out)
        return mean.detach()

    def _add_gradient(self, mean: Tensor, out: Tensor) -> None:
        """Let the backward pass add to ``out``, which every parameter's gradient is a part of."""
        for place, part in zip(self._moving, out.split(self._sizes), strict=True):
            place.grad = part.view(place.shape)
        mean.backward()
        for place in self._moving:
            place.grad = None

    def _evaluate(self, job: Job) -> Tensor:
        parts = job.position.detach().split(self._sizes)
        for place, part in zip(self._moving, parts, strict=True):
            place.data = part.view(place.shape)
        for name, value in job.frozen.items():
            self._places[name].data = value
        return self._loss_fn(call(self._module, job.inputs), job.targets).flatten()


@cache
def _pool(workers: int, threads: int, process: int) -> ThreadPoolExecutor:
    """Return threads that use so many of torch's threads each; a forked process has its own."""
    return ThreadPoolExecutor(workers, "replicas", torch.set_num_threads, (threads,))


@contextmanager
def _threads_each(count: int, before: int) -> Iterator[None]:
    """Lower torch's threads for all: its matrix library has one setting for the whole process."""
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
