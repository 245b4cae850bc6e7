"""The engine's process: ``python -m imagebind_llm.serving.vllm.process FD``.

It runs in vLLM's environment and must import nothing that is not there. One thread reads frames; the main
thread adds and aborts requests between two steps of vLLM's engine, and sends one frame of events a step.

Frames to it: ``{"op": "start", "arguments", "settings"}``, ``{"op": "add", "id", "ids", "carried",
"sampling"}`` with the deltas as data, ``{"op": "abort", "id"}``, ``{"op": "state"}``, ``{"op": "close"}``.
From it: ``{"op": "ready", "context"}``, ``{"op": "events", "events", "running"}``, ``{"op": "state", …}``,
``{"op": "failed", "error"}``.
When the server's side of the socket ends, so does this process.
"""

import os
import queue
import socket
import sys
import threading
import traceback
from typing import Any, NoReturn

from imagebind_llm.serving.vllm import plugin
from imagebind_llm.serving.vllm.admission import Admission
from imagebind_llm.serving.vllm.carried import NAME, Carried, RefusedError
from imagebind_llm.serving.vllm.wire import Frame, receive

EXTENSION = "imagebind_llm.serving.vllm.worker.ConditionWorker"


class Runner:
    """vLLM's engine and the requests that it answers.

    Args:
        connection: to the server.
        arguments: of ``EngineArgs``.
        settings: of the injection (see :func:`imagebind_llm.serving.vllm.hooks.attach`), with ``injected``,
            ``width`` and ``places`` for the table of deltas.
    """

    def __init__(
        self, connection: socket.socket, arguments: dict[str, Any], settings: dict[str, Any]
    ) -> None:
        plugin.register()
        from vllm import EngineArgs
        from vllm.v1.engine.llm_engine import LLMEngine

        self._connection = connection
        self.engine = LLMEngine.from_engine_args(
            EngineArgs(
                **_defaults(arguments),
                skip_tokenizer_init=True,
                worker_extension_cls=EXTENSION,
                enable_prefix_caching=True,
                additional_config={NAME: settings},
            )
        )
        if not all(self.engine.collective_rpc("has_conditions")):
            raise RuntimeError("the plugin of this package is not loaded in vLLM's workers")
        self._admission: Admission[Frame] = Admission(int(settings["places"]))

    @property
    def context(self) -> int:
        """Most tokens of a prompt with its answer."""
        return int(self.engine.model_config.max_model_len)

    def run(self, inbox: "queue.Queue[Frame | None]") -> None:
        """Serve until the other side closes."""
        while True:
            idle = not self.engine.has_unfinished_requests()
            while idle or not inbox.empty():
                frame = inbox.get()
                if frame is None or frame.header["op"] == "close":
                    return
                self._handle(frame)
                idle = False
            if self.engine.has_unfinished_requests():
                self._step()

    def _handle(self, frame: Frame) -> None:
        if frame.header["op"] == "state":
            self._send({"op": "state", **self._state()})
            return
        number = int(frame.header["id"])
        if frame.header["op"] == "abort":
            if not self._admission.drop(number):
                self.engine.abort_request([str(number)])
            self._release(number)
            return
        try:
            carried = Carried.unpack(
                {**frame.header["carried"], "deltas": frame.data}, len(frame.header["ids"])
            )
            for admitted in self._admission.offer(number, carried.keys, frame):
                self._add(admitted)
        except RefusedError as error:
            self._refuse(number, error)

    def _add(self, frame: Frame) -> None:
        from vllm.inputs.engine import tokens_input

        number = int(frame.header["id"])
        carried = {**frame.header["carried"], "deltas": frame.data}
        try:
            self.engine.add_request(
                str(number),
                tokens_input(frame.header["ids"], cache_salt=carried["salt"]),
                _sampling(frame.header["sampling"], carried),
            )
        except Exception as error:  # what vLLM thinks of a request concerns that request only
            self._release(number)
            self._refuse(number, error)

    def _release(self, number: int) -> None:
        for admitted in self._admission.release(number):
            self._add(admitted)

    def _refuse(self, number: int, error: Exception) -> None:
        self._send({"op": "events", "events": [[number, None, None, None, [], str(error)]], **self._load()})

    def _step(self) -> None:
        events: list[list[Any]] = []
        ended: list[int] = []
        for output in self.engine.step():
            number = int(output.request_id)
            (part,) = output.outputs
            events += events_of(number, part)
            if output.finished:
                ended.append(number)
        for number in ended:
            self._release(number)
        if events:
            self._send({"op": "events", "events": events, **self._load()})

    @property
    def _scheduler(self) -> Any:
        return self.engine.engine_core.engine_core.scheduler

    def _load(self) -> dict[str, int]:
        running, _ = self._scheduler.get_request_counts()
        return {"running": running}

    def _state(self) -> dict[str, Any]:
        running, waiting = self._scheduler.get_request_counts()
        return {
            "running": running,
            "waiting": waiting + self._admission.waiting,
            "conditions": self._admission.in_use,
            "kv_usage": self._scheduler.kv_cache_manager.usage,
        }

    def _send(self, header: dict[str, Any]) -> None:
        self._connection.sendall(Frame(header).encode())


