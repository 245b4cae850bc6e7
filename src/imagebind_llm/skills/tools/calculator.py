"""A calculator: exact whole numbers and decimals, by Python's own parser and nothing of Python else."""

import ast
import operator
from collections.abc import Callable
from decimal import Context, Decimal, DecimalException, localcontext
from typing import Any

from imagebind_llm.common.errors import UserError, one_line
from imagebind_llm.skills.tools.definition import Tool
from imagebind_llm.skills.tools.sums import ROUTES

LONGEST = 200
"""Characters of an expression."""
_DEEPEST = 20
DIGITS = 50
"""Digits that count of a number that is not whole."""
_LARGEST = 1000
"""Digits of a whole number."""
_MOST_POWER = 4096
_CONTEXT = Context(prec=DIGITS)

Number = int | Decimal


def _divided(one: Number, two: Number) -> Number:
    if two == 0:
        raise UserError("division by zero")
    if isinstance(one, int) and isinstance(two, int) and one % two == 0:
        return one // two
    return _CONTEXT.divide(Decimal(one), Decimal(two))


def _whole(operation: Callable[[Any, Any], Any]) -> Callable[[Number, Number], Number]:
    def work(one: Number, two: Number) -> Number:
        if two == 0:
            raise UserError("division by zero")
        if isinstance(one, int) and isinstance(two, int):
            return int(operation(one, two))
        # Python's sign rule for whole numbers, also for decimals (whose own // rounds towards zero)
        quotient = _CONTEXT.divide(Decimal(one), Decimal(two)).to_integral_value("ROUND_FLOOR")
        return quotient if operation is operator.floordiv else Decimal(one) - quotient * Decimal(two)

    return work


def _power(one: Number, two: Number) -> Number:
    if two != int(two) or not -_MOST_POWER <= two <= _MOST_POWER:
        raise UserError(f"a power of {two}; expected a whole number up to {_MOST_POWER}")
    if isinstance(one, int) and two >= 0:
        if one.bit_length() * int(two) > 4 * _LARGEST:
            raise UserError(f"a number of more than {_LARGEST} digits")
        return one ** int(two)
    if one == 0 and two < 0:
        raise UserError("division by zero")
    return _CONTEXT.power(Decimal(one), Decimal(two))


_BINARY: dict[type[ast.operator], Callable[[Number, Number], Number]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: _divided,
    ast.FloorDiv: _whole(operator.floordiv),
    ast.Mod: _whole(operator.mod),
    ast.Pow: _power,
}
_UNARY: dict[type[ast.unaryop], Callable[[Any], Number]] = {ast.USub: operator.neg, ast.UAdd: operator.pos}
_FUNCTIONS: dict[str, Callable[[list[Any]], Any]] = {
    "abs": lambda values: abs(values[0]),
    "max": max,
    "min": min,
}


def calculate(expression: str) -> str:
    """Compute an expression exactly.

    Takes whole numbers, decimals, ``+ - * / // % **``, brackets, ``abs``, ``max`` and ``min``. Whole numbers
    stay whole where they can; others have up to 50 digits.

    Raises:
        UserError: it is no such expression, or too large.
    """
    if not isinstance(expression, str) or not expression.strip() or len(expression) > LONGEST:
        raise UserError(f"an expression of 1 to {LONGEST} characters is expected")
    plain = expression.strip().replace("×", "*").replace("÷", "/").replace("−", "-").replace("^", "**")
    try:
        tree = ast.parse(plain, mode="eval")
        with localcontext(_CONTEXT):
            found = _value(tree.body, plain, 0)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise UserError(
            f"{one_line(expression, 60)!r} is no expression; write for example (7 + 5) * 2"
        ) from None
    except DecimalException:
        raise UserError(f"the result of {one_line(expression, 60)!r} is too large or too small") from None
    return _written(found)


def _value(node: ast.expr, text: str, depth: int) -> Number:
    if depth > _DEEPEST:
        raise UserError(f"an expression nested more than {_DEEPEST} deep")
    if isinstance(node, ast.Constant) and type(node.value) in (int, float):
        source = (ast.get_source_segment(text, node) or "").replace("_", "")
        return node.value if isinstance(node.value, int) else Decimal(source)
    if isinstance(node, ast.BinOp) and type(node.op) in _BINARY:
        one, two = _value(node.left, text, depth + 1), _value(node.right, text, depth + 1)
        return _checked(_BINARY[type(node.op)](one, two))
    if isinstance(node, ast.UnaryOp) and type(node.op) in _UNARY:
        return _UNARY[type(node.op)](_value(node.operand, text, depth + 1))
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in _FUNCTIONS:
        values = [_value(one, text, depth + 1) for one in node.args]
        if node.keywords or not values or (node.func.id == "abs" and len(values) != 1):
            raise UserError(f"{node.func.id} takes {'one number' if node.func.id == 'abs' else 'numbers'}")
        chosen: Number = _FUNCTIONS[node.func.id](values)
        return chosen
    raise UserError(
        f"{one_line(ast.unparse(node), 60)!r} is not computed here; use numbers, + - * / // % **, brackets, "
        "abs, max and min"
    )


def _checked(number: Number) -> Number:
    size = number.bit_length() if isinstance(number, int) else 0
    if size > 4 * _LARGEST:
        raise UserError(f"a number of more than {_LARGEST} digits")
    return number


def _written(number: Number) -> str:
    if isinstance(number, int):
        return str(number)
    if number == number.to_integral_value() and abs(number) < Decimal(10) ** DIGITS:
        return str(int(number))
    exponent = number.normalize()
    return f"{exponent:f}" if -DIGITS <= exponent.adjusted() <= DIGITS else str(exponent)


CALCULATOR = Tool(
    name="calculator",
    description=(
        "Computes an expression of numbers exactly: + - * / // % ** brackets, abs(x), max(x, y), min(x, y)."
    ),
    parameters={
        "type": "object",
        "properties": {
            "expression": {"type": "string", "maxLength": LONGEST, "description": "For example (7 + 5) * 2"}
        },
        "required": ["expression"],
        "additionalProperties": False,
    },
    run=calculate,
    routes=ROUTES,
)
