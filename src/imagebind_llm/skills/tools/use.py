"""An assistant that uses tools: asked, it calls them and answers with what they gave.

::

    user = ToolUser(Assistant.from_pretrained("nano"), [CALCULATOR])
    answer = user.ask("Add the number you hear to the one you see.", image="seven.png", audio="two.wav")
    answer.text, answer.calls

How a tool is chosen depends on the model. One whose chat template reads tools writes its calls itself, in a
form that cannot be invalid (:mod:`imagebind_llm.skills.tools.writing`). For any other a tool is chosen by the
words of the question, and its arguments are perceived (:mod:`imagebind_llm.skills.tools.perceived`); such a
model writes a call only where one is required and no words point to one.
"""

import json
import math
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

from imagebind_llm.common.errors import UserError, one_line, short
from imagebind_llm.inference.assistant import Assistant
from imagebind_llm.inference.calls import ToolCall, new_id
from imagebind_llm.inference.chat import Chat
from imagebind_llm.inference.perception import raised
from imagebind_llm.inference.request import Answer, Request
from imagebind_llm.model.messages import Message, read_messages
from imagebind_llm.skills.tools.choice import ToolChoice, read_choice
from imagebind_llm.skills.tools.definition import read_tools
from imagebind_llm.skills.tools.perceived import Plan, latest, plan, seen
from imagebind_llm.skills.tools.toolbox import Limits, Toolbox
from imagebind_llm.skills.tools.writing import answered, call_form, read_call, reads_tools, told

Calling = Literal["auto", "written", "perceived"]


