"""Mock model, gateway and capture in one command: a chat, and the report that proves what it streamed."""
