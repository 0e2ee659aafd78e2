"""A loss from embeddings in JAX under jit and in PyTorch, all scores at once and in chunks of queries.

    pip install jax          # and torch, either or both
    [SHAPES=8192x8192,..] python benches/peers/embeddings.py [--device cuda]

LSEPair with its gradients of queries and documents, as `cargo bench --bench embeddings` takes it: f32, 384 dimensions, four
positives a query by label. Prints median milliseconds, the ratio to the library's own three matrix products, and
the peak of the process beyond the embeddings. Each form runs in a process of its own and is checked against
NumPy in f64 at a small shape first.
"""

import argparse
import os
import resource
import statistics
import subprocess
import sys
import time

import numpy as np

SHAPES = os.environ.get("SHAPES", "2048x8192,8192x8192")
SHAPES = [tuple(map(int, shape.split("x"))) for shape in SHAPES.split(",")]
DIMENSIONS = 384
POSITIVES = 4
TEMPERATURE = 0.05
CHUNK = 512
FORMS = ["jax dense", "jax chunked", "torch dense", "torch chunked"]


def batch(queries, documents):
    random = np.random.default_rng(0)
    q, d = (random.normal(0, DIMENSIONS**-0.5, (n, DIMENSIONS)).astype(np.float32) for n in (queries, documents))
    return q, d, np.arange(queries) % (documents // POSITIVES), np.arange(documents) // POSITIVES


def exact(q, d, of_queries, of_documents):
    s = q.astype(np.float64) @ d.astype(np.float64).T / TEMPERATURE
    positive = of_queries[:, None] == of_documents[None, :]

    def lse(x, mask):
        return np.log(np.where(mask, np.exp(x), 0).sum(1))

    return np.logaddexp(0, lse(s, ~positive) + lse(-s, positive)).mean()


def jax_form(form, device, arrays):
    import jax
    import jax.numpy as jnp

    place = jax.devices("gpu" if device == "cuda" else "cpu")[0]
    q, d, of_queries, of_documents = (jax.device_put(x, place) for x in arrays)

    def losses(q, d, of_queries, of_documents):
        s = q @ d.T / TEMPERATURE
        positive = of_queries[:, None] == of_documents[None, :]
        lse = jax.scipy.special.logsumexp
        gap = lse(jnp.where(positive, -1e30, s), axis=1) + lse(jnp.where(positive, -s, -1e30), axis=1)
        return jax.nn.softplus(gap)

    def dense(q, d, of_queries, of_documents):
        return losses(q, d, of_queries, of_documents).mean()

    def chunked(q, d, of_queries, of_documents):
        chunk = jax.checkpoint(lambda q, labels: losses(q, d, labels, of_documents).sum())
        parts = (q.reshape(-1, min(CHUNK, len(q)), DIMENSIONS), of_queries.reshape(-1, min(CHUNK, len(q))))
        return jax.lax.map(lambda part: chunk(*part), parts).sum() / len(q)

    step = jax.jit(jax.value_and_grad({"dense": dense, "chunked": chunked}[form], argnums=(0, 1)))

    def run():
        value, gradients = step(q, d, of_queries, of_documents)
        jax.block_until_ready(gradients)
        return float(value)

    product = jax.jit(lambda q, d: (lambda s: (s.sum(), s @ d, s.T @ q))(q @ d.T))
    return f"JAX {jax.__version__} jit", run, lambda: jax.block_until_ready(product(q, d))


def torch_form(form, device, arrays):
    import torch

    q, d, of_queries, of_documents = (torch.tensor(x, device=device) for x in arrays)
    q.requires_grad_()
    d.requires_grad_()

    def loss(q, of_queries):
        s = q @ d.T / TEMPERATURE
        positive = of_queries[:, None] == of_documents[None, :]
        gap = torch.logsumexp(s.masked_fill(positive, -1e30), 1) + torch.logsumexp((-s).masked_fill(~positive, -1e30), 1)
        return torch.nn.functional.softplus(gap).sum() / len(of_all)

    of_all = of_queries

    def run():
        q.grad = d.grad = None
        size = len(q) if form == "dense" else CHUNK
        total = 0.0
        # The gradient of each chunk is taken before the next one is computed.
        for start in range(0, len(q), size):
            part = loss(q[start : start + size], of_queries[start : start + size])
            part.backward()
            total += part.item()
        return total

    def products():
        with torch.no_grad():
            s = q @ d.T
            result = (s @ d, s.T @ q)
            if device == "cuda":
                torch.cuda.synchronize()
            return result

    return f"PyTorch {torch.__version__} eager", run, products


def median_seconds(run):
    run()
    times = []
    while len(times) < 5 or (sum(times) < 3 and len(times) < 50):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def peak_mib():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def measure(library, form, device, shape):
    make = {"jax": jax_form, "torch": torch_form}[library]
    small = batch(1024, 2048)
    name, run, products = make(form, device, small)
    np.testing.assert_allclose(run(), exact(*small), rtol=1e-4)
    products()
    name, run, products = make(form, device, batch(*shape))
    before = peak_mib()
    run()
    peak = peak_mib() - before
    seconds, floor = median_seconds(run), median_seconds(products)
    memory = f"peak {peak:6.0f} MiB" if device == "cpu" else ""
    print(
        f"{shape[0]}x{shape[1]:<6} {name:24} {form:8} {1e3 * seconds:8.1f} ms, "
        f"three products {1e3 * floor:8.1f} ms, ratio {seconds / floor:5.2f} {memory}",
        flush=True,
    )


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--form", choices=FORMS, help=argparse.SUPPRESS)
    parser.add_argument("--shape", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.form:
        shape = tuple(map(int, arguments.shape.split("x")))
        return measure(*arguments.form.split(), arguments.device, shape)
    for queries, documents in SHAPES:
        for form in FORMS:
            library = form.split()[0]
            if subprocess.run([sys.executable, "-c", f"import {library}"], capture_output=True).returncode:
                print(f"{library} is not installed")
                continue
            shape = f"{queries}x{documents}"
            command = [sys.executable, __file__, "--device", arguments.device, "--form", form, "--shape", shape]
            subprocess.run(command, check=True)


if __name__ == "__main__":
    main()
