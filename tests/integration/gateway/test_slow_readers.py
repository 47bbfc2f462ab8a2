"""Clients that read slowly or not at all: bounded memory, merged text, and an end that says where to go on."""

from pathlib import Path

import pytest

from gateway.testing import make_settings, running_gateway
from gateway.testing.client import ChatClient
from mock_llm.testing import running_mock_llm

pytestmark = pytest.mark.anyio

PIECE = "x" * 2000
FLOOD = f"""
name: flood
rules:
  - name: flood
    match: {{user: "flood"}}
    reply: [{{text: [{", ".join(f'"{PIECE}{number}"' for number in range(400))}]}}]
  - name: short
    match: {{}}
    reply: [{{text: ["short"]}}]
"""


async def test_a_client_that_never_reads_is_evicted_with_its_position(tmp_path: Path) -> None:
    async with running_mock_llm(FLOOD) as llm:
        settings = make_settings(
            tmp_path, llm.openai_url, outbound_bytes=65536, coalesce_bytes=16384, max_answer_bytes=1 << 24
        )
        async with (
            running_gateway(settings) as gateway,
            ChatClient.connect(gateway.ws_url, headers=gateway.headers("slow")) as slow,
            ChatClient.connect(gateway.ws_url, headers=gateway.headers("slow")) as watcher,
        ):
            await slow.receive()
            welcome = await watcher.receive()
            for number in range(12):
                await slow.send({"type": "user_message", "content": "flood", "thread_id": f"t{number}"})
            # The flood is over when the last thread's answer is in the log.
            events = await watcher.chat("short", thread_id="t11", priority="low")
            assert events[-1]["epoch"] == welcome["epoch"]
            ended = await slow.wait_closed()
    assert ended.code == 4508
    assert "resume seq=" in ended.reason


async def test_another_user_is_served_while_one_does_not_read(tmp_path: Path) -> None:
    async with running_mock_llm(FLOOD) as llm:
        settings = make_settings(tmp_path, llm.openai_url, outbound_bytes=65536, max_answer_bytes=1 << 24)
        async with (
            running_gateway(settings) as gateway,
            ChatClient.connect(gateway.ws_url, headers=gateway.headers("slow")) as slow,
            ChatClient.connect(gateway.ws_url, headers=gateway.headers("quick")) as quick,
        ):
            await slow.receive()
            await quick.receive()
            for number in range(4):
                await slow.send({"type": "user_message", "content": "flood", "thread_id": f"t{number}"})
            events = await quick.chat("hello")
    assert events[-1]["type"] == "agent_completed"
