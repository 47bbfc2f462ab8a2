"""HTTP/1.1 of the service's own: a sans-IO core, and drivers that can do to a socket what a fault asks for."""
