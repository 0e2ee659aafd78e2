"""What PyTorch and transformers compute, for the tests in Rust.

    python tests/reference.py                  writes tests/data/tiny.json
    python tests/reference.py MODEL_FOLDER     and tests/data/sentences.json

The tiny model is that of tiny_bert/src/lib.rs. Everything about it is computed in float64.
"""

import datetime
import json
import math
import pathlib
import sys

import torch
import transformers
from sentences import SENTENCES

DATA = pathlib.Path(__file__).parent / "data"

CONFIG = dict(
    vocab_size=76,
    hidden_size=8,
    num_hidden_layers=2,
    num_attention_heads=2,
    intermediate_size=16,
    max_position_embeddings=32,
    type_vocab_size=2,
    hidden_act="gelu",
    layer_norm_eps=1e-12,
    hidden_dropout_prob=0.0,
    attention_probs_dropout_prob=0.0,
)

TEMPERATURE = 0.1
MAX_NORM = 0.5
LEARNING_RATE = 0.01
WEIGHT_DECAY = 0.1


def versions():
    return {
        "date": datetime.date.today().isoformat(),
        "python": sys.version.split()[0],
        "torch": torch.__version__,
        "transformers": transformers.__version__,
    }


def tiny_model():
    config = transformers.BertConfig(**CONFIG, attn_implementation="eager")
    model = transformers.BertModel(config, add_pooling_layer=False).double().train()
    parameters = dict(model.named_parameters())
    with torch.no_grad():
        for place, name in enumerate(sorted(parameters)):
            parameter = parameters[name]
            center = 1.0 if name.endswith("LayerNorm.weight") else 0.0
            values = [
                center + 0.3 * math.sin(0.7 * (index + 1) + 1.3 * place)
                for index in range(parameter.numel())
            ]
            values = torch.tensor(values, dtype=torch.float64).float().double()
            parameter.copy_(values.reshape(parameter.shape))
    return model


def embed(model, texts, pooling="mean", normalize=True):
    longest = max(len(text) for text in texts)
    ids = torch.tensor([text + [0] * (longest - len(text)) for text in texts])
    real = torch.tensor([[1] * len(text) + [0] * (longest - len(text)) for text in texts])
    states = model(input_ids=ids, attention_mask=real).last_hidden_state
    if pooling == "cls":
        vectors = states[:, 0]
    else:
        shares = real[:, :, None].to(states.dtype)
        vectors = (states * shares).sum(1) / shares.sum(1)
    return torch.nn.functional.normalize(vectors, dim=1) if normalize else vectors


def lse_pair(scores, positives):
    """log(1 + sum over positives p and negatives n of e^(s_n - s_p)), the mean over the queries."""
    losses = []
    for row, own in zip(scores, positives):
        terms = [
            torch.exp(row[negative] - row[positive])
            for positive in own
            for negative in range(len(row))
            if negative not in own
        ]
        losses.append(torch.log(1 + sum(terms)))
    return sum(losses) / len(losses)


def text(seed, length):
    """[CLS], letters and digits, [SEP]. Even tokens begin a word, as the first must."""
    pieces = [(seed * 7 + place * place * 5) % 72 for place in range(length - 2)]
    pieces[:1] = [piece - piece % 2 for piece in pieces[:1]]
    return [2] + [4 + piece for piece in pieces] + [3]


def numbers(tensor):
    return [float(f"{value:.9g}") for value in tensor.flatten().tolist()]


def parameters(model):
    return {name: numbers(value.detach()) for name, value in sorted(model.named_parameters())}


def gradients(model):
    return {name: numbers(value.grad) for name, value in sorted(model.named_parameters())}


def pooled(texts):
    model = tiny_model()
    return [
        {
            "pooling": pooling,
            "normalize": normalize,
            "vectors": [numbers(row) for row in embed(model, texts, pooling, normalize)],
        }
        for pooling in ["mean", "cls"]
        for normalize in [False, True]
    ]


def training():
    queries = [text(seed, length) for seed, length in [(1, 5), (2, 9), (3, 3), (4, 7)]]
    lengths = [6, 12, 3, 9, 17, 4, 32, 8, 11, 5]
    passages = [text(20 + seed, length) for seed, length in enumerate(lengths)]
    # The last two are nobody's.
    positives = [[0, 1, 2], [3], [4, 5], [6, 7]]

    model = tiny_model()
    matrices = [value for value in model.parameters() if value.dim() > 1]
    vectors = [value for value in model.parameters() if value.dim() == 1]
    groups = [
        {"params": matrices, "weight_decay": WEIGHT_DECAY},
        {"params": vectors, "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, lr=LEARNING_RATE)
    steps = []
    for _ in range(2):
        optimizer.zero_grad()
        scores = embed(model, queries) @ embed(model, passages).T
        loss = lse_pair(scores / TEMPERATURE, positives)
        loss.backward()
        step = {"loss": loss.item(), "gradients": gradients(model)}
        step["norm"] = torch.nn.utils.clip_grad_norm_(model.parameters(), MAX_NORM).item()
        step["clipped"] = gradients(model)
        optimizer.step()
        step["parameters"] = parameters(model)
        steps.append(step)
    return {
        "queries": queries,
        "passages": passages,
        "positives": positives,
        "temperature": TEMPERATURE,
        "max_norm": MAX_NORM,
        "learning_rate": LEARNING_RATE,
        "weight_decay": WEIGHT_DECAY,
        "steps": steps,
    }


def write(name, value):
    DATA.mkdir(exist_ok=True)
    fields = [f'"{key}": {json.dumps(part, separators=(",", ":"))}' for key, part in value.items()]
    (DATA / name).write_text("{\n" + ",\n".join(fields) + "\n}\n")


def tiny():
    lengths = [2, 3, 7, 12, 32]
    texts = [text(40 + seed, length) for seed, length in enumerate(lengths)]
    write(
        "tiny.json",
        {"made": versions(), "texts": texts, "pooled": pooled(texts), "training": training()},
    )


def sentences(folder):
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    model = transformers.AutoModel.from_pretrained(folder).float().eval()
    vectors, tokens = [], []
    for start in range(0, len(SENTENCES), 20):
        batch = tokenizer(
            SENTENCES[start : start + 20],
            padding=True,
            truncation=True,
            max_length=256,
            return_tensors="pt",
        )
        with torch.no_grad():
            states = model(**batch).last_hidden_state
        real = batch["attention_mask"][:, :, None].float()
        mean = (states * real).sum(1) / real.sum(1)
        vectors.append(torch.nn.functional.normalize(mean, dim=1))
        tokens += batch["attention_mask"].sum(1).tolist()
    # Of unit vectors, so a millionth is as fine as it need be.
    millionths = (torch.cat(vectors).double() * 1e6).round().long().tolist()
    rows = [
        json.dumps({"text": text, "tokens": count, "millionths": vector}, ensure_ascii=False, separators=(",", ":"))
        for text, count, vector in zip(SENTENCES, tokens, millionths)
    ]
    head = {"made": versions(), "model": pathlib.Path(folder).name, "max_length": 256}
    fields = [f'"{key}": {json.dumps(part, separators=(",", ":"))}' for key, part in head.items()]
    lines = ",\n".join(fields) + ',\n"sentences": [\n' + ",\n".join(rows) + "\n]"
    (DATA / "sentences.json").write_text("{\n" + lines + "}\n", encoding="utf-8")


if __name__ == "__main__":
    tiny()
    if len(sys.argv) > 1:
        sentences(sys.argv[1])
