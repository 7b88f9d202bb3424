"""Opens TLS through a proxy with the strictest checks that Python knows, and prints the name it verified."""
import socket
import ssl
import sys

proxy_port, authority, trust = int(sys.argv[1]), sys.argv[2], sys.argv[3]
context = ssl.create_default_context(cafile=trust)
context.verify_flags |= ssl.VERIFY_X509_STRICT
connection = socket.create_connection(("127.0.0.1", proxy_port), timeout=20)
connection.sendall(f"CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n\r\n".encode())
head = b""
while b"\r\n\r\n" not in head:
    head += connection.recv(1)
assert b" 200 " in head, head
host = authority.rsplit(":", 1)[0].strip("[]")
with context.wrap_socket(connection, server_hostname=host) as tls:
    print(tls.getpeercert()["subjectAltName"][0][1])
    for certificate in tls.get_unverified_chain() if hasattr(tls, "get_unverified_chain") else []:
        print(certificate)
