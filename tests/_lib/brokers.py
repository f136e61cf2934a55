"""Brokers of one test: a real Mosquitto with the settings given, and certificates made on the spot."""

import getpass
import shutil
import socket
import subprocess
import time
from contextlib import contextmanager

from needs import need

SEARCH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def wait_for(condition, what, seconds=20):
    """Return when the condition holds; fail after a generous while."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        time.sleep(0.02)


@contextmanager
def mosquitto(folder, settings):
    """A Mosquitto on a free port of 127.0.0.1; gives the port. Its log is `folder/broker.log`."""
    program = shutil.which("mosquitto", path=SEARCH)
    need(program, "mosquitto is not installed (apt-get install mosquitto)")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    configuration = folder / "broker.conf"
    configuration.write_text(f"user {getpass.getuser()}\nlistener {port} 127.0.0.1\n{settings}\n")
    with (folder / "broker.log").open("wb") as log:
        child = subprocess.Popen([program, "-c", str(configuration)], stdout=log, stderr=log)
    try:
        wait_for(lambda: child.poll() is not None or _listens(port), "Mosquitto")
        assert child.poll() is None, (folder / "broker.log").read_text()
        yield port
    finally:
        child.terminate()
        child.wait(10)


def _listens(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


class Authority:
    """A certificate authority in a folder, and what it signs."""

    def __init__(self, folder, name):
        need(shutil.which("openssl"), "openssl is not installed (apt-get install openssl)")
        self.folder, self.name = folder, name
        self.certificate = folder / f"{name}.crt"
        self._openssl(
            "req", "-x509", *self._new_key(name), "-subj", f"/CN={name}", "-days", "30", "-out", f"{name}.crt"
        )

    def sign(self, name, *, subject="device", host="localhost", days="30"):
        """Paths of a certificate and its key; negative `days`: it ended so long ago."""
        self._openssl("req", *self._new_key(name), "-subj", f"/CN={subject}", "-out", f"{name}.csr")
        (self.folder / f"{name}.ext").write_text(f"subjectAltName=DNS:{host}\n")
        self._openssl(
            "x509", "-req", "-in", f"{name}.csr", "-CA", f"{self.name}.crt", "-CAkey", f"{self.name}.key",
            "-CAcreateserial", "-days", days, "-extfile", f"{name}.ext", "-out", f"{name}.crt",
        )  # fmt: skip
        return self.folder / f"{name}.crt", self.folder / f"{name}.key"

    def _new_key(self, name):
        return ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", f"{name}.key"]

    def _openssl(self, *arguments):
        done = subprocess.run(["openssl", *arguments], cwd=self.folder, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
