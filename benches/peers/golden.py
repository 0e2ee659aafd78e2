"""Losses of other libraries on small batches, for `tests/golden/peers.json`.

    pip install torch pytorch-metric-learning optax rax open_clip_torch sentence-transformers
    pip install lightly catalyst six
    git clone https://github.com/puerrrr/Focal-InfoNCE
    PYTHONPATH=Focal-InfoNCE python benches/peers/golden.py > tests/golden/peers.json

Every batch has normalized embeddings of queries and documents, and labels; equal labels are
relevant. A case has the value of a loss, and its gradients where the library gives them. Some
have a teacher's scores, and the gradients of what is learned besides embeddings.
"""

import json
import sys
from functools import partial
from importlib.metadata import version
from types import SimpleNamespace
from unittest import mock

import numpy as np
import torch

BATCHES = 10
# The commit of what has no version.
FOCAL_INFO_NCE = "1c781dc27f115f31ede595a7e03c2e2421c51f7f"


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


def lists(seed):
    """Of every query a list of its own: a relevant document, negatives, and a teacher's scores.

    The documents are all the relevant ones, then the first negative of every query, and so on.
    """
    queries, documents, labels, _ = pairs(seed)
    negatives = 1 + seed % 3
    for which in range(negatives):
        _, others, _, _ = batch(seed + 100 * (1 + which))
        documents = np.concatenate([documents, others[: len(queries)]])
    of_documents = np.concatenate([labels + 100 * which for which in range(1 + negatives)])
    return (queries, documents, labels, of_documents), scores(seed, (len(queries), 1 + negatives))


def scores(seed, shape):
    """A teacher's."""
    return np.round(np.random.default_rng(seed + 1000).normal(scale=2.0, size=shape), 3)


def torch_case(library, name, options, batch, loss, learned=(), teacher=None):
    queries, documents, *labels = batch
    leaf = partial(torch.tensor, dtype=torch.float64, requires_grad=True)
    leaves = [leaf(x) for x in (queries, documents)]
    scalars = {key: leaf(options[key]) for key in learned}
    value = loss(*leaves, *(torch.tensor(x) for x in labels), **scalars)
    value.backward()
    gradients = [np.round(x.grad.numpy(), 14).tolist() for x in leaves]
    of_options = {key: round(x.grad.item(), 14) for key, x in scalars.items()}
    return case(library, name, options, batch, value.item(), gradients, teacher, of_options)


def case(library, name, options, batch, value, gradients=None, teacher=None, of_options=None):
    queries, documents, of_queries, of_documents = batch
    made = {
        "library": library,
        "name": name,
        "options": options,
        "queries": queries.tolist(),
        "documents": documents.tolist(),
        "labels": [of_queries.tolist(), of_documents.tolist()],
        "value": float(value),
        "gradients": gradients,
    }
    if teacher is not None:
        made["teacher"] = teacher.tolist()
    if of_options:
        made["option_gradients"] = of_options
    return made


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
    of_documents = np.concatenate([labels, labels + 100])
    hard = (queries, np.concatenate([documents, negatives]), labels, of_documents)
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
    both = (queries, documents, labels, labels)
    yield ranking("MultipleNegativesSymmetricRankingLoss", both, loss, {})


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


def circle(seed):
    from pytorch_metric_learning import losses

    # alpha_p = max(0, 1 + m - s_p) and alpha_n = max(0, s_n + m), both constants;
    # softplus(lse_p(-gamma alpha_p (s_p - 1 + m)) + lse_n(gamma alpha_n (s_n - m))), the mean over
    # the queries with positives and negatives whose loss is not 0.
    # PyTorch's softplus(x) is x above 20, by up to 2e-9 less: these batches have no query between
    # 20 and 36, where that is seen, and some below 10.
    batches = [15, 20, 53, 53, 75, 132, 88, 235, 132, 239]
    m, gamma = [(0.4, 80), (0.25, 32)][seed % 2]
    loss = losses.CircleLoss(m, gamma)

    def call(queries, documents, of_queries, of_documents):
        return loss(queries, of_queries, ref_emb=documents, ref_labels=of_documents)

    made = batch(batches[seed])
    options = {"m": m, "gamma": gamma}
    yield torch_case("pytorch-metric-learning", "CircleLoss", options, made, call)


def triplet(seed):
    from pytorch_metric_learning import distances, losses, miners, reducers

    # The mean over all queries; by default it is over those whose loss is not 0. In each of these
    # batches a query keeps the margin, and another does not.
    batches = [258, 103, 129, 44, 15, 7, 111, 133, 20, 178]
    margin = [0.05, 0.1, 0.2][seed % 3]
    cosine, mean = distances.CosineSimilarity(), reducers.MeanReducer()
    loss = losses.TripletMarginLoss(margin, distance=cosine, reducer=mean)
    hardest = miners.BatchHardMiner(distance=cosine)

    def call(queries, documents, *labels):
        of_queries, of_documents = labels
        mined = hardest(queries, of_queries, documents, of_documents)
        return loss(queries, of_queries, mined, documents, of_documents)

    made, options = batch(batches[seed]), {"margin": margin}
    yield torch_case("pytorch-metric-learning", "TripletMarginLoss", options, made, call)


def sig_lip(seed):
    from open_clip.loss import SigLipLoss

    # The sum over all pairs, divided by the number of queries.
    scale, bias = [(10.0, -10.0), (1.0, 0.5), (5.0, -2.0)][seed % 3]

    def call(queries, documents, *_, scale, bias):
        return SigLipLoss()(queries, documents, scale, bias)

    learned = {"scale": scale, "bias": bias}
    yield torch_case("open_clip_torch", "SigLipLoss", learned, pairs(seed), call, learned)


