"""Layers with derivatives written by hand, as a project of yours might have them."""

import torch
from torch.autograd import Function
from torch.autograd.function import once_differentiable


class Swish(Function):
    """x * sigmoid(x); backward recomputes the sigmoid, which costs less memory than to save it."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x * torch.sigmoid(x)

    @staticmethod
    def backward(ctx, grad):
        (x,) = ctx.saved_tensors
        gate = torch.sigmoid(x)
        return grad * gate * (1 + x * (1 - gate))


def swish(x):
    """The layer as it is called elsewhere."""
    return Swish.apply(x)


class Linear(Function):
    """x @ weight.T + bias."""

    @staticmethod
    def forward(ctx, x, weight, bias):
        ctx.save_for_backward(x, weight)
        return x @ weight.T + bias

    @staticmethod
    def backward(ctx, grad):
        x, weight = ctx.saved_tensors
        grad_x = grad @ weight if ctx.needs_input_grad[0] else None
        grad_weight = grad.T @ x if ctx.needs_input_grad[1] else None
        grad_bias = grad.sum(0) if ctx.needs_input_grad[2] else None
        return grad_x, grad_weight, grad_bias


class LayerNorm(Function):
    """Normalises the last axis; `eps` is a constant."""

    @staticmethod
    def forward(ctx, x, weight, bias, eps):
        wide = x.to(torch.promote_types(x.dtype, torch.float32))
        mean = wide.mean(-1, keepdim=True)
        scale = (wide.var(-1, keepdim=True, correction=0) + eps).rsqrt()
        normal = (wide - mean) * scale
        ctx.save_for_backward(normal, scale, weight)
        return (normal * weight + bias).to(x.dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx, grad):
        normal, scale, weight = ctx.saved_tensors
        wide = grad.to(normal.dtype)
        inner = wide * weight
        along = (inner * normal).mean(-1, keepdim=True)
        grad_x = scale * (inner - inner.mean(-1, keepdim=True) - normal * along)
        rows = tuple(range(grad.ndim - 1))
        grad_weight, grad_bias = (wide * normal).sum(rows), wide.sum(rows)
        return grad_x.to(grad.dtype), grad_weight.to(weight.dtype), grad_bias.to(weight.dtype), None


class RootMeanSquareNorm(torch.nn.Module):
    """A module: its parameter `weight` is an input of the check, and `eps` comes from `kwargs`."""

    def __init__(self, size, eps=1e-6):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(size))
        self.eps = eps

    def forward(self, x):
        return x * (x.square().mean(-1, keepdim=True) + self.eps).rsqrt() * self.weight


class ForgottenFactor(Function):
    """sin(x**2) without the derivative of what is inside: a mistake, for the example of one."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return torch.sin(x**2)

    @staticmethod
    def backward(ctx, grad):
        (x,) = ctx.saved_tensors
        return grad * torch.cos(x**2)


class ContiguousOnly(Function):
    """x**2, whose backward reads the upstream gradient's memory as if it were contiguous: a mistake too."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x**2

    @staticmethod
    @once_differentiable
    def backward(ctx, grad):
        (x,) = ctx.saved_tensors
        memory = grad.as_strided((grad.numel(),), (1,)) if grad.is_contiguous() else _memory(grad)
        return 2 * memory.view(grad.shape) * x


def _memory(tensor):
    """The first numbers in a tensor's memory, in the order in which they lie there."""
    storage = torch.empty(0, dtype=tensor.dtype).set_(tensor.untyped_storage())
    return storage.repeat(tensor.numel())[: tensor.numel()]
