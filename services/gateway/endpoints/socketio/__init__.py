"""Socket.IO v5 over Engine.IO v4, on the gateway's own connections: https://socket.io/docs/v4/engine-io-protocol/."""
