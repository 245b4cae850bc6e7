"""The model classes that lmms-eval runs. Only lmms-eval imports this module.

Its chat tasks give whole messages (:class:`ImageBindLLM`). Tasks that compare the likelihoods of answers
exist only in its older form, with ``--force_simple`` (:class:`ImageBindLLMSimple`).
"""

import itertools
import os
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NoReturn

import torch
from lmms_eval.api.instance import GenerationResult, Instance, TokenCounts
from lmms_eval.api.model import lmms
from tqdm import tqdm

from imagebind_llm.common.errors import UserError
from imagebind_llm.evaluation.lmms.requests import cut, messages_of, options_of, question
from imagebind_llm.evaluation.lmms.scoring import likelihoods
from imagebind_llm.inference.assistant import Assistant
from imagebind_llm.model.messages import Message


class _Model(lmms):
    """What both classes share.

    Args:
        pretrained: ``"nano"``, a model folder or a hub id.
        batch_size: answers written at once; ``"auto"``: 32.
        device: ``"auto"``, ``"cpu"``, ``"cuda:1"``, …; of several processes each takes its own GPU.
        loading: further arguments of :meth:`imagebind_llm.Assistant.from_pretrained` (``dtype``, ``cache``,
            ``revision``, ``quantization``, …).

    Raises:
        UserError: as :meth:`imagebind_llm.Assistant.from_pretrained`.
    """

    def __init__(
        self,
        pretrained: str = "nano",
        batch_size: int | str = 32,
        device: str | None = None,
        max_batch_size: int | None = None,
        **loading: Any,
    ) -> None:
        super().__init__()
        if device in (None, "auto"):
            gpu = f"cuda:{os.environ.get('LOCAL_RANK', 0)}"
            device = gpu if torch.cuda.is_available() else "cpu"
        if str(batch_size).startswith("auto"):
            batch_size = max_batch_size or 32
        self.bot = Assistant.from_pretrained(pretrained, device=device, batch_size=int(batch_size), **loading)
        self._rank = int(os.environ.get("RANK", 0))
        self._world_size = int(os.environ.get("WORLD_SIZE", 1))

    @property
    def device(self) -> torch.device:
        """Where the language model is."""
        return self.bot.device

    def _answers(
        self, requests: Sequence[Instance], messages: Callable[[Instance], list[Message]], settings: int
    ) -> list[GenerationResult]:
        """Answers in the order of ``requests``; ``settings`` is the place of their generation settings."""

        def asked() -> Iterator[dict[str, Any]]:
            for request in requests:
                yield {"messages": messages(request), **options_of(request.args[settings] or {})}

        answers = tqdm(
            self.bot.iter_batch(asked()), total=len(requests), desc="Model Responding", disable=self.rank != 0
        )
        return [
            _result(request, answer, (request.args[settings] or {}).get("until"))
            for request, answer in zip(requests, answers, strict=True)
        ]

    def _doc(self, task: str, split: str, number: int) -> Any:
        return self.task_dict[task][split][number]


class ImageBindLLM(_Model):
    """Answers lmms-eval's chat tasks."""

    is_simple = False

    def generate_until(self, requests: list[Instance]) -> list[GenerationResult]:
        """The answers, cut at the task's ``until``.

        Raises:
            UserError: a medium or setting that cannot be used; the message names the task and document.
        """

        def messages(request: Instance) -> list[Message]:
            _, to_messages, _, number, task, split = request.args
            return _messages(to_messages, self._doc(task, split, number))

        return self._answers(requests, messages, settings=2)

    def generate_until_multi_round(self, requests: list[Instance]) -> list[list[str]]:
        """For each request the answers of all rounds; the task says what each round asks, and when to stop.

        Raises:
            UserError: as :meth:`generate_until`.
        """
        results: list[list[str]] = []
        for request in tqdm(requests, desc="Model Responding", disable=self.rank != 0):
            _, to_messages, settings, number, task, split = request.args
            settings = settings or {}
            doc, info, said = self._doc(task, split, number), None, list[str]()
            asked: list[Message] | None = _messages(to_messages, doc)
            while asked is not None:
                (answer,) = self.bot.ask_batch([{"messages": asked, **options_of(settings)}])
                said.append(_result(request, answer, settings.get("until")).text)
                raw, ends, _, info = to_messages(
                    doc, round_idx=len(said), previous_output=list(said), previous_round_info=info
                )
                asked = None if ends else messages_of(raw)
            results.append(said)
        return results

    def loglikelihood(self, requests: list[Instance]) -> NoReturn:
        """lmms-eval has no such tasks in this form."""
        raise NotImplementedError("likelihoods are compared with --force_simple only")


