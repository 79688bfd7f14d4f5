"""What the pure core may not do, as checks on its syntax: reach outside, round by luck, let a set choose.

Each check answers a source with its violations, one line each. They read names, not values, so they can be
fooled on purpose; they are there to catch what slips in by habit.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import TypeGuard

from tests.architecture.tree import Source, imports

MODULES = frozenset(
    "__future__ abc agents bisect collections dataclasses decimal enum functools hashlib heapq itertools "
    "math msgspec numba numpy operator re schemas struct typing unicodedata".split()
)
"""All that the core may import: none of these reads a clock, a file, a socket or a source of chance."""

OUTWARD_CALLS = frozenset(
    "__import__ breakpoint compile eval exec globals hash id input locals open print vars".split()
)
"""Built-ins that reach outside, run text as code, or differ from one process to the next (`hash`, `id`)."""

EXACT_MATH = frozenset(
    "ceil comb copysign fabs factorial floor fmod frexp fsum gcd inf isclose isfinite isinf isnan isqrt lcm "
    "ldexp modf nan nextafter perm remainder sqrt trunc ulp".split()
)
"""Of `math`: what IEEE 754 or integers fix to the last bit. exp, log, pow and sin vary with the C library."""

INEXACT_NUMPY = frozenset(
    "acos acosh arccos arccosh arcsin arcsinh arctan arctan2 arctanh asin asinh atan atan2 atanh cbrt "
    "convolve corrcoef correlate cos cosh cov datetime64 dot einsum exp exp2 expm1 fft float_power fromfile "
    "genfromtxt geomspace hypot inner kron linalg load loadtxt log log10 log1p log2 logaddexp logaddexp2 "
    "logspace matmul matvec memmap polyfit pow power random save savetxt savez sin sinc sinh tan tanh "
    "tensordot vdot vecdot vecmat".split()
)
"""Of numpy: what the C library or BLAS computes, so the last bit may vary; clock, files and chance."""

SET_METHODS = frozenset({"union", "intersection", "difference", "symmetric_difference"})
SET_TYPES = frozenset({"set", "frozenset", "Set", "AbstractSet", "MutableSet"})
KEEPS_ORDER = frozenset("deque dict enumerate filter fsum iter list map next reduce reversed sum tuple zip".split())
DROPS_ORDER = frozenset("all any frozenset len max min set sorted".split())


def import_violations(source: Source) -> list[str]:
    return [
        f"{source.path}:{line}: the pure core may not import {name}"
        for line, name in imports(source)
        if name.split(".")[0] not in MODULES
    ]


def call_violations(source: Source) -> list[str]:
    """Find calls of `OUTWARD_CALLS`, those made by `map`, `filter` and a sort key included."""
    return [
        f"{source.path}:{node.lineno}: the pure core may not call {called.id}()"
        for node in ast.walk(source.tree)
        if isinstance(node, ast.Call)
        for called in _called(node)
        if isinstance(called, ast.Name) and called.id in OUTWARD_CALLS
    ]


def arithmetic_violations(source: Source) -> list[str]:
    """Find arithmetic whose last bit depends on the machine, the C library or the version of Python."""
    aliases = _aliases(source)
    named = [(line, name) for line, name in imports(source) if _inexact(name)]
    found: list[tuple[int, str]] = []
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Attribute) and not _inexact(_dotted(node.value, aliases)):
            name = _dotted(node, aliases)
            named += [(node.lineno, name)] if _inexact(name) else []
        found += _inexact_syntax(node)
    found += [(line, f"{name} is not rounded alike on every machine") for line, name in named]
    return [f"{source.path}:{line}: {reason}" for line, reason in sorted(set(found))]


def set_order_violations(source: Source) -> list[str]:
    """Find where a set's order could reach an output: loops, copies into sequences, unpacking, `pop`."""
    names = _set_names(source.tree)
    excused = {
        id(argument)
        for node in ast.walk(source.tree)
        if isinstance(node, ast.Call) and _name(node.func) in DROPS_ORDER
        for argument in node.args
    } | {id(node) for node in ast.walk(source.tree) if isinstance(node, ast.SetComp)}
    lines = [
        used.lineno
        for node in ast.walk(source.tree)
        if id(node) not in excused
        for used in _ordered_uses(node)
        if _is_set(used, names)
    ]
    return [f"{source.path}:{line}: a set has no order: sort it first" for line in sorted(set(lines))]


def _name(node: ast.expr) -> str:
    """Return the last part of a name, dotted or not; empty for other expressions."""
    if isinstance(node, ast.Name):
        return node.id
    return node.attr if isinstance(node, ast.Attribute) else ""


def _called(call: ast.Call) -> Iterator[ast.expr]:
    """Yield what a call runs: the function itself, and a function that it is handed to run."""
    yield call.func
    if _name(call.func) in {"map", "filter"}:
        yield from call.args[:1]
    yield from (keyword.value for keyword in call.keywords if keyword.arg == "key")


def _aliases(source: Source) -> dict[str, str]:
    """Map the names under which modules are known here to what they stand for."""
    return {
        name.asname or name.name: name.name
        for node in ast.walk(source.tree)
        if isinstance(node, ast.Import)
        for name in node.names
    }


