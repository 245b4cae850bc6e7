"""Tokens that were read and written."""

from collections.abc import Mapping

from imagebind_llm.serving.service import Running
from imagebind_llm.serving.tool_calls import Given


def usage_of(running: Running | Given, tokens: Mapping[int, int]) -> dict[str, int]:
    """OpenAI's ``usage``. Media cost no tokens.

    Args:
        running: the request.
        tokens: how many each of its answers has, end tokens included.
    """
    written = sum(tokens.values())
    return {
        "prompt_tokens": running.prompt_tokens,
        "completion_tokens": written,
        "total_tokens": running.prompt_tokens + written,
    }
