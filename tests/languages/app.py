"""A policy that tries to see the machine it runs on, and says what it saw.

Which attempt it makes stands in the statement: `SELECT 'read'`. Modules are
imported here, when it is built: where it runs there are no files to import.
"""

import encodings.idna
import os
import socket
import sys
import time

from wit_world.exports import Policy as Exports
from wit_world.imports import values, verdict
from wit_world.imports.types import Decision


def environment():
    return dict(os.environ)


def arguments():
    return sys.argv


def read():
    with open("/etc/hostname") as file:
        return file.read()


def write():
    with open("/tmp/portcullis-was-here", "w") as file:
        return file.write("here")


def folder():
    return os.listdir("/")


def connect():
    return socket.socket().connect(("127.0.0.1", 22))


def resolve():
    return socket.getaddrinfo("localhost", 80)


def clock():
    return [time.time(), time.time_ns(), time.monotonic()]


def random():
    return os.urandom(8) == os.urandom(8)


def process():
    return os.system("true")


def flood():
    for _ in range(2000):
        print("portcullis-flood " * 50)
    return "flooded"


def loop():
    while True:
        pass


def bomb():
    hoard = []
    while True:
        hoard.append(bytearray(1 << 20))


def deep():
    return deep()


def leave():
    sys.exit(3)


def abort():
    os._exit(3)


ATTEMPTS = {
    attempt.__name__: attempt
    for attempt in [
        environment, arguments, read, write, folder, connect, resolve, clock,
        random, process, flood, loop, bomb, deep, leave, abort,
    ]
}


class Policy(Exports):
    def configure(self, settings: str) -> None:
        pass

    def judge(self, kind: int, effects: int, traits: int) -> Decision:
        attempt = ATTEMPTS.get(values.literal(0)) if values.literals() else None
        if attempt is None:
            return Decision.PASS
        try:
            saw = f"saw {attempt()!r}"
        except Exception as error:
            saw = f"was told {type(error).__name__}"
        verdict.reason("saw", saw, "")
        return Decision.REFUSE
