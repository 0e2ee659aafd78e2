"""Tokens a second of BertModel in PyTorch, as `cargo bench -p pretrained --bench encode` takes it in Burn.

    pip install torch transformers
    python examples/pretrained/benches/peers/encode.py

MiniLM's size with random weights, f32, the texts and the division into passes of the bench, with attention by PyTorch's
fused kernel. Prints the medians of five runs after one that is not counted.
"""

import statistics
import time

import torch
import transformers

PASS = [1024, 2048, 8192]


def texts(count):
    lengths = [32 + index * 97 % 224 for index in range(count)]
    return [[(index * 7919 + place * 104729) % 30000 for place in range(n)] for index, n in enumerate(lengths)]


def passes(texts, budget):
    texts = sorted(texts, key=len, reverse=True)
    while texts:
        count = max(budget // len(texts[0]), 1)
        yield texts[:count]
        texts = texts[count:]


def encode(model, texts, budget):
    vectors = []
    for part in passes(texts, budget):
        longest = len(part[0])
        ids = torch.tensor([text + [0] * (longest - len(text)) for text in part])
        mask = torch.tensor([[1] * len(text) + [0] * (longest - len(text)) for text in part])
        states = model(input_ids=ids, attention_mask=mask).last_hidden_state
        means = (states * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)
        vectors.append(torch.nn.functional.normalize(means, dim=1))
    return torch.cat(vectors)


def measure(run):
    run()
    seconds = []
    for _ in range(5):
        start = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds)


def main():
    torch.manual_seed(0)
    model = transformers.BertModel(transformers.BertConfig(
        hidden_size=384, num_hidden_layers=6, intermediate_size=1536,
        hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0), add_pooling_layer=False)
    print(f"torch {torch.__version__}, transformers {transformers.__version__}, {torch.get_num_threads()} threads")

    def train(part, budget):
        model.zero_grad()
        encode(model, part, budget).square().sum().backward()

    for name, count in [("embed", 128), ("train", 32)]:
        part = texts(count)
        tokens = sum(map(len, part))
        for budget in PASS:
            if name == "embed":
                with torch.inference_mode():
                    seconds = measure(lambda: encode(model, part, budget))
            else:
                seconds = measure(lambda: train(part, budget))
            print(f"{name}, passes of {budget} tokens: {tokens / seconds:.0f} tokens a second")


main()