def decoupled(seed):
    from lightly.loss import DCLLoss

    # The mean of both directions; a denominator has all documents but the positive, and all other
    # queries.
    temperature = [0.1, 0.5, 1.0][seed % 3]

    def call(queries, documents, *_):
        return DCLLoss(temperature)(queries, documents)

    yield torch_case("lightly", "DCLLoss", {"temperature": temperature}, pairs(seed), call)


def distillation(seed):
    from sentence_transformers.sentence_transformer import losses

    made, teacher = lists(seed)

    def run(name, loss, options):
        def call(queries, documents, *_):
            parts = list(torch.split(documents, len(queries)))
            return loss.compute_loss_from_embeddings([queries, *parts], torch.tensor(teacher))

        return torch_case("sentence-transformers", name, options, made, call, teacher=teacher)

    # The mean over all pairs of a relevant document and a negative.
    yield run("MarginMSELoss", losses.MarginMSELoss(None), {})
    # The mean over queries, times the square of the student's temperature.
    of_student, of_teacher = [(1.0, 1.0), (2.0, 2.0), (0.5, 2.0)][seed // 3 % 3]
    options = {"student_temperature": of_student, "teacher_temperature": of_teacher}
    yield run("DistillKLDivLoss", losses.DistillKLDivLoss(None, **options), options)


def list_net(seed):
    import jax

    jax.config.update("jax_enable_x64", True)
    import jax.numpy as jnp
    import rax

    queries, documents, of_queries, of_documents = made = batch(seed)
    temperature, of_teacher = [(0.1, 1.0), (0.5, 2.0), (1.0, 0.5)][seed % 3]

    def run(name, options, teacher, labels, distribution):
        def loss(queries, documents):
            scores = queries @ documents.T / temperature
            return rax.softmax_loss(scores, jnp.asarray(labels), label_fn=distribution)

        gradient = jax.value_and_grad(loss, argnums=(0, 1))
        value, gradients = gradient(jnp.asarray(queries), jnp.asarray(documents))
        gradients = [np.round(np.asarray(x), 14).tolist() for x in gradients]
        options = {"temperature": temperature, **options}
        return case("rax", name, options, made, value, gradients, teacher)

    # Grades of the relevant documents, divided by their sum.
    relevant = of_queries[:, None] == of_documents[None, :]
    grades = relevant * np.random.default_rng(seed + 2000).integers(1, 5, size=relevant.shape)
    distribution = rax.utils.normalize_probabilities
    yield run("softmax_loss_of_grades", {}, grades, grades.astype(float), distribution)
    # The likelihoods of a teacher.
    teacher = scores(seed, relevant.shape)
    options = {"teacher_temperature": of_teacher}
    labels = teacher / of_teacher
    yield run("softmax_loss_of_teacher", options, teacher, labels, jax.nn.softmax)


def l_in(seed):
    from catalyst.contrib.losses.supervised_contrastive import SupervisedContrastiveLoss

    # Of all texts over all others; the mean of the positives, in the logarithm.
    temperature = [0.5, 1.0, 2.0][seed % 3]
    loss = SupervisedContrastiveLoss(temperature, pos_aggregation="in")

    def call(queries, documents, of_queries, of_documents):
        # It has the logarithm of the number of positives in single precision.
        with mock.patch.object(torch.Tensor, "float", torch.Tensor.double):
            return loss(torch.cat([queries, documents]), torch.cat([of_queries, of_documents]))

    options = {"temperature": temperature}
    yield torch_case("catalyst", "SupervisedContrastiveLoss", options, batch(seed), call)


def focal(seed):
    from focalNCE.models import Similarity, cl_forward

    # The scores are s_p^2 / temperature and s_n (s_n + m) / temperature.
    temperature, m = [(0.05, 0.3), (0.1, 0.2), (0.5, 0.5)][seed % 3]

    def call(queries, documents, *_):
        # A model whose embeddings are these, without a layer of its own.
        model = SimpleNamespace(
            device="cpu",
            training=False,
            pooler_type="none",
            pooler=lambda _, outputs: outputs[0],
            sim=Similarity(temperature),
            model_args=SimpleNamespace(pooler_type="none", temp=temperature, m=m),
        )
        texts = torch.stack([queries, documents], dim=1)
        tokens = torch.zeros(len(queries), 2, 1, dtype=torch.int64)
        encoder = mock.Mock(return_value=(texts, None))
        return cl_forward(model, encoder, tokens, tokens, return_dict=False)[0]

    options = {"temperature": temperature, "m": m}
    yield torch_case("Focal-InfoNCE", "focal_info_nce", options, pairs(seed), call)


def main():
    cases = []
    first = [metric_learning, open_clip, sentence_transformers, rax_and_optax]
    second = [circle, triplet, sig_lip, decoupled, distillation, list_net, l_in, focal]
    for libraries in [first, second]:
        for seed in range(BATCHES):
            for library in libraries:
                cases.extend(library(seed))
    names = ["torch", "pytorch-metric-learning", "open_clip_torch", "sentence-transformers"]
    names += ["jax", "optax", "rax", "lightly", "catalyst"]
    versions = {name: version(name) for name in names} | {"Focal-InfoNCE": FOCAL_INFO_NCE}
    json.dump({"versions": versions, "cases": cases}, sys.stdout)


main()
