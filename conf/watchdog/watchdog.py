#!/usr/bin/env python3
"""Dead man's switch: expects a sign of life from Alertmanager and says so by mail, once, when it stops coming.

    watchdog.py [--listen 0.0.0.0:8080] [--silence 180]        --silence: seconds without a sign until it is an alarm

Prometheus' alert Watchdog always fires, and Alertmanager posts it to /alive once a minute. If Prometheus does not
evaluate rules, or Alertmanager does not deliver, no post comes. /metrics has the seconds since the last sign; /readyz answers 200.
The mail bypasses both. Its settings are SMTP_SMARTHOST, SMTP_FROM, SMTP_USERNAME, SMTP_TO, GMAIL_AUTH_TOKEN or
GMAIL_AUTH_TOKEN_FILE, as in conf/alertmanager/start.sh; without SMTP_SMARTHOST it goes to MAIL_CATCHER (mailpit:1025).

The program dies with the machine that it runs on. To be told of that, set WATCHDOG_URL to a service elsewhere.
"""
import argparse
import email.message
import http.server
import os
import smtplib
import sys
import threading
import time


class Switch:
    """When the last sign came, and whether its absence has been reported."""

    def __init__(self, silence, now):
        self.silence, self.last, self.silent, self.signs = silence, now, False, 0
        self.lock = threading.Lock()

    def sign(self, now):
        with self.lock:
            was_silent, self.silent, self.last = self.silent, False, now
            self.signs += 1
        return was_silent

    def fell_silent(self, now):
        """True once for each silence."""
        with self.lock:
            fell = not self.silent and now - self.last >= self.silence
            self.silent = self.silent or fell
        return fell


def say(text):
    print(f"{time.strftime('%FT%TZ', time.gmtime())} watchdog: {text}", file=sys.stderr, flush=True)


def token():
    path = os.environ.get("GMAIL_AUTH_TOKEN_FILE", "")
    if os.path.isfile(path):
        with open(path, encoding="utf-8") as file:
            return file.read().strip()
    return os.environ.get("GMAIL_AUTH_TOKEN", "")


def mail(subject, text):
    setting = os.environ.get
    smarthost = setting("SMTP_SMARTHOST", "")
    message = email.message.EmailMessage()
    message["Subject"] = subject
    message["From"] = setting("SMTP_FROM") or "kafka-cron@localhost"
    message["To"] = setting("SMTP_TO") or "operators@localhost"
    message.set_content(text)
    host, _, port = (smarthost or setting("MAIL_CATCHER") or "mailpit:1025").rpartition(":")
    kind = smtplib.SMTP_SSL if port == "465" else smtplib.SMTP
    with kind(host, int(port), timeout=10) as server:
        if smarthost:
            if port != "465":
                server.starttls()
            server.login(setting("SMTP_USERNAME") or message["From"], token())
        server.send_message(message)


def tell(subject, text):
    """Sends a mail, with several tries, because the mail server may be away at the same time."""
    say(subject)
    for wait in (1, 5, 30, 60, 60, 60, 60, 60):
        try:
            return mail(subject, text)
        except OSError as error:
            say(f"the mail was not taken: {error}")
            time.sleep(wait)


def handler(switch):
    class Handler(http.server.BaseHTTPRequestHandler):
        timeout = 10

        def do_POST(self):
            left = int(self.headers.get("Content-Length") or 0)
            while left > 0:
                left -= len(self.rfile.read(min(left, 65536))) or left
            if switch.sign(time.monotonic()):
                threading.Thread(target=tell, args=("[over] Watchdog: the sign of life is back", "Alerts are delivered again."), daemon=True).start()
            self.answer("")

        def do_GET(self):
            self.answer(
                "# HELP watchdog_silence_seconds Time since the last sign of life.\n# TYPE watchdog_silence_seconds gauge\n"
                f"watchdog_silence_seconds {time.monotonic() - switch.last:.1f}\n"
                "# HELP watchdog_signs_total Signs of life that came.\n# TYPE watchdog_signs_total counter\n"
                f"watchdog_signs_total {switch.signs}\n"
                if self.path == "/metrics" else "")

        def answer(self, text):
            body = text.encode()
            self.send_response(200)
            self.send_header("Content-Type", "text/plain; version=0.0.4")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    return Handler


def main():
    flags = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    flags.add_argument("--listen", default="0.0.0.0:8080")
    flags.add_argument("--silence", type=float, default=180)
    flags = flags.parse_args()
    host, _, port = flags.listen.rpartition(":")
    switch = Switch(flags.silence, time.monotonic())
    server = http.server.ThreadingHTTPServer((host, int(port)), handler(switch))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    say(f"expecting signs of life at {flags.listen}, alarm after {flags.silence:g} s without")
    while True:
        time.sleep(min(1, flags.silence / 10))
        if switch.fell_silent(time.monotonic()):
            tell(
                "[page] Watchdog: the monitoring itself is silent",
                f"No sign of life from Prometheus and Alertmanager for {flags.silence:g} s: whatever breaks now, nobody is told.\n"
                "What to do: docs/playbooks/Watchdog.md\n")


if __name__ == "__main__":
    main()
