"""How likely a model finds given answers, for tasks that compare them instead of asking."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from imagebind_llm.model.dialog import build_dialog
from imagebind_llm.model.messages import Message

if TYPE_CHECKING:
    from imagebind_llm.inference.assistant import Assistant


class Likelihood(NamedTuple):
    """Attributes:
    loss: mean negative log-likelihood of the answer's tokens, its end token included, in nats.
    greedy: whether the model, asked for its likeliest tokens, would give just this answer.
    """

    loss: float
    greedy: bool


def likelihoods(bot: "Assistant", messages: Sequence[Message], answers: Sequence[str]) -> list[Likelihood]:
    """What the model makes of each of ``answers`` to one dialog.

    The answer stands where the model's own would, as in training, so it has neither a space before it nor an
    end mark after it.

    Args:
        bot: the model; as in asking, media of some modalities are moved towards its cache.
        messages: a dialog that waits for the assistant's turn.
        answers: whole answers.

    Raises:
        UserError: the dialog is malformed or, with an answer, longer than the model's context, or a medium
            cannot be read.
    """
    import torch

    from imagebind_llm.inference.perception import raised

    pipeline = bot.pipeline
    prepared = pipeline.prepare({"messages": messages})
    rows = raised(pipeline.perception.finish_conditions([prepared.conditions])[0]).rows
    found = []
    for answer in answers:
        dialog = build_dialog(
            [*messages, {"role": "assistant", "content": answer}],
            bot.processor.tokenizer,
            most_tokens=bot.context_length,
        )
        ids = torch.tensor([dialog.input_ids], device=bot.device)
        own = torch.tensor(dialog.labels_mask, device=bot.device)
        own[: len(prepared.dialog)] = False  # answers of earlier turns
        with torch.inference_mode():
            logits = bot.model(
                input_ids=ids,
                condition_ids=torch.tensor([dialog.condition_ids], device=bot.device),
                conditions=None if rows is None else rows.to(bot.device),
            ).logits[0, :-1][own[1:]]
        wanted = ids[0, 1:][own[1:]]
        loss = torch.nn.functional.cross_entropy(logits.float(), wanted)
        found.append(Likelihood(float(loss), bool((logits.argmax(-1) == wanted).all())))
    return found
