"""Channels: messages to everyone who has joined, within one tenant and by role."""
