"""From a user's message to the end of its turn."""
