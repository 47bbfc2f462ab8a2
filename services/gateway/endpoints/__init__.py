"""What can be reached over HTTP and WebSocket."""
