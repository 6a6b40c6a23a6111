"""The catalogue of GC codes: one record each, with the text that `gradcheck explain` prints.

GC0xx are errors of spec files and expressions, GC1xx diagnoses of a wrong gradient, GC2xx numerics,
GC3xx what the machine or a backend could not do. A code, once published, keeps its meaning.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Code:
    """A code with its title, what it means, and an example of what causes it and of what cures it."""

    code: str
    title: str
    text: str
    wrong: str = ""
    right: str = ""


_RECORDS = (
    Code(
        "GC001",
        "not readable as YAML or JSON",
        "The file's syntax is broken, so nothing of it was checked.",
        "inputs: {x: {shape: [3}",
        "inputs: {x: {shape: [3]}}",
    ),
    Code(
        "GC002",
        "wrong type or value",
        "A key of the spec holds something of another type, or outside of what it allows.",
        "seed: many",
        "seed: 3",
    ),
    Code(
        "GC003",
        "unknown key",
        "Keys are checked so that a slip of the pen is not silently ignored. Keys that begin with "
        "`x-` are free for your own use.",
        "expresion: x.sum()",
        "expression: x.sum()",
    ),
    Code(
        "GC004",
        "a required key is missing",
        "A check needs `version`, `inputs`, and `expression` or `implementation`.",
        "version: 1\ninputs: {x: {shape: [3]}}",
        "version: 1\ninputs: {x: {shape: [3]}}\nexpression: x.sum()",
    ),
    Code(
        "GC005",
        "version not supported",
        "`version` is 1. A newer one needs a newer gradcheck.",
        "version: 2",
        "version: 1",
    ),
    Code(
        "GC006",
        "duplicate key",
        "The same key twice in one mapping: YAML parsers differ in which one they keep.",
        "seed: 1\nseed: 2",
        "seed: 2",
    ),
    Code(
        "GC007",
        "tag, anchor or alias",
        "Spec files are plain data: tags build objects and aliases build bombs, so neither is read.",
        "seed: !!int 3",
        "seed: 3",
    ),
    Code(
        "GC008",
        "spec file too large or too deep",
        "Files, nesting and the number of checks are bounded, so that no file can exhaust memory.",
    ),
    Code(
        "GC009",
        "input file not usable",
        "An input's `file` is missing, lies outside the spec's folder, needs pickle, or does not hold "
        "what its header says.",
        "x: {file: ../../etc/x.npy}",
        "x: {file: data/x.npy}",
    ),
    Code(
        "GC010",
        "syntax error in an expression",
        "The text is not an expression of Python's grammar.",
        "(x - y.sum()",
        "(x - y).sum()",
    ),
    Code(
        "GC011",
        "not part of the expression language",
        "Expressions hold names, numbers, operators, subscripts and calls of PyTorch's functions; "
        "no statements, lambdas, comprehensions or other Python.",
        "[v * 2 for v in x]",
        "x * 2",
    ),
    Code(
        "GC012",
        "unknown name",
        "A name in an expression is an input, a `let` name, or a function.",
        "prediction.sum()",
        "predicted.sum()",
    ),
    Code(
        "GC013",
        "unknown function, method or attribute",
        "`gradcheck ops` lists what can be used.",
        "x.maen()",
        "x.mean()",
    ),
    Code(
        "GC014",
        "wrong arguments",
        "Names, order and defaults of arguments are PyTorch's.",
        "x.sum(axes=1)",
        "x.sum(dim=1)",
    ),
    Code(
        "GC015",
        "shapes do not fit",
        "The shapes of the operands can't be combined by this operation.",
        "A @ x  # A is (3, 4), x is (3,)",
        "A.T @ x",
    ),
    Code(
        "GC016",
        "dtypes do not fit",
        "The operation isn't defined for this dtype.",
        "~x  # x is float64",
        "~(x > 0)",
    ),
    Code(
        "GC017",
        "random operator",
        "A check must be repeatable: draw the numbers as an input with `sample` and `seed` instead.",
        "x * torch.rand(3)",
        "x * noise  # noise: {shape: [3], sample: uniform}",
    ),
    Code(
        "GC018",
        "in-place method",
        "An expression has no side effects; use the out-of-place twin.",
        "x.relu_()",
        "x.relu()",
    ),
    Code(
        "GC019",
        "expression too large or too deep",
        "The length, the nesting and the numbers of an expression are bounded. `let` splits a long one.",
        "9**9**9",
        "9.0**9",
    ),
    Code(
        "GC020",
        "gradient of an integer input",
        "Only floating-point inputs have a gradient.",
        "i: {shape: [3], sample: integers, requires_grad: true}",
        "i: {shape: [3], sample: integers}",
    ),
    Code(
        "GC021",
        "input never used",
        "The expression does not depend on this input at all, which is nearly always a slip.",
        "expression: x.sum()  # with inputs x and y",
        "expression: (x * y).sum()",
    ),
    Code(
        "GC022",
        "manual formula of the wrong shape",
        "A gradient has its input's shape.",
        "manual: {x: (2 * x).sum()}",
        "manual: {x: 2 * x}",
    ),
    Code(
        "GC023",
        "manual formula for something that isn't a checked input",
        "The keys under `manual` are inputs whose gradient is checked.",
        "manual: {z: 2 * x}",
        "manual: {x: 2 * x}",
    ),
    Code(
        "GC024",
        "nothing to check",
        "No input is of floating point and requires a gradient.",
    ),
    Code(
        "GC025",
        "no spec found",
        "The files and folders given hold no spec: no mapping with a top-level `version` and keys of a spec.",
    ),
    Code(
        "GC026",
        "expected failure did not happen",
        "The check says `expect: fail`, but the gradient passed, or failed with another diagnosis.",
    ),
    Code(
        "GC027",
        "spec file not readable",
        "A file given to a command is missing, is a folder where a file is needed, or may not be read.",
    ),
    Code(
        "GC028",
        "wrong use of the command line",
        "An option, its value, or the name of a command or operator is not known; or a key under "
        "`[tool.gradcheck]` or a variable `GRADCHECK_...` is wrong. `--help` after a command lists what it "
        "takes.",
        "gradcheck compare spec.yaml --methods tourch",
        "gradcheck compare spec.yaml --methods torch",
    ),
    Code(
        "GC029",
        "no code for this operator",
        "The formula is right, but it can't be had as code: NumPy and SciPy have no short form of an "
        "operator in it, such as a convolution, or PyTorch has it for its own use only.",
    ),
    Code(
        "GC030",
        "import not allowed",
        "`implementation` names code that running the check would import, and importing runs it. A spec may "
        "come from anywhere, so code is imported only where `--allow-import`, or `allow-imports` in "
        "pyproject.toml, names its package.",
        "gradcheck compare gelu.yaml  # with implementation: fused.kernels:gelu",
        "gradcheck compare gelu.yaml --allow-import fused",
    ),
    Code(
        "GC031",
        "implementation not found",
        "There is no such module, or no such object in it. Installed packages and the current folder are "
        "searched, as with `python -m`.",
        "implementation: fused.kernels:gleu",
        "implementation: fused.kernels:gelu",
    ),
    Code(
        "GC032",
        "implementation can't be called with these inputs",
        "It is called with the check's inputs by name, or in the spec's order where its signature has none "
        "of their names; `kwargs` are constants that it takes besides. It returns one floating-point tensor, "
        "or a tuple in which only one is.",
        "kwargs: {epsilon: 1e-5}  # for def layer_norm(x, weight, bias, eps)",
        "kwargs: {eps: 1e-5}",
    ),
    Code(
        "GC033",
        "not a report, or not of one run",
        "`gradcheck merge` reads reports that `gradcheck compare --json` or `--report jsonl=` wrote: "
        "format 1, with the fields of their types. Where two hold the same check, they agree on it: "
        "reports of different versions of a spec can't be made one.",
        "gradcheck merge results.xml",
        "gradcheck merge shard-1.json shard-2.json",
    ),
    Code(
        "GC101",
        "off by a constant factor",
        "The whole or one of its terms has the same ratio to the right one everywhere: a forgotten 2, 1/2 or "
        "1/N, a mean where a sum is right, a wrong size or number. Sizes are named: 1 / x.shape[0].",
        "predicted - real",
        "2 * (predicted - real)",
    ),
    Code(
        "GC102",
        "sign flipped",
        "The sign of the whole, of one term, of an argument or of a constant is wrong, or the operands of a "
        "difference are interchanged.",
        "2 * (real - predicted)",
        "2 * (predicted - real)",
    ),
    Code(
        "GC103",
        "transposed",
        "The formula is right after a transposition, of the whole or of a part, with the operands of a "
        "product swapped, or with other indices of an einsum; or a matrix was taken for symmetric.",
        "X.inverse()  # for logdet(X)",
        "X.inverse().T",
    ),
    Code(
        "GC104",
        "wrong axis",
        "A reduction, a softmax, a running sum or a broadcast goes along the wrong axis, or a reduction is "
        "missing or too much. As long as both sizes are equal, the shape doesn't show it.",
        "grad.sum(1)  # for a bias b of x + b, both sizes equal",
        "grad.sum(0)",
    ),
    Code(
        "GC105",
        "a term is missing or extra",
        "The formula is right but for one term of a sum: a penalty of the loss, the second place where the "
        "input occurs, the 1 of `1 - y**2`; or weight decay that the loss does not contain.",
        "x * (1 - tanh(x)**2)  # for (x * tanh(x)).sum()",
        "tanh(x) + x * (1 - tanh(x)**2)",
    ),
    Code(
        "GC106",
        "a factor is missing or extra",
        "The ratio to the right gradient is a part of the formula or of the expression, mostly the inner "
        "derivative that the chain rule asks for, or the upstream gradient `grad`.",
        "grad * cos(x**2)  # for sin(x**2)",
        "grad * cos(x**2) * 2 * x",
    ),
    Code(
        "GC107",
        "something treated as a constant that depends on the input",
        "The formula is the gradient of the expression with a part of it detached: a mean, a norm, the "
        "normaliser of a softmax or of a weighted mean.",
        "grad / x.norm()  # for x / x.norm()",
        "grad / x.norm() - x * (grad * x).sum() / x.norm()**3",
    ),
    Code(
        "GC108",
        "wrong only in a region",
        "The wrong elements are those for which something holds: below a kink, beyond a bound, where a mask "
        "is off, in the last row. A mask, a bound or a branch is missing, or the wrong way round.",
        "grad  # for relu(x)",
        "grad * (x > 0)",
    ),
    Code(
        "GC109",
        "elements shifted or permuted",
        "The numbers are right and stand at the wrong places: reversed, shifted by one, in the order of the "
        "inverse permutation, joined the wrong way round.",
        "grad.flip(0).cumsum(0)  # for x.cumsum(0)",
        "grad.flip(0).cumsum(0).flip(0)",
    ),
    Code(
        "GC110",
        "NaN or infinity where the gradient is finite",
        "A formula that is right on paper overflows or divides zero by zero; the part in which that begins "
        "is named. With `torch` or `engine` named, it is the expression's own chain rule that does: `where` "
        "doesn't protect the branch not taken.",
        "exp(x) / (1 + exp(x))  # of 1000",
        "sigmoid(x)",
    ),
    Code(
        "GC111",
        "nearly right",
        "Every element has a small relative error: a number is rounded, a result was converted to a lower "
        "precision, or an epsilon is forgotten, another one, or on the other side of the root.",
        "3.1416 * cos(3.1416 * x)  # for sin(math.pi * x).sum()",
        "math.pi * cos(math.pi * x)",
    ),
    Code(
        "GC112",
        "zero: no gradient flows",
        "Every element is zero although the expression depends on this input: a detached path, a function "
        "without a slope such as `floor`, or a constant taken for the whole.",
        "torch.zeros_like(teacher)",
        "2 * (teacher - student)",
    ),
    Code(
        "GC113",
        "something in place of something else",
        "A function, an exponent, an operator, a name or another function's derivative stands where another "
        "one is right; both are named. Or a function is forgotten: `logits` for `sigmoid(logits)`.",
        "grad * tanh(x) * (1 - tanh(x))  # for tanh(x)",
        "grad * (1 - tanh(x)**2)",
    ),
    Code(
        "GC199",
        "wrong, cause not recognised",
        "None of the known mistakes explains the difference. The elements that differ most are shown.",
    ),
    Code(
        "GC201",
        "kink at the sampled point",
        "The function has no unique derivative there; any value between the one-sided derivatives "
        "is accepted. `avoid: {near: [0]}` keeps samples off a kink.",
    ),
    Code(
        "GC202",
        "numeric noise above the error looked for",
        "Finite differences can't resolve this gradient: the function's rounding noise is too large, or "
        "no slope shows at any step.",
    ),
    Code(
        "GC203",
        "jump at the sampled point",
        "The function is not continuous there, so it has no derivative and differences have nothing to "
        "say. Methods that agree on a convention, such as 0 for `floor`, still pass. "
        "`avoid: {near: [0]}` keeps samples off a jump.",
        "x.floor()  # at x = 1",
        "x.floor()  # at x = 1.5",
    ),
    Code(
        "GC204",
        "NaN or infinity",
        "The inputs, the value or a gradient is not finite, so that part proves nothing.",
    ),
    Code(
        "GC205",
        "too few independent witnesses",
        "The methods that ran share their derivative rules, or only one could run.",
    ),
    Code(
        "GC206",
        "forward values differ",
        "PyTorch and gradcheck's kernels compute different values for the expression itself, so their "
        "gradients are those of two functions.",
    ),
    Code(
        "GC207",
        "edge of the domain, or an infinite derivative",
        "The function ends at the sampled point, as sqrt does at 0: its derivative is that from inside, "
        "where that is finite. An infinite derivative is said to be one, and passes where the methods "
        "agree on it.",
        "x.sqrt()  # at x = 0",
        "(x + 1e-12).sqrt()",
    ),
    Code(
        "GC211",
        "inputs on one side of a kink",
        "Every sample is on the same side of a `relu`, `abs`, `clamp` or comparison, so the formula's mask "
        "is all true or all false, and one without it passes. A warning: the verdict stands. "
        "`gradcheck audit` finds more blind spots, and inputs without them.",
        "x: {shape: [3, 4], sample: uniform}  # for relu(x)",
        "x: {shape: [3, 4], sample: normal}",
    ),
    Code(
        "GC212",
        "all elements of an input are equal",
        "Where every element is 1 a forgotten factor makes no difference, where it is 0 a forgotten term, "
        "and where all are equal a permutation. A warning: the verdict stands.",
        "gamma: {shape: [8], sample: ones}",
        "gamma: {shape: [8], sample: normal}",
    ),
    Code(
        "GC213",
        "a size hides another",
        "Over a size of 1 a mean is a sum, and where two sizes of a tensor are equal, dividing by one of "
        "them is as right as by the other. A warning: the verdict stands.",
        "x: {shape: [4, 4]}  # for x / x.shape[0]",
        "x: {shape: [4, 5]}",
    ),
    Code(
        "GC214",
        "a symmetric matrix hides a transpose",
        "The gradient of a product or an inverse holds transposed factors. Of a symmetric matrix the "
        "transpose is the matrix, and one that is forgotten isn't seen. A warning: the verdict stands.",
        "X: {shape: [4, 4], sample: spd}  # for X.inverse()",
        "X: {shape: [4, 4], sample: lower_triangular}",
    ),
    Code(
        "GC215",
        "a cotangent of ones",
        "With a cotangent of ones only the sum of the outputs is differentiated: a formula that leaves "
        "`grad` out passes. A warning: the verdict stands.",
        "cotangent: ones",
        "cotangent: random",
    ),
    Code(
        "GC220",
        "the implementation's value differs",
        "The forward pass of the `implementation` gives another value than the expression, by PyTorch and by "
        "gradcheck's kernels, so its gradient is that of another function.",
        "return x * torch.sigmoid(1.7 * x)  # for F.gelu(x)",
        "return 0.5 * x * (1 + torch.erf(x / 2**0.5))",
    ),
    Code(
        "GC221",
        "wrong for strided tensors",
        "The `implementation` gives another value or gradient where an input, or the upstream gradient, is "
        "the same numbers in another layout: a transposed matrix, every other element of a row. Kernels that "
        "index memory themselves assume contiguous tensors.",
        "grad_x = kernel(grad, x)  # indexes grad as if it were contiguous",
        "grad_x = kernel(grad.contiguous(), x.contiguous())",
    ),
    Code(
        "GC222",
        "wrong for broadcast tensors",
        "The same where a tensor is expanded: all its rows are one and the same in memory, with stride 0. "
        "The upstream gradient of a sum is such a tensor.",
        "grad.view(-1)[i]  # of grad = torch.ones(()).expand(3, 4)",
        "grad = grad.contiguous()",
    ),
    Code(
        "GC223",
        "zero upstream gradient",
        "A gradient is linear in the upstream one: where that is zero, so is it. NaN there comes of 0 / 0 or "
        "0 * inf, anything else of a term that leaves `grad` out.",
        "return grad / grad.norm() * x",
        "return grad * x",
    ),
    Code(
        "GC224",
        "undefined upstream gradient",
        "Where an output isn't used, its upstream gradient is undefined, and backward gets zeros or, after "
        "`ctx.set_materialize_grads(False)`, None. It must give zeros or None then, and no error.",
        "return grad * x  # grad is None",
        "return None if grad is None else grad * x",
    ),
    Code(
        "GC225",
        "modifies its inputs",
        "Forward or backward writes into an input or into the upstream gradient. Whoever uses that tensor "
        "afterwards, another branch of the graph above all, gets wrong numbers without an error.",
        "grad.mul_(mask); return grad",
        "return grad * mask",
    ),
    Code(
        "GC226",
        "two runs differ",
        "Two runs on the same inputs differ by more than rounding: memory that isn't initialised, a race "
        "between threads, random numbers.",
        "out = torch.empty_like(x)  # and not all of it is written",
        "out = torch.zeros_like(x)",
    ),
    Code(
        "GC227",
        "gradient of another dtype, shape or device",
        "What backward returns for an input is a tensor of that input's dtype and shape on its device. "
        "PyTorch converts, and sums over broadcast axes, without a word: at best that costs time.",
        "return grad.double() * x",
        "return grad * x",
    ),
    Code(
        "GC228",
        "depends on which inputs need a gradient",
        "Where only one of the inputs requires a gradient, its gradient is another than with all of them, or "
        "there is an error: `ctx.needs_input_grad` is tested for the wrong position, mostly.",
        "if ctx.needs_input_grad[0]: grad_weight = ...  # weight is the second input",
        "if ctx.needs_input_grad[1]: grad_weight = ...",
    ),
    Code(
        "GC229",
        "second derivative wrong",
        "Backward can be differentiated, and the result is wrong: it uses tensors kept from forward that "
        "are neither inputs nor outputs, or leaves the graph. Gradient penalties are then silently wrong. "
        "Save inputs and outputs only, or say that there is no second derivative.",
        "def backward(ctx, grad): ...  # with ctx.saved = torch.tanh(x)",
        "@torch.autograd.function.once_differentiable\ndef backward(ctx, grad): ...",
    ),
    Code(
        "GC230",
        "torch.library.opcheck fails",
        "The custom operator's registration is wrong: its schema, its fake kernel or how autograd is "
        "registered. `torch.compile` and `torch.export` rely on those.",
    ),
    Code(
        "GC231",
        "wrong in this dtype",
        "The `implementation` is right in float64 and off by far more than rounding explains in the check's "
        "dtype, in which PyTorch is right: sums accumulated in low precision, or an intermediate result that "
        "overflows.",
        "x.sum()  # accumulated in bfloat16 by a kernel",
        "x.float().sum().to(x.dtype)",
    ),
    Code(
        "GC232",
        "refuses some tensors",
        "The `implementation` raises an error for strided or broadcast tensors. That is safe, as nobody gets "
        "wrong numbers, but callers have to know. A warning: the verdict stands.",
        "x.view(-1)  # of a transposed matrix",
        "x.reshape(-1)",
    ),
    Code(
        "GC301",
        "results differ from run to run",
        "PyTorch gave other bits when it was run again: atomic additions, on a GPU above all, sum in any "
        "order. What the runs differ by enters the allowance. "
        "`torch.use_deterministic_algorithms(True)` names the operator.",
    ),
    Code(
        "GC302",
        "device not available",
        "The device asked for doesn't exist on this machine, or this PyTorch was built without it. "
        "`gradcheck doctor` lists what there is.",
    ),
    Code(
        "GC303",
        "memory limit",
        "The arrays that the check needs would exceed the memory there is.",
    ),
    Code(
        "GC304",
        "a backend could not run the check",
        "PyTorch refused the expression on this device or in this dtype.",
    ),
    Code(
        "GC305",
        "file not written",
        "The path of a report or of a new spec can't be written: its folder is missing or read-only, or "
        "it is a folder itself. It is tried before the checks run.",
    ),
    Code(
        "GC306",
        "the dtype is not enough",
        "PyTorch's result in this dtype is off by more than rounding explains, or not finite, and in "
        "float64 it is right: a kernel loses more than its operation has to, or an intermediate result "
        "is beyond what the dtype holds. No formula is wrong, so the check is inconclusive.",
        "(x * x).mean()  # in float16, at x = 300: 90000 is beyond 65504",
        "((x / 300) ** 2).mean() * 300.0**2",
    ),
    Code(
        "GC307",
        "the derived formula is wrong",
        "A formula that gradcheck derived was tried before it was shown, and gave another value than the "
        "derivative rules alone, differences or PyTorch. It is a bug of gradcheck (exit 3): please report "
        "the expression with its inputs.",
    ),
    Code(
        "GC308",
        "the implementation failed",
        "The code that `implementation` names raised an error when it was imported or run. The error's last "
        "line and place are shown.",
    ),
    Code(
        "GC309",
        "time limit",
        "The check took longer than `--timeout` allows, and the process that ran it was ended. The other "
        "checks are not affected. Of what the check found up to then nothing is known.",
    ),
    Code(
        "GC310",
        "the worker process ended",
        "The process that ran the check ended in the middle: it was killed, as the system does where memory "
        "runs out, or code that the check runs crashed or left it. The other checks are not affected.",
    ),
    Code(
        "GC311",
        "cluster not available",
        "The scheduler that `--cluster` names can't be reached, it has no workers, these have another "
        "version of gradcheck, or the package `distributed` is not installed here "
        "(`pip install 'gradcheck-cli[cluster]'`).",
    ),
)

CODES = {record.code: record for record in _RECORDS}
