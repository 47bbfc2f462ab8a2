"""From the log to the clients: connections, what they follow, and their bounded outboxes."""
