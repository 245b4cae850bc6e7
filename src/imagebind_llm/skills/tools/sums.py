"""How people ask for sums, in English: the calculator's routes.

A route knows a kind of wording: an order ("add … to …"), a question ("how much is … plus …"), a condition
("if you take … from …, what remains?"), or the name of what is wanted ("the sum of …"), about two numbers
that are named each, or about the two media together.
"""

from imagebind_llm.skills.tools.routes import Route

_NOUN = "[ numbers| digits| values| figures]"
_ALL = "the numbers|the digits"
_TWO = f"(both|them|these|those|the two|these two|those two|both of them|both of these|{_ALL}){_NOUN}"
_SUBJECT = f"(they|these|those|the two|both|these two|those two|both of them|{_ALL}){_NOUN}"
_TOGETHER = "[ together| in all| altogether| in total| combined]"
_THEN = (
    "[ together][,][ then][ (what|how much) (do you get|do i get|do we get|would you get|would i get|"
    "will i get|is it|is that|is the result|is the answer|is left|remains|does that make|does it make)]"
)
"""What may stand after an order or a condition."""
_ONE = "[ one| number| digit| value]"
_LARGER = "(larger|greater|bigger|higher|largest|greatest|biggest|highest|maximum)"
_SMALLER = "(smaller|lower|lesser|smallest|lowest|least|minimum)"
_MORE = "(larger|more|greater|bigger|higher)"
_LESS = "(smaller|less|lower)"
_EXPRESSION = "{expression} = {result}"
_DIFFERENCE = "The difference is {result}."


def _route(phrase: str, expression: str, says: str = _EXPRESSION) -> Route:
    return Route(phrase, {"expression": expression}, says)


def _chosen(word: str, further: str, of: str, says: str) -> tuple[Route, ...]:
    """Routes of the larger or the smaller of two.

    Args:
        word: for it.
        further: a word for it after "is" only: "which is more".
        of: function of the calculator.
        says: the answer.
    """
    named, both = f"{of}({{a}}, {{b}})", f"{of}({{1}}, {{2}})"
    is_it = f"is[ the] ({word}|{further})"
    return (
        _route(f"{word}[ one][ number][ digit][,|:|of|one of|number of] {{a}} (or|and) {{b}}", named, says),
        _route(f"(which|what){_ONE} {is_it}[ one][ number][ digit][,|:] {{a}} (or|and) {{b}}", named, says),
        _route(
            "(of|between|among|from|out of|comparing) {a} (and|or) {b}[,] "
            f"(which|what){_ONE} {is_it}{_ONE}",
            named,
            says,
        ),
        _route(f"(is|are) {{a}} or {{b}}[ the] ({word}|{further}){_ONE}", named, says),
        _route(f"(which|what){_ONE}[ (of|out of|among|from) {_TWO}] {is_it}{_ONE}", both, says),
        _route(f"{word}{_ONE}[ of| out of| among| between| from] {_TWO}", both, says),
        _route(
            "(name|tell|give|show|find|say|pick|choose|determine|read)[ me][ out][ us] the "
            f"{word} (one|number|digit|value)",
            both,
            says,
        ),
    )


ROUTES = (
    # two numbers, each of them named
    _route(f"(add|sum|combine|total|put|count)[ up] {{a}} (to|and|with|plus) {{b}}[ up]{_THEN}", "{a} + {b}"),
    _route("[the ](sum|total|addition) of {a} (and|plus) {b}", "{a} + {b}"),
    _route(f"{{a}} (plus|+|added to) {{b}}{_TOGETHER}", "{a} + {b}"),
    _route(
        "(do|does|will|would) {a} and {b} (make|give|add up to|come to|amount to|equal|sum up to)"
        f"{_TOGETHER}",
        "{a} + {b}",
    ),
    _route("(is|are) {a} and {b} (together|in all|altogether|in total|combined|added)", "{a} + {b}"),
    _route(f"(subtract|take|deduct|remove)[ away] {{a}}[ away] from {{b}}{_THEN}", "{b} - {a}"),
    _route("{a}[ is] (subtracted|taken|deducted|removed)[ away] from {b}", "{b} - {a}"),
    _route("(difference|gap|distance) (between|of|from) {a} (and|to) {b}", "abs({a} - {b})", _DIFFERENCE),
    _route("(do|does) {a} and {b} differ", "abs({a} - {b})", _DIFFERENCE),
    _route("(do|does) {a} differ from {b}", "abs({a} - {b})", _DIFFERENCE),
    _route(f"how much {_MORE} is {{a}} than {{b}}", "{a} - {b}"),
    _route(f"how much {_LESS} is {{a}} than {{b}}", "{b} - {a}"),
    _route(f"how much is {{a}} {_MORE} than {{b}}", "{a} - {b}"),
    _route(f"how much is {{a}} {_LESS} than {{b}}", "{b} - {a}"),
    _route("how much does {a} exceed {b}", "{a} - {b}"),
    _route("{a} (minus|less|reduced by|decreased by) {b}", "{a} - {b}"),
    _route(f"multiply {{a}} (by|with|and|times) {{b}}{_THEN}", "{a} * {b}"),
    _route("product (of|from) {a} and {b}", "{a} * {b}"),
    _route("{a} (times|multiplied by|multiplied with|*|x|×) {b}", "{a} * {b}"),
    _route(f"divide {{a}} by {{b}}{_THEN}", "{a} / {b}"),
    _route("{a} (divided by|over|/|÷) {b}", "{a} / {b}"),
    # the two media together
    _route(f"(add|sum|combine|total|count)[ up] {_TWO}[ up]{_THEN}", "{1} + {2}"),
    _route(f"(sum|total|addition) of {_TWO}", "{1} + {2}"),
    _route("[what is ]their (sum|total)", "{1} + {2}"),
    _route(
        f"(do|will|would|does) {_SUBJECT} (make|give|add up to|come to|amount to|equal|sum up to){_TOGETHER}",
        "{1} + {2}",
    ),
    _route(
        f"(is|are) {_SUBJECT} (together|in all|altogether|in total|combined|added|added together|added up)",
        "{1} + {2}",
    ),
    _route(f"(difference|gap|distance) (between|of) {_TWO}", "abs({1} - {2})", _DIFFERENCE),
    _route("[what is ]their difference", "abs({1} - {2})", _DIFFERENCE),
    _route(f"(how much|how far|what) (do|are|does) {_SUBJECT} (differ|apart)", "abs({1} - {2})", _DIFFERENCE),
    _route(
        f"multiply {_TWO}[ together| by each other| with each other| by one another| with one another]"
        f"{_THEN}",
        "{1} * {2}",
    ),
    _route(f"product of {_TWO}", "{1} * {2}"),
    _route("[what is ]their product", "{1} * {2}"),
    _route(
        f"{_SUBJECT} (multiplied|times)[ (together|each other|by each other|with each other|by one another|"
        "with one another)]",
        "{1} * {2}",
    ),
    *_chosen(_LARGER, "more", "max", "The larger is {result}."),
    *_chosen(_SMALLER, "less", "min", "The smaller is {result}."),
    _route("(double|twice) {a}", "2 * {a}"),
    _route("half of {a}", "{a} / 2"),
    _route("square of {a}", "({a}) ** 2"),
    _route("{a} squared", "({a}) ** 2"),
    _route("{a} - {b}", "{a} - {b}"),  # the last: twenty-one has one, too
)
