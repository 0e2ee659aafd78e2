"""Losses and gradients of PyTorch and JAX in float32, for `cargo run -p accuracy`.

    pip install torch jax
    cargo run --release -p accuracy -- --python python

That command starts this program and writes a folder for each batch: `batch.json` and the
scores, positives and chosen columns as plain numbers. A line with the folder's name comes
in, what was computed goes to the folder, and a line goes out.

The formulas are those that users write. With the logarithms that the libraries have:
`log_softmax`, `logsumexp`, `cross_entropy`, `softplus`. Naive: the softmax first, and then
its logarithm.
"""

import json
import sys
from importlib.metadata import version
from pathlib import Path

import numpy as np

MINUS_INFINITY = float("-inf")


def torch_forms():
    import torch
    from torch.nn import functional

    def split(s, p):
        return s.masked_fill(p, MINUS_INFINITY), s.masked_fill(~p, MINUS_INFINITY)

    def lse_pair(s, p, _):
        negatives = s.masked_fill(p, MINUS_INFINITY)
        weak = (-s).masked_fill(~p, MINUS_INFINITY)
        return functional.softplus(negatives.logsumexp(1) + weak.logsumexp(1))

    def joint_lh(s, p, _):
        return -(functional.log_softmax(s, 1) * p).sum(1)

    def sum_marg_lh(s, p, _):
        return s.logsumexp(1) - s.masked_fill(~p, MINUS_INFINITY).logsumexp(1)

    def drawn(s, p, chosen):
        others = p.clone()
        others[torch.arange(len(s)), chosen] = False
        return s.masked_fill(others, MINUS_INFINITY)

    def rand1_lh(s, p, chosen):
        return functional.cross_entropy(drawn(s, p, chosen), chosen, reduction="none")

    def naive_lse_pair(s, p, _):
        negatives, _ = split(s, p)
        weak = (-s).masked_fill(~p, MINUS_INFINITY)
        return torch.log(1 + negatives.exp().sum(1) * weak.exp().sum(1))

    def naive_joint_lh(s, p, _):
        return -(torch.log(functional.softmax(s, 1)) * p).sum(1)

    def naive_sum_marg_lh(s, p, _):
        return -torch.log((functional.softmax(s, 1) * p).sum(1))

    def naive_rand1_lh(s, p, chosen):
        likelihoods = functional.softmax(drawn(s, p, chosen), 1)
        return -torch.log(likelihoods[torch.arange(len(s)), chosen])

    def run(loss, scores, positives, chosen, temperature):
        leaf = torch.tensor(scores, requires_grad=True)
        losses = loss(leaf / temperature, torch.tensor(positives), torch.tensor(chosen))
        losses.sum().backward()
        return losses.detach().numpy(), leaf.grad.numpy()

    careful = {
        "lse_pair": lse_pair,
        "joint_lh": joint_lh,
        "sum_marg_lh": sum_marg_lh,
        "rand1_lh/chosen": rand1_lh,
    }
    naive = {
        "lse_pair": naive_lse_pair,
        "joint_lh": naive_joint_lh,
        "sum_marg_lh": naive_sum_marg_lh,
        "rand1_lh/chosen": naive_rand1_lh,
    }
    return run, {"PyTorch": careful, "PyTorch, naive": naive}


def jax_forms():
    import jax
    from jax import numpy as jnp
    from jax.nn import log_softmax, softplus
    from jax.scipy.special import logsumexp

    def lse_pair(s, p, _):
        negatives = logsumexp(s, 1, where=~p)
        return softplus(negatives + logsumexp(-s, 1, where=p))

    def joint_lh(s, p, _):
        return -jnp.where(p, log_softmax(s), 0.0).sum(1)

    def sum_marg_lh(s, p, _):
        return logsumexp(s, 1) - logsumexp(s, 1, where=p)

    def rand1_lh(s, p, chosen):
        own = jnp.arange(s.shape[1])[None] == chosen[:, None]
        of_all = log_softmax(s, where=own | ~p)
        return -jnp.where(own, of_all, 0.0).sum(1)

    def run(loss, scores, positives, chosen, temperature):
        def total(scores):
            losses = loss(scores / temperature, positives, chosen)
            return losses.sum(), losses

        step = jax.jit(jax.value_and_grad(total, has_aux=True))
        (_, losses), gradient = step(jnp.asarray(scores))
        return np.asarray(losses), np.asarray(gradient)

    losses = {
        "lse_pair": lse_pair,
        "joint_lh": joint_lh,
        "sum_marg_lh": sum_marg_lh,
        "rand1_lh/chosen": rand1_lh,
    }
    return run, {"JAX": losses}


def compute(folder, libraries):
    batch = json.loads((folder / "batch.json").read_text())
    shape = batch["rows"], batch["documents"]
    scores = np.fromfile(folder / "scores", np.float32).reshape(shape)
    positives = np.fromfile(folder / "positives", np.uint8).reshape(shape) != 0
    chosen = np.fromfile(folder / "chosen", np.int64)
    results = []
    for run, forms in libraries:
        for form, losses in forms.items():
            for setting, loss in losses.items():
                values, gradient = run(loss, scores, positives, chosen, batch["temperature"])
                file = str(len(results))
                np.concatenate([values, gradient.ravel()]).astype(np.float32).tofile(folder / file)
                results.append({"form": form, "setting": setting, "file": file})
    (folder / "results.json").write_text(json.dumps(results))


def main():
    libraries = [torch_forms(), jax_forms()]
    print(f"PyTorch {version('torch')}, JAX {version('jax')}", flush=True)
    for line in sys.stdin:
        compute(Path(line.rstrip("\n")), libraries)
        print("done", flush=True)


if __name__ == "__main__":
    main()
