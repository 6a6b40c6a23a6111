"""Rows of the parts that neural networks are made of."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.portfolio.record import Row, pick

if TYPE_CHECKING:
    from numpy.typing import NDArray


def _logits(elements: int, rng: np.random.Generator) -> dict[str, NDArray[Any]]:
    classes = pick(elements, 10, 100, 1000)
    rows = elements // classes
    return {
        "logits": rng.normal(size=(rows, classes)),
        "target": rng.integers(0, classes, size=rows),
    }


def _cross_entropy_autograd(autograd: Any, logits: Any, target: Any) -> Any:
    np_ = autograd.numpy
    norm = autograd.scipy.special.logsumexp(logits, axis=1)
    return np_.mean(norm - logits[np.arange(len(target)), target])


def _cross_entropy_jax(jax: Any, logits: Any, target: Any) -> Any:
    picked = jax.numpy.take_along_axis(logits, target[:, None], axis=1)[:, 0]
    return (jax.scipy.special.logsumexp(logits, axis=1) - picked).mean()


CROSS_ENTROPY = Row(
    name="softmax cross entropy",
    counted="of the logits",
    text="F.cross_entropy(logits, target)",
    wrt=("logits",),
    draw=_logits,
    torch=lambda torch, logits, target: torch.nn.functional.cross_entropy(logits, target),
    autograd=_cross_entropy_autograd,
    mygrad=lambda mg, logits, target: mg.nnet.softmax_crossentropy(logits, target),
    jax=_cross_entropy_jax,
)


def _two_layers(elements: int, rng: np.random.Generator) -> dict[str, NDArray[Any]]:
    batch, features = elements // pick(elements, 25, 780, 3900), pick(elements, 5, 256, 1024)
    hidden, out = pick(elements, 6, 200, 1900), pick(elements, 3, 32, 256)
    return {
        "w1": rng.normal(size=(hidden, features)) / np.sqrt(features),
        "b1": rng.normal(size=hidden),
        "w2": rng.normal(size=(out, hidden)) / np.sqrt(hidden),
        "b2": rng.normal(size=out),
        "x": rng.normal(size=(batch, features)),
        "y": rng.normal(size=(batch, out)),
    }


def _network(lib: Any, w1: Any, b1: Any, w2: Any, b2: Any, x: Any, y: Any) -> Any:
    hidden = lib.tanh(lib.matmul(x, w1.T) + b1)
    return ((lib.matmul(hidden, w2.T) + b2 - y) ** 2).mean()


def _network_torch(torch: Any, w1: Any, b1: Any, w2: Any, b2: Any, x: Any, y: Any) -> Any:
    linear = torch.nn.functional.linear
    return torch.nn.functional.mse_loss(linear(torch.tanh(linear(x, w1, b1)), w2, b2), y)


TWO_LAYERS = Row(
    name="two-layer network",
    counted="of weights, inputs and targets",
    text="F.mse_loss(F.linear(torch.tanh(F.linear(x, w1, b1)), w2, b2), y)",
    wrt=("w1", "b1", "w2", "b2"),
    draw=_two_layers,
    torch=_network_torch,
    autograd=lambda autograd, *arrays: _network(autograd.numpy, *arrays),
    mygrad=_network,
    jax=lambda jax, *arrays: _network(jax.numpy, *arrays),
)


def _features(elements: int, rng: np.random.Generator) -> dict[str, NDArray[Any]]:
    features = pick(elements, 25, 500, 1000)
    shape = (elements // features, features)
    return {
        "x": 1 + 2 * rng.normal(size=shape),
        "weight": rng.normal(size=features),
        "bias": rng.normal(size=features),
        "c": rng.normal(size=shape),
    }


def _layer_norm(lib: Any, x: Any, weight: Any, bias: Any, c: Any) -> Any:
    centred = x - lib.mean(x, axis=1, keepdims=True)
    scale = lib.sqrt(lib.mean(centred**2, axis=1, keepdims=True) + 1e-5)
    return ((centred / scale * weight + bias) * c).sum()


def _layer_norm_torch(torch: Any, x: Any, weight: Any, bias: Any, c: Any) -> Any:
    return (torch.nn.functional.layer_norm(x, weight.shape, weight, bias) * c).sum()


LAYER_NORM = Row(
    name="layer norm",
    counted="of the input",
    text="(F.layer_norm(x, weight.shape, weight, bias) * c).sum()",
    wrt=("x", "weight", "bias"),
    draw=_features,
    torch=_layer_norm_torch,
    autograd=lambda autograd, *arrays: _layer_norm(autograd.numpy, *arrays),
    mygrad=_layer_norm,
    jax=lambda jax, *arrays: _layer_norm(jax.numpy, *arrays),
)


def _heads(elements: int, rng: np.random.Generator) -> dict[str, NDArray[Any]]:
    batch, heads = pick(elements, 1, 2, 4), pick(elements, 2, 8, 8)
    size = pick(elements, 4, 32, 64)
    tokens = elements // (3 * batch * heads * size)
    return {name: rng.normal(size=(batch, heads, tokens, size)) for name in "qkvc"}


def _attention(lib: Any, softmax: Any, q: Any, k: Any, v: Any, c: Any) -> Any:
    scores = lib.matmul(q, lib.swapaxes(k, 2, 3)) * (1 / np.sqrt(q.shape[-1]).item())
    return (lib.matmul(softmax(scores), v) * c).sum()


def _softmax_autograd(autograd: Any, x: Any) -> Any:
    np_ = autograd.numpy
    powers = np_.exp(x - np_.max(x, axis=-1, keepdims=True))
    return powers / np_.sum(powers, axis=-1, keepdims=True)


def _attention_torch(torch: Any, q: Any, k: Any, v: Any, c: Any) -> Any:
    return (torch.nn.functional.scaled_dot_product_attention(q, k, v) * c).sum()


def _attention_autograd(autograd: Any, *arrays: Any) -> Any:
    return _attention(autograd.numpy, lambda s: _softmax_autograd(autograd, s), *arrays)


ATTENTION = Row(
    name="attention",
    counted="of queries, keys and values together",
    text="(F.scaled_dot_product_attention(q, k, v) * c).sum()",
    wrt=("q", "k", "v"),
    draw=_heads,
    torch=_attention_torch,
    autograd=_attention_autograd,
    mygrad=lambda mg, *arrays: _attention(mg, lambda s: mg.nnet.softmax(s, axis=-1), *arrays),
    jax=lambda jax, *arrays: _attention(jax.numpy, jax.nn.softmax, *arrays),
)


def _images(elements: int, rng: np.random.Generator) -> dict[str, NDArray[Any]]:
    batch, channels = pick(elements, 1, 8, 64), pick(elements, 2, 8, 16)
    filters = pick(elements, 3, 16, 32)
    side = 2 * round((elements / (batch * channels)) ** 0.5 / 2)
    return {
        "x": rng.normal(size=(batch, channels, side, side)),
        "weight": rng.normal(size=(filters, channels, 3, 3)) / np.sqrt(9 * channels),
        "bias": rng.normal(size=filters),
        "c": rng.normal(size=(batch, filters, side // 2, side // 2)),
    }


def _convolution_torch(torch: Any, x: Any, weight: Any, bias: Any, c: Any) -> Any:
    f = torch.nn.functional
    return (f.max_pool2d(f.relu(f.conv2d(x, weight, bias, padding=1)), 2) * c).sum()


def _convolution_autograd(autograd: Any, x: Any, weight: Any, bias: Any, c: Any) -> Any:
    np_ = autograd.numpy
    padded = np_.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)), "constant")
    out = autograd.scipy.signal.convolve(
        padded, weight[:, :, ::-1, ::-1], axes=([2, 3], [2, 3]), dot_axes=([1], [1]), mode="valid"
    )
    out = np_.maximum(out + bias[:, None, None], 0)
    n, f, h, w = out.shape
    return np_.sum(np_.max(np_.reshape(out, (n, f, h // 2, 2, w // 2, 2)), axis=(3, 5)) * c)


def _convolution_mygrad(mg: Any, x: Any, weight: Any, bias: Any, c: Any) -> Any:
    out = mg.nnet.conv_nd(x, weight, stride=1, padding=1) + bias[:, None, None]
    return (mg.nnet.max_pool(mg.nnet.relu(out), (2, 2), 2) * c).sum()


def _convolution_jax(jax: Any, x: Any, weight: Any, bias: Any, c: Any) -> Any:
    # Channels last and a maximum over a view: the fastest of the four ways on CPUs.
    layout = ("NHWC", "HWIO", "NHWC")
    images, filters = x.transpose(0, 2, 3, 1), weight.transpose(2, 3, 1, 0)
    out = jax.lax.conv_general_dilated(images, filters, (1, 1), "SAME", dimension_numbers=layout)
    out = jax.nn.relu(out + bias)
    n, h, w, f = out.shape
    pooled = out.reshape(n, h // 2, 2, w // 2, 2, f).max((2, 4))
    return (pooled.transpose(0, 3, 1, 2) * c).sum()


CONVOLUTION = Row(
    name="conv2d, relu, max pooling",
    counted="of the images",
    text="(F.max_pool2d(F.relu(F.conv2d(x, weight, bias, padding=1)), 2) * c).sum()",
    wrt=("x", "weight", "bias"),
    draw=_images,
    torch=_convolution_torch,
    autograd=_convolution_autograd,
    mygrad=_convolution_mygrad,
    jax=_convolution_jax,
)


def _words(elements: int, rng: np.random.Generator) -> dict[str, NDArray[Any]]:
    size = pick(elements, 10, 50, 100)
    words = elements // size
    return {
        "table": rng.normal(size=(words, size)),
        "context": rng.normal(size=(words, size)),
        "index": rng.integers(0, words, size=words),
    }


def _gathered(lib: Any, table: Any, context: Any, index: Any) -> Any:
    return (lib.sum(table[index] * context, 1) ** 2).sum()


def _gathered_torch(torch: Any, table: Any, context: Any, index: Any) -> Any:
    rows = torch.nn.functional.embedding(index, table)
    return (rows * context).sum(1).pow(2).sum()


EMBEDDING = Row(
    name="embedding, dot",
    counted="of the table, and of what is gathered",
    text="(F.embedding(index, table) * context).sum(1).pow(2).sum()",
    wrt=("table", "context"),
    draw=_words,
    torch=_gathered_torch,
    autograd=lambda autograd, *arrays: _gathered(autograd.numpy, *arrays),
    mygrad=_gathered,
    jax=lambda jax, *arrays: _gathered(jax.numpy, *arrays),
)
