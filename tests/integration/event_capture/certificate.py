"""A certificate for localhost and 127.0.0.1, signed by itself and known to nobody, for tests of TLS."""

import ssl
from pathlib import Path

PEM = """\
-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgpbt7K2YnJARIRmId
AnFcjNnITnee9z31K8cqm7JrJBahRANCAAQ6Z8nO5qCQqZ6NRvXN2xsx4ZbEdwgk
ZQJTZn2N83Z7VIZSoCLX8W1YbAWPSpIYgtV5vSaen+komttpQlOdKJGG
-----END PRIVATE KEY-----
-----BEGIN CERTIFICATE-----
MIIBmzCCAUGgAwIBAgIUM30xBlWP4bPhBJAtcBJSi+Ja9JIwCgYIKoZIzj0EAwIw
FDESMBAGA1UEAwwJbG9jYWxob3N0MCAXDTI2MTEyMDIzMzgwOVoYDzIxMjYxMDI3
MjMzODA5WjAUMRIwEAYDVQQDDAlsb2NhbGhvc3QwWTATBgcqhkjOPQIBBggqhkjO
PQMBBwNCAAQ6Z8nO5qCQqZ6NRvXN2xsx4ZbEdwgkZQJTZn2N83Z7VIZSoCLX8W1Y
bAWPSpIYgtV5vSaen+komttpQlOdKJGGo28wbTAdBgNVHQ4EFgQUV3pLwiz2eg8p
UghWWKzzKJxmnv8wHwYDVR0jBBgwFoAUV3pLwiz2eg8pUghWWKzzKJxmnv8wDwYD
VR0TAQH/BAUwAwEB/zAaBgNVHREEEzARgglsb2NhbGhvc3SHBH8AAAEwCgYIKoZI
zj0EAwIDSAAwRQIgMwezH8BXbEXGreMlCEV2HrF2tjbDMQlFBPmKYg1xHgICIQD4
W3wyeqZyhd1bjFEJeAEa3xGf2IrUGKDXav0LeA0m3Q==
-----END CERTIFICATE-----
"""


def server_context(folder: Path) -> ssl.SSLContext:
    """TLS settings of a server with the certificate."""
    path = folder / "localhost.pem"
    path.write_text(PEM)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path)
    return context


def client_context() -> ssl.SSLContext:
    """TLS settings of a client that trusts the certificate."""
    return ssl.create_default_context(cadata=PEM[PEM.index("-----BEGIN CERTIFICATE") :])