def _dotted(node: ast.expr, aliases: dict[str, str]) -> str:
    if isinstance(node, ast.Attribute):
        return f"{_dotted(node.value, aliases)}.{node.attr}"
    return aliases.get(node.id, node.id) if isinstance(node, ast.Name) else "?"


def _inexact(name: str) -> bool:
    module, *parts = name.split(".")
    if module == "math" and parts:
        return parts[0] not in EXACT_MATH
    return module == "numpy" and not INEXACT_NUMPY.isdisjoint(parts)


def _inexact_syntax(node: ast.AST) -> Iterator[tuple[int, str]]:
    if isinstance(node, (ast.BinOp, ast.AugAssign)):
        if isinstance(node.op, ast.MatMult):
            yield node.lineno, "@ adds up in an order that BLAS chooses"
        elif isinstance(node.op, ast.Pow) and not _is_integer_power(node):
            yield node.lineno, "** is not rounded alike on every machine: multiply, or use integers"
    elif isinstance(node, ast.Call):
        name = _name(node.func)
        if name == "pow":
            yield node.lineno, "pow() is not rounded alike on every machine: multiply, or use integers"
        elif name == "dot":
            yield node.lineno, "dot() adds up in an order that BLAS chooses"
        elif isinstance(node.func, ast.Name) and name == "sum" and not _is_exact_sum(node):
            yield (
                node.lineno,
                "sum() of floats differs between Python 3.11 and 3.12: use fsum, or name the start",
            )
        for keyword in node.keywords:
            off = isinstance(keyword.value, ast.Constant) and keyword.value.value is False
            if keyword.arg in {"fastmath", "parallel"} and not off:
                yield node.lineno, f"{keyword.arg} lets the compiler reorder sums"


def _is_integer_power(node: ast.BinOp | ast.AugAssign) -> bool:
    if isinstance(node, ast.AugAssign):
        return False
    sides = (node.left, node.right)
    return all(isinstance(side, ast.Constant) and isinstance(side.value, int) for side in sides)


def _is_exact_sum(call: ast.Call) -> bool:
    """Tell a sum that counts, or that starts from a named zero or a Decimal, from one that may add floats."""
    starts = [keyword.value for keyword in call.keywords if keyword.arg == "start"] + call.args[1:]
    if starts:
        return not isinstance(starts[0], ast.Constant)
    over = call.args[0]
    element = over.elt if isinstance(over, (ast.GeneratorExp, ast.ListComp)) else over
    counted = isinstance(element, ast.Constant) and isinstance(element.value, int)
    compared = isinstance(element, ast.Compare)
    return counted or compared or (isinstance(element, ast.Call) and _name(element.func) in {"len", "int"})


def _set_names(tree: ast.Module) -> frozenset[str]:
    """Collect the names and attributes that are annotated as sets, or assigned one, anywhere in a module."""
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.AnnAssign) and _is_set_type(node.annotation):
            names.add(_name(node.target))
        elif isinstance(node, ast.arg) and node.annotation is not None and _is_set_type(node.annotation):
            names.add(node.arg)
        elif isinstance(node, ast.Assign) and _is_set(node.value, frozenset()):
            names.update(_name(target) for target in node.targets)
    return frozenset(names - {""})


def _is_set_type(annotation: ast.expr) -> bool:
    if isinstance(annotation, ast.BinOp):
        return _is_set_type(annotation.left) or _is_set_type(annotation.right)
    base = annotation.value if isinstance(annotation, ast.Subscript) else annotation
    return _name(base) in SET_TYPES


def _is_set(node: ast.expr, names: frozenset[str]) -> bool:
    """Tell whether an expression gives a set; `names` are known to hold one."""
    if isinstance(node, (ast.Set, ast.SetComp)):
        return True
    if isinstance(node, (ast.Name, ast.Attribute)):
        return _name(node) in names
    if isinstance(node, ast.Call):
        name = _name(node.func)
        return name in {"set", "frozenset"} or (isinstance(node.func, ast.Attribute) and name in SET_METHODS)
    if isinstance(node, ast.BinOp) and isinstance(node.op, (ast.BitAnd, ast.BitOr, ast.BitXor, ast.Sub)):
        return any(_is_set(side, names) or _is_view(side) for side in (node.left, node.right))
    return False


def _is_view(node: ast.expr) -> bool:
    """Tell a mapping's view: combined with another it gives a set, though alone it keeps its order."""
    return isinstance(node, ast.Call) and _name(node.func) in {"keys", "items"}


def _unpacks(node: ast.AST) -> TypeGuard[ast.Assign]:
    return isinstance(node, ast.Assign) and isinstance(node.targets[0], (ast.Tuple, ast.List))


def _ordered_uses(node: ast.AST) -> Iterator[ast.expr]:
    """Yield the expressions that a node takes in their own order."""
    if isinstance(node, ast.For):
        yield node.iter
    elif isinstance(node, (ast.ListComp, ast.GeneratorExp, ast.DictComp, ast.SetComp)):
        for generator in node.generators:
            yield generator.iter
    elif isinstance(node, (ast.Starred, ast.YieldFrom)) or _unpacks(node):
        yield node.value
    elif isinstance(node, ast.Call):
        name = _name(node.func)
        if name in KEEPS_ORDER | {"join", "fromkeys", "extend", "array"}:
            yield from node.args
        elif name == "pop" and not node.args and isinstance(node.func, ast.Attribute):
            yield node.func.value
