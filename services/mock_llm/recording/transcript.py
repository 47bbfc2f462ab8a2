"""An upstream's stream of Chat Completions, put back into blocks with the time of each piece."""

from dataclasses import dataclass, field
from typing import Any, final

import msgspec


@final
@dataclass(slots=True)
class _Block:
    kind: str
    pieces: list[str] = field(default_factory=list)
    name: str = ""


@final
class Transcript:
    """Fed with the bytes of a streamed or whole answer, it yields the outcome of a rule."""

    def __init__(self) -> None:
        self._buffer = b""
        self._blocks: list[_Block] = []
        self._calls: dict[int, _Block] = {}
        self._moments: list[float] = []
        self._finish: str | None = None
        self.broken = False

    def feed(self, data: bytes, moment: float) -> None:
        """Take bytes of an event stream that came so many seconds after the request."""
        *lines, self._buffer = (self._buffer + data).split(b"\n")
        for line in lines:
            text = line.strip()
            if text.startswith(b"data:") and (event := text[5:].strip()) != b"[DONE]":
                self._event(event, moment)

    def feed_whole(self, body: bytes, moment: float) -> None:
        """Take an answer that was not streamed."""
        found = self._decode(body)
        for choice in (found or {}).get("choices") or ():
            self._delta(choice.get("message") or {}, moment)
            self._finish = choice.get("finish_reason")
            break

    def outcome(self) -> dict[str, Any] | None:
        """The outcome as a scenario writes it, or None when nothing usable came."""
        if self.broken or not self._blocks:
            return None
        reply: list[dict[str, Any]] = []
        for block in self._blocks:
            if block.kind == "tool_call":
                reply.append({"tool_call": self._call(block)})
            else:
                reply.append({block.kind: block.pieces})
        found: dict[str, Any] = {"reply": reply, "timing": {"schedule": [round(each, 4) for each in self._moments]}}
        usual = "tool_calls" if self._calls else "stop"
        if self._finish in ("stop", "length", "tool_calls", "content_filter") and self._finish != usual:
            found["finish_reason"] = self._finish
        return found

    def _call(self, block: _Block) -> dict[str, Any]:
        call: dict[str, Any] = {"name": block.name, "arguments": "".join(block.pieces)}
        lengths = [len(piece) for piece in block.pieces[:-1]]
        # An empty split would fall back to the default pieces; one length of everything keeps them in one.
        call["split"] = lengths or [max(len(call["arguments"]), 1)]
        return call

    def _event(self, event: bytes, moment: float) -> None:
        found = self._decode(event)
        if found is None or "error" in found:
            self.broken = True
            return
        for choice in found.get("choices") or ():
            if choice.get("index", 0) == 0:
                self._delta(choice.get("delta") or {}, moment)
                self._finish = choice.get("finish_reason") or self._finish

    def _delta(self, delta: dict[str, Any], moment: float) -> None:
        for field_name, kind in (("reasoning_content", "reasoning"), ("reasoning", "reasoning"), ("content", "text")):
            text = delta.get(field_name)
            if isinstance(text, str) and text:
                self._piece(kind, text, moment)
        for position, call in enumerate(delta.get("tool_calls") or ()):
            self._tool(call, position, moment)

    def _tool(self, call: dict[str, Any], position: int, moment: float) -> None:
        function = call.get("function") or {}
        index = call.get("index", position)
        block = self._calls.get(index)
        if block is None:
            block = self._calls[index] = _Block("tool_call", name=str(function.get("name") or "unnamed"))
            self._blocks.append(block)
            self._moments.append(moment)
        if function.get("arguments"):
            block.pieces.append(str(function["arguments"]))
            self._moments.append(moment)

    def _piece(self, kind: str, text: str, moment: float) -> None:
        if not self._blocks or self._blocks[-1].kind != kind:
            self._blocks.append(_Block(kind))
        self._blocks[-1].pieces.append(text)
        self._moments.append(moment)

    def _decode(self, data: bytes) -> dict[str, Any] | None:
        try:
            found = msgspec.json.decode(data)
        except (msgspec.DecodeError, UnicodeError):
            self.broken = True
            return None
        if not isinstance(found, dict):
            self.broken = True
            return None
        return found
