#!/usr/bin/env python3
"""A mail server that takes every mail and delivers none: each is a file, its name the instant (ms since the epoch).

    mailcatcher.py PORT DIRECTORY

As much of SMTP (RFC 5321) as Alertmanager and smtplib speak, without TLS and login.
"""
import pathlib
import socketserver
import sys
import time

port, directory = int(sys.argv[1]), pathlib.Path(sys.argv[2])


class Session(socketserver.StreamRequestHandler):
    timeout = 30

    def answer(self, line):
        self.wfile.write(line.encode() + b"\r\n")

    def handle(self):
        self.answer("220 mailcatcher")
        while line := self.rfile.readline(4096):
            verb = line[:4].upper().strip()
            if verb == b"DATA":
                self.answer("354 until a dot alone")
                self.take()
                self.answer("250 taken")
            elif verb == b"QUIT":
                self.answer("221 bye")
                return
            elif verb in (b"EHLO", b"HELO", b"MAIL", b"RCPT", b"RSET", b"NOOP"):
                self.answer("250 mailcatcher")
            else:
                self.answer("502 not here")

    def take(self):
        lines = []
        while (line := self.rfile.readline(65536)) and line.rstrip(b"\r\n") != b".":
            lines.append(line[1:] if line.startswith(b"..") else line)
        name = directory / f"{time.time_ns() // 1_000_000}"
        name.with_suffix(".part").write_bytes(b"".join(lines))
        name.with_suffix(".part").rename(name.with_suffix(".eml"))


class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True


with Server(("127.0.0.1", port), Session) as server:
    server.serve_forever()
