"""Writes a wheel `demo-1.0` and an npm package `demo-1.0.0` into the folder it is given."""
import base64
import hashlib
import io
import sys
import tarfile
import zipfile
from pathlib import Path

folder = Path(sys.argv[1])

METADATA = "Metadata-Version: 2.1\nName: demo\nVersion: 1.0\n"
WHEEL = "Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
files = {"demo.py": "WORD = 'installed'\n", "demo-1.0.dist-info/METADATA": METADATA, "demo-1.0.dist-info/WHEEL": WHEEL}
with zipfile.ZipFile(folder / "demo-1.0-py3-none-any.whl", "w") as wheel:
    record = ""
    for name, text in files.items():
        wheel.writestr(name, text)
        digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
        record += f"{name},sha256={digest},{len(text)}\n"
    wheel.writestr("demo-1.0.dist-info/RECORD", record + "demo-1.0.dist-info/RECORD,,\n")

with tarfile.open(folder / "demo-1.0.0.tgz", "w:gz") as package:
    for name, text in {"package.json": '{"name":"demo","version":"1.0.0"}', "index.js": "module.exports = 'installed'\n"}.items():
        entry = tarfile.TarInfo("package/" + name)
        entry.size = len(text)
        package.addfile(entry, io.BytesIO(text.encode()))
