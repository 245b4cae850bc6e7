"""What a server is started with."""

from dataclasses import dataclass

MEBIBYTE = 1 << 20


@dataclass(frozen=True)
class ServeSettings:
    """Limits of a server. The defaults suit one machine.

    Attributes:
        model_name: what ``/v1/models`` calls the model. Requests may name it or ``default``.
        max_rows: answers that are written at once.
        max_queue: requests that may wait besides; more get 429.
        timeout: seconds from a request's arrival to its last token.
        max_body: bytes of a JSON body. Media in it are base64, which takes a third more than they do.
        max_tokens: entries of key-value memory for all running answers.
        max_choices: most answers to one request (``n``).
        max_inputs: most inputs of one request for embeddings or detection.
        generators: what makes pictures, sounds and shapes, as
            :class:`~imagebind_llm.skills.generation.opened.Generators` reads them; none: nano's own, if its
            weights are there.
        detector: what proposes boxes: ``nano``, a folder or a hub id.
    """

    model_name: str = "nano"
    max_rows: int = 32
    max_queue: int = 256
    timeout: float = 120.0
    max_body: int = 48 * MEBIBYTE
    max_tokens: int = 65_536
    max_choices: int = 16
    max_inputs: int = 256
    generators: tuple[str, ...] = ()
    detector: str = "nano"
