"""A chat gateway over WebSocket: it takes a user's words, runs an agent turn and streams every step of it."""
