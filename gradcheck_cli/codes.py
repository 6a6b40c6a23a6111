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
        "A check needs `version`, `inputs` and `expression`.",
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
        "The files and folders given hold no spec: no mapping with a top-level `version`.",
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
        "An option, its value, or the name of a command or operator is not known. `--help` after a "
        "command lists what it takes.",
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
)

CODES = {record.code: record for record in _RECORDS}
