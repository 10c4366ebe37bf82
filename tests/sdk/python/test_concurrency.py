"""Five hundred callers at once: each gets its own answer, and luner leaks no descriptor."""

import asyncio
import os
from pathlib import Path

import openai
import pytest
from conftest import CALLER_KEY, CLIENT_TIMEOUT_S, LUNER_PID, LUNER_URL, MOCK_URL, eventually, user_message

CALLERS = 500
# Long enough for all of them to be in flight at once.
MODEL = "gpt-4o+latency=500"


async def plain(client, prompt):
    completion = await client.chat.completions.create(model=MODEL, messages=user_message(prompt))
    return completion.choices[0].message.content


async def streamed(client, prompt):
    stream = await client.chat.completions.create(model=MODEL, messages=user_message(prompt), stream=True)
    pieces = [choice.delta.content or "" async for chunk in stream for choice in chunk.choices]
    return "".join(pieces)


@pytest.mark.anyio
async def test_five_hundred_callers_get_their_own_answers_and_leak_no_descriptor(mock):
    before = open_descriptors()
    nonce = os.urandom(8).hex()
    prompts = [f"caller {number} of {nonce}" for number in range(CALLERS)]
    options = {"api_key": CALLER_KEY, "max_retries": 0, "timeout": CLIENT_TIMEOUT_S}
    # A client of this test's own, because the descriptors are counted after it has closed.
    async with openai.AsyncOpenAI(base_url=f"{LUNER_URL}/v1", **options) as client:
        calls = [(streamed if number % 2 else plain)(client, prompt) for number, prompt in enumerate(prompts)]
        answers = await asyncio.gather(*calls)
    wrong = [(p, a) for p, a in zip(prompts, answers, strict=True) if not a.endswith(f"You said: {p}")]
    assert wrong == []
    entries = mock.entries()
    assert len(entries) == CALLERS and all(entry["complete"] for entry in entries)
    eventually(lambda: open_descriptors() <= before, f"luner's descriptors are {before} again, not {open_descriptors()}")


def open_descriptors():
    """Number of luner's descriptors without idle connections to the provider, which luner keeps for the next call."""
    if LUNER_PID is None:
        return 0
    pooled = inodes_of_connections_to(int(MOCK_URL.rpartition(":")[2]))
    count = 0
    for descriptor in Path(f"/proc/{LUNER_PID}/fd").iterdir():
        try:
            target = os.readlink(descriptor)
        except FileNotFoundError:
            continue  # It was closed after it was listed.
        count += target.removeprefix("socket:[").removesuffix("]") not in pooled
    return count


def inodes_of_connections_to(port):
    """Inodes of sockets that are connected to `port` of this machine and open on both sides."""
    established, inodes = "01", set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        for line in Path(table).read_text().splitlines()[1:]:
            _, _local, remote, state, *_, inode = line.split()[:10]
            if state == established and int(remote.rpartition(":")[2], 16) == port:
                inodes.add(inode)
    return inodes