class ToolUser:
    """Answers questions with the help of tools.

    Args:
        assistant: the model.
        tools: as :class:`~imagebind_llm.skills.tools.toolbox.Toolbox` takes them, and so ``allow``,
            ``confirm`` and ``limits``.
        calling: ``"written"`` the model writes its calls, ``"perceived"`` they are chosen by the words of the
            question, ``"auto"`` the first where its chat template reads tools, else the second.
        shown: is told of each call when it has been made.

    Raises:
        UserError: a tool is malformed, or a setting is unknown.
    """

    def __init__(
        self,
        assistant: Assistant,
        tools: Sequence[Any],
        *,
        allow: Collection[str] | None = None,
        confirm: Callable[[ToolCall], bool] | None = None,
        limits: Limits | None = None,
        calling: Calling = "auto",
        shown: Callable[[ToolCall], None] | None = None,
    ) -> None:
        if calling not in ("auto", "written", "perceived"):
            raise UserError(f"calling is {short(calling)}; expected auto, written or perceived")
        self.assistant = assistant
        own = [tool.bound(assistant) for tool in read_tools(tools)]
        self.toolbox = Toolbox(own, allow, confirm, limits)
        self._native = reads_tools(assistant.processor.tokenizer)
        self._written = calling == "written" or (calling == "auto" and self._native)
        """Whether the model is taken to know what calls are."""
        self._shown = shown

    def ask(
        self,
        question: str | None = None,
        *,
        tool_choice: Any = "auto",
        media: Mapping[str, Any] | None = None,
        messages: Sequence[Message] | None = None,
        system: str | None = None,
        **more: Any,
    ) -> Answer:
        """As :meth:`imagebind_llm.inference.assistant.Assistant.ask`, with tools.

        Args:
            question: what to ask.
            tool_choice: ``"auto"``, ``"none"``, ``"required"``, or the name of a tool that has to be called.
            media: by modality.
            messages: a whole dialog instead of a question with media.
            system: a system message.
            more: media by keyword (``image=…``), and options.

        Raises:
            UserError: what is wrong with the request; a tool that fails is no error, see ``Answer.calls``.
        """
        if messages is None:
            given = {"question": question, **(media or {}), **more}
            given |= {} if system is None else {"system": system}
            return self.answer(Request.read(given, self.assistant.modalities), tool_choice)
        return self.answer(
            Request.make(question, media, messages=messages, system=system, **more), tool_choice
        )

    def chat(self, *, tool_choice: Any = "auto", **options: Any) -> Chat:
        """A dialog whose questions are answered with tools. It remembers questions and answers, and no calls.

        Args:
            tool_choice: as in :meth:`ask`, for each question.
            options: of :meth:`imagebind_llm.inference.assistant.Assistant.chat`.

        Raises:
            UserError: an unknown or impossible setting.
        """
        read_choice(tool_choice, self.toolbox.tools)
        dialog = self.assistant.chat(**options)
        return dialog.answered_by(lambda request: self.answer(request, tool_choice))

    def answer(self, request: Request, tool_choice: Any = "auto") -> Answer:
        """Answer a ready request.

        Raises:
            UserError: as :meth:`ask`.
        """
        choice = read_choice(tool_choice, self.toolbox.tools)
        if not choice.tools:
            return self._one(request)
        if not self._written:
            found = plan(request.messages, choice.tools)
            if found is not None:
                return self._planned(request, found)
            return self._forced(request, choice) if choice.must else self._one(request)
        return self._writing(request, choice)

    def _one(self, request: Request) -> Answer:
        (found,) = self.assistant.ask_batch([request])
        return raised(found)

    def _called(self, call: ToolCall) -> ToolCall:
        if self._shown is not None:
            self._shown(call)
        return call

    # --- chosen by words

    def _planned(self, request: Request, found: Plan) -> Answer:
        started = time.perf_counter()
        options = replace(request.options, response_format=None)
        asked = self.assistant.ask_batch([Request(one, options) for one in found.questions()])
        answers = [raised(one) for one in asked]
        perceived = found.perceived([one.text for one in answers])
        try:
            arguments = found.arguments([one.text for one in answers])
        except UserError as error:
            call = replace(_failed(found.tool.name, error), perceived=perceived)
            text = f"{found.tool.name} was not called: {call.error}."
        else:
            call = self.toolbox.call(
                found.tool.name, arguments, seen(read_messages(request.messages)), perceived
            )
            text = f"{found.tool.name} failed: {call.error}."
            if call.result is not None:
                text = found.says(arguments, call.result)
        self._called(call)
        sure = [one.confidence for one in answers]
        known = [value for value in sure if value is not None]
        return Answer(
            text=text,
            finish_reason="stop",
            prompt_tokens=sum(one.prompt_tokens for one in answers),
            new_tokens=sum(one.new_tokens for one in answers),
            seconds=time.perf_counter() - started,
            media=tuple(item for one in answers for item in one.media),
            cached=any(one.cached for one in answers),
            confidence=math.prod(known) if known and len(known) == len(sure) else None,
            nearest=min((one.nearest for one in answers if one.nearest is not None), default=None),
            calls=(call,),
        )

    def _forced(self, request: Request, choice: ToolChoice) -> Answer:
        """A call that is required of a model that knows nothing of calls: valid, and no more than that."""
        form = call_form(choice.tools, self.assistant.processor.tokenizer, True)
        answer = self._one(replace(request, options=replace(request.options, response_format=form)))
        try:
            written = read_call(answer.text)
        except UserError as error:
            call, text = _failed("", error), f"no tool was called: {error}"
        else:
            assert written is not None, "the form lets nothing else pass"
            call = self.toolbox.call(*written, latest(read_messages(request.messages)))
            text = f"{call.name} failed: {call.error}." if call.result is None else call.result
        return replace(answer, text=text, calls=(self._called(call),))

    # --- written by the model

    def _writing(self, request: Request, choice: ToolChoice) -> Answer:
        limits, started = self.toolbox.limits, time.perf_counter()
        tokenizer = self.assistant.processor.tokenizer
        definitions = tuple(tool.to_openai() for tool in choice.tools) if self._native else ()
        messages = told(request.messages, choice.tools, self._native)
        calls: list[ToolCall] = []
        answers: list[Answer] = []
        made: set[str] = set()
        must, more = choice.must, True
        while True:
            over = time.perf_counter() - started >= limits.seconds
            if over and calls:
                text = f"stopped after {limits.seconds:g} s; the last call was {calls[-1]}"
                return self._joined(replace(answers[-1], text=text), answers, calls, started)
            more = more and len(calls) < limits.steps
            form = call_form(choice.tools, tokenizer, must) if more else None
            own = request.options if form is None else replace(request.options, response_format=form)
            answers.append(self._one(Request(messages, own, definitions)))
            try:
                written = None if form is None else read_call(answers[-1].text)
            except UserError as error:
                calls.append(self._called(_failed("", error)))
                text = f"no tool was called: {error}"
                return self._joined(replace(answers[-1], text=text), answers, calls, started)
            if written is None:
                return self._joined(answers[-1], answers, calls, started)
            must = False
            key = json.dumps(written, sort_keys=True)
            if key in made:
                again = "the same call was made before; it is not made again"
                call = replace(_failed(written[0], again), arguments=written[1])
                more = False
            else:
                made.add(key)
                call = self.toolbox.call(*written, latest(read_messages(request.messages)))
            calls.append(self._called(call))
            messages += answered(call, self._native)

    @staticmethod
    def _joined(last: Answer, all_: list[Answer], calls: list[ToolCall], started: float) -> Answer:
        return replace(
            last,
            prompt_tokens=sum(one.prompt_tokens for one in all_),
            new_tokens=sum(one.new_tokens for one in all_),
            seconds=time.perf_counter() - started,
            calls=tuple(calls),
        )


def _failed(name: str, error: object) -> ToolCall:
    return ToolCall(new_id(), name, {}, error=one_line(error))
