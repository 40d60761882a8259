#!/usr/bin/env python3
"""The paths between clients and brokers, for scripts/chaos.sh: TCP proxies that cut, delay or swallow what passes.

    paths.py STATE NAME=LISTEN:TARGET...

Each path listens on 127.0.0.1:LISTEN and leads to 127.0.0.1:TARGET. The broker must advertise LISTEN, or clients go round
the proxy. STATE is a file that is read ten times a second; each of its lines says what holds for the paths whose names
match a pattern (the last line that matches counts, and a path that none matches is open):

    PATTERN open         everything passes
    PATTERN cut          connections are reset, and new ones are refused
    PATTERN vanish       nothing passes and nothing is said about it: bytes are swallowed, and so is the first packet of a
                         new connection, as if the host were gone
    PATTERN slow MS      each piece of an answer arrives so many milliseconds late
"""
import asyncio
import contextlib
import fnmatch
import pathlib
import socket
import struct
import sys

LOOK = 0.1  # seconds between two looks at the state file


class Path:
    """One path: what holds for it, its listening socket and the connections on it."""

    def __init__(self, name, listen, target):
        self.name, self.listen, self.target = name, listen, target
        self.mode, self.delay = "open", 0.0
        self.listener = self.acceptor = None
        self.fillers, self.writers = [], set()

    def bind(self, backlog):
        self.listener = socket.socket()
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.listener.bind(("127.0.0.1", self.listen))
        self.listener.listen(backlog)
        self.listener.setblocking(False)

    def unbind(self):
        if self.acceptor:
            self.acceptor.cancel()
        for each in [self.listener, *self.fillers]:
            if each:
                each.close()
        self.listener = self.acceptor = None
        self.fillers = []

    def set(self, mode, delay):
        if (mode, delay) == (self.mode, self.delay) and self.listener:
            return
        before, self.mode, self.delay = self.mode, mode, delay
        if mode == "cut":
            self.unbind()
            self.reset()
        elif mode == "vanish":
            self.unbind()
            # A listener whose queue is full answers no further first packet.
            self.bind(0)
            for _ in range(4):
                filler = socket.socket()
                filler.setblocking(False)
                filler.connect_ex(("127.0.0.1", self.listen))
                self.fillers.append(filler)
        elif before in ("cut", "vanish") or not self.listener:
            self.unbind()
            # What was swallowed is missing in the middle of a connection: it cannot go on.
            self.reset()
            self.bind(128)
            self.acceptor = asyncio.get_running_loop().create_task(self.accept())

    def reset(self):
        for writer in list(self.writers):
            with contextlib.suppress(OSError):
                writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()
        self.writers.clear()

    async def accept(self):
        loop = asyncio.get_running_loop()
        tasks = set()
        while True:
            client, _ = await loop.sock_accept(self.listener)
            task = loop.create_task(self.carry(client))
            tasks.add(task)
            task.add_done_callback(tasks.discard)

    async def carry(self, client):
        reader, writer = await asyncio.open_connection(sock=client)
        try:
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self.target)
        except OSError:
            writer.transport.abort()
            return
        self.writers |= {writer, far_writer}
        await asyncio.gather(self.pump(reader, far_writer, False), self.pump(far_reader, writer, True))
        self.writers -= {writer, far_writer}

    async def pump(self, source, to, is_answer):
        with contextlib.suppress(OSError):
            while piece := await source.read(65536):
                if is_answer and self.delay:
                    await asyncio.sleep(self.delay)
                if self.mode == "vanish":
                    continue
                to.write(piece)
                await to.drain()
        # While nothing passes, the end of a connection does not, either.
        if self.mode != "vanish":
            to.close()


def wanted(state, name):
    mode, delay = "open", 0.0
    for pattern, what, *ms in filter(None, map(str.split, state.splitlines())):
        if fnmatch.fnmatchcase(name, pattern):
            mode, delay = ("open", int(ms[0]) / 1000) if what == "slow" else (what, 0.0)
    return mode, delay


async def main(state, specs):
    paths = []
    for spec in specs:
        name, ports = spec.split("=")
        paths.append(Path(name, *map(int, ports.split(":"))))
    while True:
        text = state.read_text(encoding="utf-8") if state.exists() else ""
        for path in paths:
            path.set(*wanted(text, path.name))
        await asyncio.sleep(LOOK)


if len(sys.argv) < 3:
    sys.exit(__doc__)
asyncio.run(main(pathlib.Path(sys.argv[1]), sys.argv[2:]))