def events_of(number: int, part: Any) -> list[list[Any]]:
    """The new tokens of vLLM's ``CompletionOutput`` as ``[id, token, reason, logprob, top, error]``."""
    ids = list(part.token_ids)
    reason = part.finish_reason
    found: list[list[Any]] = []
    for place, token in enumerate(ids):
        told = part.logprobs[place] if part.logprobs else {}
        top = sorted((one.rank, other, one.logprob) for other, one in told.items() if one.rank is not None)
        logprob = told[token].logprob if token in told else None
        found.append([number, int(token), None, logprob, [[o, p] for _, o, p in top], None])
    if reason in ("stop", "length") and found:
        found[-1][2] = reason
    elif reason is not None and reason != "abort":
        found.append([number, None, None, None, [], f"vLLM ended the request ({reason})"])
    return found


def _sampling(given: dict[str, Any], carried: dict[str, Any]) -> Any:
    from vllm import SamplingParams
    from vllm.sampling_params import RequestOutputKind

    return SamplingParams(
        **given,
        ignore_eos=True,
        detokenize=False,
        output_kind=RequestOutputKind.DELTA,
        extra_args={NAME: carried},
    )


def _defaults(arguments: dict[str, Any]) -> dict[str, Any]:
    from vllm.platforms import current_platform

    found = dict(arguments)
    if current_platform.is_cpu():
        if not found.get("kv_cache_memory_bytes"):
            found["kv_cache_memory_bytes"] = 2**30
        found.setdefault("enforce_eager", True)
    return found


def serve(connection: socket.socket) -> int:
    """Serve one server; returns the exit status."""
    first = receive(connection)
    if first is None or first.header.get("op") != "start":
        return 2
    inbox: queue.Queue[Frame | None] = queue.Queue()
    ready = threading.Event()
    threading.Thread(target=_read, args=(connection, inbox, ready), daemon=True, name="frames").start()
    try:
        runner = Runner(connection, first.header["arguments"], first.header["settings"])
    except Exception as error:
        connection.sendall(Frame({"op": "failed", "error": f"{type(error).__name__}: {error}"}).encode())
        raise
    ready.set()
    connection.sendall(Frame({"op": "ready", "context": runner.context}).encode())
    try:
        runner.run(inbox)
    finally:
        runner.engine.engine_core.shutdown()
    return 0


def _read(connection: socket.socket, inbox: "queue.Queue[Frame | None]", ready: threading.Event) -> None:
    """Put frames into the inbox, and None at the end. A model that is being loaded then is for nobody."""
    try:
        while (frame := receive(connection)) is not None:
            inbox.put(frame)
    finally:
        if not ready.is_set():
            os._exit(1)
        inbox.put(None)


def main(arguments: list[str]) -> NoReturn:
    """Run with the number of an inherited socket, and end with all threads that libraries left behind."""
    connection = socket.socket(fileno=int(arguments[0]))
    connection.set_inheritable(False)
    status = 1
    try:
        status = serve(connection)
    except Exception:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


if __name__ == "__main__":
    main(sys.argv[1:])
