"""The origin of docs/clients.md: HTTPS with a CA of its own, on which it is the registry, the repository or the plain site that
each client asks for, and a gRPC service. It answers nobody who comes without the credential that the proxy adds. `ready` on
standard output says that both ports are open; the CA is /tmp/site/ca.pem."""
import base64
import hashlib
import http.server
import io
import json
import os
import ssl
import subprocess
import sys
import tarfile
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc

NAME = sys.argv[1]
CREDENTIAL = "Bearer " + os.environ["ORIGIN_CREDENTIAL"]
HTTPS, GRPC = 8443, 8444
SITE = Path("/tmp/site")
ORIGIN = f"https://{NAME}:{HTTPS}"


def run(*command, **options):
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, **options)


def write(path, content):
    file = SITE / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    return file


def packed(files, mode="w:gz"):
    """A tar archive of names and texts, as bytes."""
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode=mode) as archive:
        for name, text in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(text)
            archive.addfile(entry, io.BytesIO(text.encode()))
    return target.getvalue()


def zipped(files):
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return target.getvalue()


def identity():
    """A CA, and a certificate of this origin that it signed."""
    SITE.mkdir()
    names = write("names", f"subjectAltName=DNS:{NAME}\nbasicConstraints=CA:FALSE\nkeyUsage=digitalSignature\n")
    new_key = ["openssl", "req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    run(*new_key, "-x509", "-days", "1", "-subj", "/CN=clients test CA", "-keyout", SITE / "ca.key", "-out", SITE / "ca.pem")
    run(*new_key, "-subj", f"/CN={NAME}", "-keyout", SITE / "key.pem", "-out", SITE / "request.pem")
    run("openssl", "x509", "-req", "-in", SITE / "request.pem", "-CA", SITE / "ca.pem", "-CAkey", SITE / "ca.key",
        "-CAcreateserial", "-days", "1", "-extfile", names, "-out", SITE / "cert.pem")


def git():
    """A repository as plain files, which git's oldest way of fetching reads."""
    work, bare = SITE / "work", SITE / "git/demo.git"
    write("work/README", "hello\n")
    settings = {"GIT_AUTHOR_NAME": "A", "GIT_AUTHOR_EMAIL": "a@example.com", "GIT_COMMITTER_NAME": "A",
                "GIT_COMMITTER_EMAIL": "a@example.com", **os.environ}
    for command in (["init", "-q", "-b", "main"], ["add", "."], ["commit", "-q", "-m", "Say hello"]):
        run("git", "-C", work, *command, env=settings)
    run("git", "clone", "-q", "--bare", work, bare)
    run("git", "-C", bare, "update-server-info")


def apt():
    write("deb/DEBIAN/control", "Package: demo\nVersion: 1.0\nArchitecture: all\nMaintainer: A <a@example.com>\nDescription: demo\n")
    (SITE / "apt").mkdir()
    run("dpkg-deb", "--root-owner-group", "--build", SITE / "deb", SITE / "apt/demo.deb")
    package = (SITE / "apt/demo.deb").read_bytes()
    index = f"Filename: ./demo.deb\nSize: {len(package)}\nSHA256: {hashlib.sha256(package).hexdigest()}\n"
    write("apt/Packages", (SITE / "deb/DEBIAN/control").read_text() + index)


def pypi():
    wheel = "demo-1.0-py3-none-any.whl"
    files = {
        "demo.py": "WORD = 'installed'\n",
        "demo-1.0.dist-info/METADATA": "Metadata-Version: 2.1\nName: demo\nVersion: 1.0\n",
        "demo-1.0.dist-info/WHEEL": "Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    sums = {name: base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
            for name, text in files.items()}
    record = "".join(f"{name},sha256={sums[name]},{len(text)}\n" for name, text in files.items())
    write(f"files/{wheel}", zipped({**files, "demo-1.0.dist-info/RECORD": record + "demo-1.0.dist-info/RECORD,,\n"}))
    write("simple/demo/index.html", f'<a href="/files/{wheel}">{wheel}</a>')


def npm():
    package = packed({"package/package.json": '{"name":"demo","version":"1.0.0"}', "package/index.js": "module.exports = 1\n"})
    write("files/demo-1.0.0.tgz", package)
    integrity = "sha512-" + base64.b64encode(hashlib.sha512(package).digest()).decode()
    version = {"name": "demo", "version": "1.0.0", "dist": {"tarball": f"{ORIGIN}/files/demo-1.0.0.tgz", "integrity": integrity}}
    told = {"name": "demo", "dist-tags": {"latest": "1.0.0"}, "versions": {"1.0.0": version}}
    write("npm/demo", json.dumps(told))


def cargo():
    crate = packed({"demo-1.0.0/Cargo.toml": '[package]\nname = "demo"\nversion = "1.0.0"\nedition = "2021"\n',
                    "demo-1.0.0/src/lib.rs": "//! Nothing.\n"})
    write("cargo/dl/demo/1.0.0/download", crate)
    write("cargo/config.json", json.dumps({"dl": f"{ORIGIN}/cargo/dl"}))
    line = {"name": "demo", "vers": "1.0.0", "deps": [], "cksum": hashlib.sha256(crate).hexdigest(), "features": {}, "yanked": False}
    write("cargo/de/mo/demo", json.dumps(line) + "\n")


def go():
    module = "module example.com/demo\n\ngo 1.19\n"
    write("go/example.com/demo/@v/v1.0.0.info", json.dumps({"Version": "v1.0.0", "Time": "2026-01-01T00:00:00Z"}))
    write("go/example.com/demo/@v/v1.0.0.mod", module)
    write("go/example.com/demo/@v/v1.0.0.zip", zipped({"example.com/demo@v1.0.0/go.mod": module,
                                                       "example.com/demo@v1.0.0/demo.go": "package demo\n"}))


def gem():
    write("gem/demo.rb", "")
    specification = "Gem::Specification.new { |s| s.name='demo'; s.version='1.0.0'; s.summary='demo'; s.authors=['A']; s.files=['demo.rb'] }"
    file = write("gem/demo.gemspec", specification)
    (SITE / "rubygems/gems").mkdir(parents=True)
    run("gem", "build", file.name, "--output", SITE / "rubygems/gems/demo-1.0.0.gem", cwd=SITE / "gem")
    run("gem", "generate_index", "--directory", SITE / "rubygems")


class Site(http.server.SimpleHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def __init__(self, *arguments):
        super().__init__(*arguments, directory=SITE)

    def do_GET(self):
        if self.headers.get_all("authorization") != [CREDENTIAL]:
            self.send_error(401, "without the credential")
        elif self.path == "/echo":
            answer = b"credential seen\n"
            self.send_response(200)
            self.send_header("content-type", "text/plain")
            self.send_header("content-length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)
        else:
            super().do_GET()


class Echo(grpc.GenericRpcHandler):
    def service(self, call):
        def say(request, context):
            if dict(context.invocation_metadata()).get("authorization") != CREDENTIAL:
                context.abort(grpc.StatusCode.UNAUTHENTICATED, "without the credential")
            return request + b": credential seen"

        return grpc.unary_unary_rpc_method_handler(say) if call.method == "/demo.Echo/Say" else None


def serve():
    rpc = grpc.server(ThreadPoolExecutor(2))
    rpc.add_generic_rpc_handlers((Echo(),))
    keys = [((SITE / "key.pem").read_bytes(), (SITE / "cert.pem").read_bytes())]
    rpc.add_secure_port(f"0.0.0.0:{GRPC}", grpc.ssl_server_credentials(keys))
    rpc.start()
    site = http.server.ThreadingHTTPServer(("0.0.0.0", HTTPS), Site)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(SITE / "cert.pem", SITE / "key.pem")
    site.socket = tls.wrap_socket(site.socket, server_side=True, do_handshake_on_connect=False)
    print("ready", flush=True)
    site.serve_forever()


for part in (identity, git, apt, pypi, npm, cargo, go, gem):
    part()
serve()
