"""A site of a test's own, beside the one that all tests share: for settings that the others must not see."""

import contextlib
import os
import random
import socket
import subprocess
import time

from mesh import Site


def free_port():
    """A first port whose neighbours are free too: ten for each of three nodes."""
    for _ in range(200):
        first, held = random.randrange(20000, 30000, 40), []
        try:
            for port in range(first, first + 30):
                held.append(socket.socket())
                held[-1].bind(("127.0.0.1", port))
            return first
        except OSError:
            continue
        finally:
            for one in held:
                one.close()
    raise AssertionError("no thirty free ports in a row")


@contextlib.contextmanager
def running(binary, folder, *arguments, settings=()):
    """`spine demo` in `folder`, which must not be there yet, with these arguments and (key, value) pairs."""
    command = [binary, "demo", "--dir", folder, "--port", str(free_port()), *arguments]
    for key, value in settings:
        command += ["--set", f"{key}={value}"]
    with open(f"{folder}.log", "wb") as log:
        demo = subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 60
        while not os.path.exists(os.path.join(folder, "demo.json")):
            assert demo.poll() is None and time.monotonic() < deadline, open(f"{folder}.log", encoding="utf-8").read()
            time.sleep(0.05)
        own = Site(folder, binary)
        own.wait_ready()
        yield own
    finally:
        demo.terminate()
        demo.wait(60)
