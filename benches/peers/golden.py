"""Losses of other libraries on small batches, for `tests/golden/peers.json`.

    pip install torch pytorch-metric-learning optax rax open_clip_torch sentence-transformers
    python benches/peers/golden.py > tests/golden/peers.json

Every batch has normalized embeddings of queries and documents, and labels; equal labels are
relevant. A case has the value of a loss, and its gradients where the library is PyTorch's.
"""

import json
import sys
from importlib.metadata import version

import numpy as np
import torch

BATCHES = 10


def batch(seed):
    random = np.random.default_rng(seed)
    queries, documents = int(random.integers(3, 7)), int(random.integers(6, 11))
    dimensions = 5

    def unit(rows):
        x = random.normal(size=(rows, dimensions))
        # Few digits, for a short file: of length 1 but for these.
        return np.round(x / np.linalg.norm(x, axis=1, keepdims=True), 3)

    # Every query has a positive, every document is one.
    of_documents = np.arange(documents) % queries
    return unit(queries), unit(documents), np.arange(queries), of_documents


def pairs(seed):
    """As many documents as queries, the one in a query's place relevant."""
    queries, documents, labels, _ = batch(seed)
    return queries, documents[: len(queries)], labels, labels


def torch_case(library, name, options, batch, loss):
    queries, documents, *labels = batch
    leaves = [torch.tensor(x, dtype=torch.float64, requires_grad=True) for x in (queries, documents)]
    value = loss(*leaves, *(torch.tensor(x) for x in labels))
    value.backward()
    gradients = [np.round(x.grad.numpy(), 14).tolist() for x in leaves]
    return case(library, name, options, batch, value.item(), gradients)


def case(library, name, options, batch, value, gradients=None):
    queries, documents, of_queries, of_documents = batch
    return {
        "library": library,
        "name": name,
        "options": options,
        "queries": queries.tolist(),
        "documents": documents.tolist(),
        "labels": [of_queries.tolist(), of_documents.tolist()],
        "value": float(value),
        "gradients": gradients,
    }


def metric_learning(seed):
    from pytorch_metric_learning import losses

    def run(name, loss, options):
        def call(queries, documents, of_queries, of_documents):
            return loss(queries, of_queries, ref_emb=documents, ref_labels=of_documents)

        return torch_case("pytorch-metric-learning", name, options, batch(seed), call)

    temperature = [0.1, 0.5, 1.0][seed % 3]
    yield run("NTXentLoss", losses.NTXentLoss(temperature), {"temperature": temperature})
    yield run("SupConLoss", losses.SupConLoss(temperature), {"temperature": temperature})
    alpha, beta, base = [(2, 50, 0.5), (3, 5, 0.2), (1, 10, 1.0)][seed % 3]
    options = {"alpha": alpha, "beta": beta, "base": base}
    yield run("MultiSimilarityLoss", losses.MultiSimilarityLoss(alpha, beta, base), options)


def open_clip(seed):
    from open_clip.loss import ClipLoss

    scale = [1.0, 10.0, 50.0][seed % 3]

    def call(queries, documents, *_):
        return ClipLoss()(queries, documents, torch.tensor(scale, dtype=torch.float64))

    yield torch_case("open_clip_torch", "ClipLoss", {"scale": scale}, pairs(seed), call)


def sentence_transformers(seed):
    from sentence_transformers.sentence_transformer import losses

    queries, documents, labels, _ = pairs(seed)
    _, negatives, _, _ = batch(seed + 100)
    negatives = np.resize(negatives, queries.shape)
    # No query has the label of a hard negative.
    hard = (queries, np.concatenate([documents, negatives]), labels, np.concatenate([labels, labels + 100]))
    scale = [20.0, 5.0, 1.0][seed % 3]

    def ranking(name, made, loss, options):
        def call(queries, documents, *_):
            parts = list(torch.split(documents, len(queries)))
            return loss.compute_loss_from_embeddings([queries, *parts], None)

        return torch_case("sentence-transformers", name, {"scale": scale, **options}, made, call)

    loss = losses.MultipleNegativesRankingLoss(None, scale=scale)
    yield ranking("MultipleNegativesRankingLoss", hard, loss, {})
    loss = losses.MultipleNegativesRankingLoss(
        None, scale=scale, hardness_mode="all_negatives", hardness_strength=5.0
    )
    yield ranking("hardness_mode", hard, loss, {"hardness": 5.0})
    loss = losses.MultipleNegativesRankingLoss(
        None, scale=scale, directions=("query_to_doc", "query_to_query")
    )
    yield ranking("query_to_query", hard, loss, {})
    loss = losses.MultipleNegativesSymmetricRankingLoss(None, scale=scale)
    yield ranking("MultipleNegativesSymmetricRankingLoss", (queries, documents, labels, labels), loss, {})


def rax_and_optax(seed):
    import jax

    jax.config.update("jax_enable_x64", True)
    import jax.numpy as jnp
    import optax
    import rax

    queries, documents, of_queries, of_documents = made = batch(seed)
    relevant = jnp.asarray(of_queries[:, None] == of_documents[None, :], dtype=jnp.float64)
    temperature = [0.1, 0.5, 1.0][seed % 3]
    scores = jnp.asarray(queries @ documents.T) / temperature
    options = {"temperature": temperature}
    for name in ["softmax_loss", "unique_softmax_loss"]:
        value = getattr(rax, name)(scores, relevant, reduce_fn=jnp.mean)
        yield case("rax", name, options, made, value)
    # Of all texts, queries and documents alike, those of a label belong together.
    texts = jnp.asarray(np.concatenate([queries, documents]))
    labels = jnp.asarray(np.concatenate([of_queries, of_documents]))
    value = optax.losses.ntxent(texts, labels, temperature)
    yield case("optax", "ntxent", options, made, value)


def main():
    cases = []
    for seed in range(BATCHES):
        for library in [metric_learning, open_clip, sentence_transformers, rax_and_optax]:
            cases.extend(library(seed))
    names = ["torch", "pytorch-metric-learning", "open_clip_torch", "sentence-transformers", "jax", "optax", "rax"]
    json.dump({"versions": {name: version(name) for name in names}, "cases": cases}, sys.stdout)


main()
