"""The main example in PyTorch: the same encoder, texts, loss and settings, and batches
that are drawn alike.

    pip install torch
    python benches/peers/training.py --data DIR [--test-split dev] [--dense]

It is compared with `cargo run --release --example train_dual_encoder -- --data DIR
[--test-split dev]`. DIR holds a collection in BEIR layout; the example writes its
embedded one with `--export DIR`. The table of 65,536 x 128 is an `nn.EmbeddingBag` that
SparseAdam trains on the rows of a batch; with --dense fused Adam trains all of it. Prints
MRR@10, nDCG@10 and Recall@100 as the example does, the seconds of training, and those of
the whole program, the import of PyTorch included.
"""

import time

START = time.perf_counter()

import argparse
import json
import random
import re
from collections import Counter, defaultdict
from pathlib import Path

import torch
from torch.nn.functional import normalize, softplus

BUCKETS = 65_536
DIMENSIONS = 128
# Burn's default.
EPSILON = 1e-5
# Runs of letters and digits.
WORD = re.compile(r"[^\W_]+")


def bucket(word):
    """FNV-1a, folded."""
    hash = 0xCBF29CE484222325
    for byte in word.encode():
        hash = ((hash ^ byte) * 0x100000001B3) & 0xFFFFFFFFFFFFFFFF
    return (hash ^ (hash >> 32)) % BUCKETS


class Texts:
    """Bags of words: the buckets of a text, each with its share of the words."""

    def __init__(self, texts):
        known = {}
        self.buckets, self.shares = [], []
        for text in texts:
            words = WORD.findall(text.lower())
            for word in words:
                if word not in known:
                    known[word] = bucket(word)
            counts = sorted(Counter(known[word] for word in words).items())
            self.buckets.append(torch.tensor([bucket for bucket, _ in counts], dtype=int))
            self.shares.append(torch.tensor([count / len(words) for _, count in counts]))

    def batch(self, ids):
        return [self.buckets[id] for id in ids], [self.shares[id] for id in ids]


def read_records(path):
    with open(path, encoding="utf-8-sig") as lines:
        records = [json.loads(line) for line in lines if line.strip()]
    places = {record["_id"]: place for place, record in enumerate(records)}
    return places, [f"{record.get('title') or ''} {record['text']}" for record in records]


def read_judgements(folder, splits, queries, documents):
    """Of each query in the order of the files: its place, and the grades of documents."""
    judged = defaultdict(dict)
    for split in splits.split(","):
        with open(folder / f"qrels/{split}.tsv", encoding="utf-8-sig") as lines:
            for line in lines:
                if not line.strip() or line.startswith("query-id\t"):
                    continue
                query, document, grade = line.split("\t")
                judged[queries[query]][documents[document]] = int(grade)
    return judged


def encode(table, buckets, shares):
    lengths = torch.tensor([len(text) for text in buckets])
    offsets = lengths.cumsum(0) - lengths
    return normalize(table(torch.cat(buckets), offsets, torch.cat(shares)), dim=1)


def lse_pair(scores, positives):
    def lse(x, mask):
        return torch.logsumexp(x.masked_fill(~mask, -torch.inf), 1)

    return softplus(lse(scores, ~positives) + lse(-scores, positives)).mean()