class ImageBindLLMSimple(_Model):
    """Answers lmms-eval's tasks in their older form: a text with a list of media."""

    is_simple = True

    def generate_until(self, requests: list[Instance]) -> list[GenerationResult]:
        """As :meth:`ImageBindLLM.generate_until`."""

        def messages(request: Instance) -> list[Message]:
            text, _, to_visual, number, task, split = request.args
            return question(to_visual(self._doc(task, split, number)), text)

        return self._answers(requests, messages, settings=1)

    def loglikelihood(self, requests: list[Instance]) -> list[GenerationResult]:
        """For each answer its mean loss a token, and whether the model would give it.

        lmms-eval's models return the loss here, and its multiple-choice tasks take the answer with the least.
        Bare pairs, which its documentation asks for, version 0.7.3 turns into text; wrapped they arrive.

        Raises:
            UserError: as :meth:`ImageBindLLM.generate_until`.
        """
        results: list[GenerationResult] = []
        progress = tqdm(total=len(requests), desc="Model Responding", disable=self.rank != 0)
        for (text, task, split, number), group in itertools.groupby(requests, _asked):
            same = [request.args for request in group]
            doc = self._doc(task, split, number)
            answers = [target if isinstance(target, str) else target(doc) for _, target, *_ in same]
            try:
                found = likelihoods(
                    self.bot, question(same[0][2](doc), text), [answer.strip() for answer in answers]
                )
            except UserError as error:
                raise _named(error, task, number) from error
            results += [GenerationResult(text=(one.loss, one.greedy)) for one in found]
            progress.update(len(found))
        return results

    def generate_until_multi_round(self, requests: list[Instance]) -> NoReturn:
        """Only without ``--force_simple``."""
        raise NotImplementedError("tasks of several rounds run without --force_simple only")


def _asked(request: Instance) -> tuple[Any, ...]:
    if len(request.args) != 6:
        raise NotImplementedError("the metric acc_mutual_info asks for answers to nothing; leave it out")
    text, _, _, number, task, split = request.args
    return text, task, split, number


def _messages(to_messages: Callable[..., Any], doc: Any) -> list[Message]:
    """The first (or only) round.

    Tasks without messages of their own would have them made of media by lmms-eval, which takes waveforms for
    videos and refuses decoders; here they are made from the same media and text directly.
    """
    task = getattr(to_messages, "__self__", None)
    config = getattr(task, "config", None)
    if task is not None and config is not None and config.doc_to_messages is None and config.doc_to_visual:
        return question(task.doc_to_visual(doc), task.doc_to_text(doc))
    return messages_of(to_messages(doc))


def _result(request: Instance, answer: Any, until: Any) -> GenerationResult:
    if isinstance(answer, UserError):
        raise _named(answer, request.task_name, request.doc_id) from answer
    if isinstance(answer, Exception):
        raise answer
    return GenerationResult(
        text=cut(answer.text, until),
        token_counts=TokenCounts(input_tokens=answer.prompt_tokens, output_tokens=answer.new_tokens),
    )


def _named(error: UserError, task: Any, number: Any) -> UserError:
    return UserError(f"task {task}, document {number}: {error}")
