"""Asks once and says the outcome: exit 0 if everything written so far is durable."""

import http.client
import os
import sys
from urllib.parse import urlsplit


def barrier() -> None:
    host = urlsplit(os.environ["METAMASTER_URL"]).netloc
    connection = http.client.HTTPConnection(host, timeout=40)  # keep one open for each thread
    try:
        connection.request("POST", "/v1/barrier?timeoutSeconds=30")
        answer = connection.getresponse()
        body = answer.read(16384).decode()
        if answer.status != 200:
            raise RuntimeError(f"barrier: {answer.status}: {body}")  # don't acknowledge
    finally:
        connection.close()


if __name__ == "__main__":
    try:
        barrier()
    except (OSError, http.client.HTTPException, RuntimeError) as error:
        sys.exit(str(error))
    print("durable")
