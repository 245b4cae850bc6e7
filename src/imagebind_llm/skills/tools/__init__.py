"""Function calling: tools, the calls that a model makes of them, and the loop between the two.

:class:`Tool` describes one, :class:`ToolUser` is an assistant that uses them; :data:`CALCULATOR`,
:data:`GENERATOR` and :data:`DETECTOR` are three, and :func:`ocr` makes another.
"""

from imagebind_llm.inference.calls import MadeFile, Outcome, ToolCall
from imagebind_llm.skills.tools.calculator import CALCULATOR
from imagebind_llm.skills.tools.definition import Tool
from imagebind_llm.skills.tools.detector import DETECTOR
from imagebind_llm.skills.tools.generator import GENERATOR
from imagebind_llm.skills.tools.routes import Route
from imagebind_llm.skills.tools.text_reader import ocr
from imagebind_llm.skills.tools.toolbox import Limits, Toolbox
from imagebind_llm.skills.tools.use import ToolUser

__all__ = [
    "CALCULATOR",
    "DETECTOR",
    "GENERATOR",
    "Limits",
    "MadeFile",
    "Outcome",
    "Route",
    "Tool",
    "ToolCall",
    "ToolUser",
    "Toolbox",
    "ocr",
]
