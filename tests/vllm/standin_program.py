"""A program that stands in for vLLM's process: it prints, serves its models, hangs or crashes.

It transcribes nothing; tests/engines/standin_realtime.py stands in for vLLM's realtime protocol,
in the process of the test.

python -m tests.vllm.standin_program PORT [--say LINE]... [--exit STATUS | --hang] [--stubborn]
                             [--with-child FILE] [--deaf-when FILE]
"""

import argparse
import json
import signal
import subprocess
import sys
import time
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

MODEL = {"id": "standin", "max_model_len": 2048}
SLEEP = [sys.executable, "-c", "import time; time.sleep(600)"]


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("port", type=int)
    parser.add_argument("--say", action="append", default=[])
    parser.add_argument("--exit", type=int)
    parser.add_argument("--hang", action="store_true")
    parser.add_argument("--stubborn", action="store_true", help="do not end when asked to")
    parser.add_argument("--with-child", type=Path, help="have one, and write both numbers there")
    parser.add_argument("--deaf-when", type=Path, help="do not answer once this file is there")
    options = parser.parse_args()
    if options.stubborn:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if options.with_child:
        child = subprocess.Popen(SLEEP)
        options.with_child.write_text(str(child.pid))
    sys.stdout.write("".join(f"{line}\n" for line in options.say))
    sys.stdout.flush()
    if options.exit is not None:
        return int(options.exit)
    if options.hang:
        time.sleep(600)
    serve(options.port, options.deaf_when)
    return 0


def serve(port: int, deaf_when: Path | None) -> None:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            while deaf_when and deaf_when.exists():
                time.sleep(600)
            body = json.dumps({"data": [MODEL]}).encode()
            self.send_response(200)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    HTTPServer(("127.0.0.1", port), Handler).serve_forever()


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
