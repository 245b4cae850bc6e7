"""Models and requests for the vLLM backend, and a thread with an event loop to run it in."""

import asyncio
import threading

import torch
from transformers import LlamaConfig, LlamaForCausalLM
from transformers.generation import GenerationConfig

from imagebind_llm.inference.engine import TokenRequest
from imagebind_llm.inference.sampler import Sampling
from imagebind_llm.model.adaptation import add_biases, add_lora, tune_norms
from imagebind_llm.model.configuration import ImageBindLLMConfig
from imagebind_llm.model.modeling import ImageBindLLMForConditionalGeneration

VOCABULARY = 300
EMBEDDING = 28


def grouped_llama(style="residual", tuned=False, seed=5, **injection):
    """A random Llama with grouped queries, heads of 32 as vLLM's CPU kernels want them, and open gates.

    With ``tuned``: low-rank updates on all maps, biases where finetuning adds them, changed norms.
    """
    torch.manual_seed(seed)
    base = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=VOCABULARY,
            hidden_size=64,
            intermediate_size=96,
            num_hidden_layers=3,
            num_attention_heads=4,
            num_key_value_heads=2,
            head_dim=32,
            max_position_embeddings=256,
            initializer_range=0.2,  # far from uniform, so that greedy choices have a margin
            tie_word_embeddings=False,
        )
    ).eval()
    config = ImageBindLLMConfig(
        text_config=base.config, embedding_dim=EMBEDDING, injection={"style": style, **injection}
    )
    model = ImageBindLLMForConditionalGeneration(config, language_model=base)
    model.generation_config = GenerationConfig(max_new_tokens=24)
    if tuned:
        add_lora(model, rank=4)
        add_biases(model)
        tune_norms(model)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "gate" in name:
                parameter.copy_(torch.randn(parameter.shape, generator=generator) * 2)
            elif "lora" in name or name.endswith("bias"):
                parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.1)
            elif tuned and "norm" in name and "language_model" in name:
                parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.1)
    return model.eval()


def vector(generator, dimension):
    return torch.nn.functional.normalize(torch.randn(1, dimension, generator=generator), dim=-1)


def mixed_requests(model, seed=0):
    """28 greedy requests: short and long, without, with one and with two conditions, same text and other
    media, same media and other text."""
    generator = torch.Generator().manual_seed(seed)
    vocabulary, dimension = model.config.text_config.vocab_size, model.config.embedding_dim

    def prompt(length):
        return torch.randint(3, vocabulary, (length,), generator=generator).tolist()

    def sampling(new):
        return Sampling(max_new_tokens=new)

    found = []
    for place in range(5):  # words only
        found.append(TokenRequest(prompt(3 + 9 * place), sampling=sampling(8 + 2 * place)))
    for place in range(5):  # one condition, which the first tokens do not see
        ids = prompt(4 + 7 * place)
        found.append(
            TokenRequest(ids, [-1, -1] + [0] * (len(ids) - 2), vector(generator, dimension), sampling(12))
        )
    shared, media = prompt(70), vector(generator, dimension)
    for place in range(6):  # the same text, longer than a block of the prefix cache, about other media
        condition = None if place == 5 else vector(generator, dimension)
        seen = None if condition is None else [0] * len(shared)
        found.append(TokenRequest(shared, seen, condition, sampling(12)))
    for place in range(3):  # the same medium, other questions after the same beginning
        ids = shared[:64] + prompt(3 + place)
        found.append(TokenRequest(ids, [0] * len(ids), media, sampling(10)))
    for place in range(4):  # a dialog about two media, and one whose last turn sees none
        ids = prompt(40 + 11 * place)
        both = torch.cat((vector(generator, dimension), vector(generator, dimension)))
        seen = [-1] * 3 + [0] * 17 + [1] * (len(ids) - 20)
        if place == 3:
            seen[30:] = [-1] * (len(ids) - 30)
        found.append(TokenRequest(ids, seen, both, sampling(12)))
    for place in range(5):  # read in chunks
        ids = prompt(130 + 20 * place)
        seen = [-1] * 5 + [0] * 90 + [1] * (len(ids) - 95)
        both = torch.cat((vector(generator, dimension), vector(generator, dimension)))
        found.append(TokenRequest(ids, seen, both, sampling(16)))
    return found


class LoopThread:
    """An event loop in a thread; ``run`` waits for a coroutine there."""

    def __init__(self):
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self._thread.start()

    def run(self, coroutine, timeout=240):
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(timeout)

    def stop(self):
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(10)


async def events_of(backend, request):
    return [event async for event in backend.stream(request)]


async def all_events(backend, requests):
    return await asyncio.gather(*(events_of(backend, request) for request in requests))