def train(table, optimizer, args, queries, documents, judged):
    relevant = {
        query: [document for document, grade in grades.items() if grade > 0]
        for query, grades in judged.items()
    }
    steps = 0
    order = [query for query, ids in relevant.items() if ids]
    relevance = torch.zeros(len(queries.buckets), len(documents.buckets), dtype=bool)
    for query in order:
        relevance[query, relevant[query]] = True
    for epoch in range(1, args.epochs + 1):
        total = 0.0
        random.shuffle(order)
        for start in range(0, len(order), args.batch_size):
            batch = order[start : start + args.batch_size]
            # Each document once, however many queries drew it.
            ids = {}
            for query in batch:
                drawn = min(args.max_positives, len(relevant[query]))
                ids.update(dict.fromkeys(random.sample(relevant[query], drawn)))
            ids = list(ids)
            # Encoded together, so that the table has one gradient.
            parts = zip(queries.batch(batch), documents.batch(ids))
            buckets, shares = (ours + theirs for ours, theirs in parts)
            vectors = encode(table, buckets, shares)
            of_queries, of_documents = vectors.split([len(batch), len(ids)])
            scores = of_queries @ of_documents.T
            loss = lse_pair(scores / args.temperature, relevance[batch][:, ids])
            optimizer.zero_grad()
            loss.backward()
            steps += 1
            if not args.dense:
                # SparseAdam adds epsilon before its correction, Adam behind it.
                optimizer.param_groups[0]["eps"] = EPSILON * (1 - 0.999**steps) ** 0.5
            optimizer.step()
            total += loss.item() * len(batch)
        print(f"epoch {epoch:2}  loss {total / len(order):.4f}", flush=True)


@torch.inference_mode()
def measure(table, queries, documents, judged):
    """Means of MRR@10, nDCG@10 and Recall@100. Equal scores are in any order."""
    of_queries = encode(table, *queries.batch(list(judged)))
    of_documents = encode(table, *documents.batch(range(len(documents.buckets))))
    scores = of_queries @ of_documents.T
    rankings = scores.topk(min(100, scores.shape[1])).indices.tolist()
    discounts = (1 / torch.arange(2, 12).log2()).tolist()
    sums = [0.0] * 3
    for grades, ranking in zip(judged.values(), rankings):
        gains = [max(grades.get(document, 0), 0) for document in ranking]
        ideal = sorted((grade for grade in grades.values() if grade > 0), reverse=True)
        if not ideal:
            continue
        sums[0] += next((1 / rank for rank, gain in enumerate(gains[:10], 1) if gain), 0)
        best = sum(gain * discount for gain, discount in zip(ideal, discounts))
        sums[1] += sum(gain * discount for gain, discount in zip(gains, discounts)) / best
        sums[2] += sum(gain > 0 for gain in gains) / len(ideal)
    return [value / len(judged) for value in sums]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--train-split", default="train")
    parser.add_argument("--test-split", default="test")
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--max-positives", type=int, default=4)
    parser.add_argument("--temperature", type=float, default=0.05)
    parser.add_argument("--lr", type=float, default=5e-3)
    parser.add_argument("--seed", type=int, default=42)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--dense", action="store_true", help="fused Adam, all the table")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(args.seed)
    random.seed(args.seed)

    document_places, documents = read_records(args.data / "corpus.jsonl")
    query_places, queries = read_records(args.data / "queries.jsonl")
    learned, tested = (
        read_judgements(args.data, splits, query_places, document_places)
        for splits in (args.train_split, args.test_split)
    )
    queries, documents = Texts(queries), Texts(documents)

    table = torch.nn.EmbeddingBag(BUCKETS, DIMENSIONS, mode="sum", sparse=not args.dense)
    torch.nn.init.normal_(table.weight, std=0.05)
    settings = dict(lr=args.lr, eps=EPSILON)
    if args.dense:
        optimizer = torch.optim.Adam(table.parameters(), fused=True, **settings)
    else:
        optimizer = torch.optim.SparseAdam(table.parameters(), **settings)
    before = measure(table, queries, documents, tested)
    start = time.perf_counter()
    train(table, optimizer, args, queries, documents, learned)
    seconds = time.perf_counter() - start
    after = measure(table, queries, documents, tested)

    print("\n          MRR@10  nDCG@10  Recall@100")
    for name, (mrr, ndcg, recall) in [("before", before), ("lse-pair", after)]:
        print(f"{name:8} {mrr:7.4f} {ndcg:8.4f} {recall:11.4f}")
    kind = "fused Adam" if args.dense else "SparseAdam"
    whole = time.perf_counter() - START
    times = f"training {seconds:.2f} s, program {whole:.2f} s"
    print(f"PyTorch {torch.__version__}, {kind}, {args.threads} threads: {times}")


if __name__ == "__main__":
    main()
