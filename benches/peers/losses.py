"""The objectives in JAX under jit and, where it is installed, in PyTorch eager and compiled.

    pip install jax          # torch as well, if you like
    [SHAPES=4096x32768,..] [DTYPE=bf16] python benches/peers/losses.py [--device cuda]
    python benches/peers/losses.py --between-other-work

Same formulas, shapes and masks as `cargo bench --bench losses`: forward plus backward of
scores that the caller keeps. Prints the median nanoseconds per score; every form is checked
against f64 first, on the first queries. Between other work the threads sleep and the caches
are cold, as in that benchmark's group of this name.
"""

import argparse
import os
import statistics
import time

import numpy as np

SHAPES = os.environ.get("SHAPES", "256x2048,1024x8192,2048x16384")
SHAPES = [tuple(map(int, shape.split("x"))) for shape in SHAPES.split(",")]
# A bf16 loss is as exact as a bf16 number is.
DTYPE, TOLERANCE = {"f32": ("float32", 1e-4), "bf16": ("bfloat16", 2e-2)}[os.environ.get("DTYPE", "f32")]
POSITIVES = 4
TEMPERATURE = 0.05


def batch(queries, documents):
    scores = np.random.default_rng(0).uniform(-1, 1, (queries, documents)).astype(np.float32)
    positives = np.zeros((queries, documents), bool)
    for query in range(queries):
        for positive in range(POSITIVES):
            positives[query, (query * 7919 + positive * documents // POSITIVES) % documents] = True
    return scores, positives


def objectives(logsumexp, where, softplus):
    """Formulas on functions that NumPy, JAX and PyTorch have by different names."""

    def lse(x, mask):
        return logsumexp(where(mask, x, -1e30))

    def lse_pair(s, p):
        s = s / TEMPERATURE
        return softplus(lse(s, ~p) + lse(-s, p)).mean()

    def sum_marg_lh(s, p):
        s = s / TEMPERATURE
        return softplus(lse(s, ~p) - lse(s, p)).mean()

    def joint_lh(s, p):
        s = s / TEMPERATURE
        return (p.sum(1) * logsumexp(s) - where(p, s, 0.0).sum(1)).mean()

    return {"lse_pair": lse_pair, "sum_marg_lh": sum_marg_lh, "joint_lh": joint_lh}


def reference():
    def logsumexp(x):
        top = x.max(1, keepdims=True)
        return top[:, 0] + np.log(np.exp(x - top).sum(1))

    return objectives(logsumexp, np.where, lambda x: np.logaddexp(0.0, x))


def jax_forms(device):
    try:
        import jax
        import jax.numpy as jnp
    except ImportError:
        return
    place = jax.devices("gpu" if device == "cuda" else "cpu")[0]
    formulas = objectives(
        lambda x: jax.scipy.special.logsumexp(x, axis=1), jnp.where, jax.nn.softplus
    )
    for name, formula in formulas.items():
        step = jax.jit(jax.value_and_grad(formula))

        def prepare(scores, positives, step=step):
            scores, positives = (jax.device_put(x, place) for x in (scores, positives))
            scores = scores.astype(DTYPE)

            def run():
                value, gradient = step(scores, positives)
                gradient.block_until_ready()
                return float(value)

            return run

        yield f"JAX {jax.__version__} jit", name, prepare


def torch_forms(device):
    try:
        import torch
    except ImportError:
        return
    formulas = objectives(
        lambda x: torch.logsumexp(x, 1), torch.where, torch.nn.functional.softplus
    )
    for kind, wrap in [("eager", lambda f: f), ("compile", lambda f: torch.compile(f, dynamic=False))]:
        for name, formula in formulas.items():
            step = wrap(formula)

            def prepare(scores, positives, step=step):
                kind = dict(device=device, dtype=getattr(torch, DTYPE))
                scores = torch.tensor(scores, requires_grad=True, **kind)
                positives = torch.tensor(positives, device=device)

                def run():
                    scores.grad = None
                    loss = step(scores, positives)
                    loss.backward()
                    return loss.item()

                return run

            yield f"PyTorch {torch.__version__} {kind}", name, prepare


def other_work(memory=np.zeros(96 << 20, np.uint8)):
    memory[::64] += 1
    time.sleep(0.005)


def median_seconds(run, before):
    run()
    times = []
    while len(times) < 10 or (sum(times) < 3 and len(times) < 200):
        before()
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--between-other-work", action="store_true")
    arguments = parser.parse_args()
    device = arguments.device
    before = other_work if arguments.between_other_work else lambda: None
    forms = [*jax_forms(device), *torch_forms(device)]
    if not forms:
        raise SystemExit("neither jax nor torch is installed")
    for shape in SHAPES:
        scores, positives = batch(*shape)
        for library, name, prepare in forms:
            few = scores[:256], positives[:256]
            exact = reference()[name](few[0].astype(np.float64), few[1])
            np.testing.assert_allclose(prepare(*few)(), exact, rtol=TOLERANCE)
            run = prepare(scores, positives)
            nanoseconds = 1e9 * median_seconds(run, before) / scores.size
            what = f"{shape[0]}x{shape[1]:<6} {name:12} {library:24}"
            print(f"{what} {nanoseconds:7.2f} ns/score", flush=True)


if __name__ == "__main__":
    main()
