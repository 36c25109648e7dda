#!/usr/bin/env python3
"""Stands for rsyslog beside HAProxy, which cannot write a log file itself: datagrams in, a file out.

    logsink.py SOCKET FILE

Its CPU time is not charged to HAProxy.
"""

import os
import socket
import sys


def main(path, log):
    if os.path.exists(path):
        os.unlink(path)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as inbox, open(log, "ab", buffering=1 << 20) as out:
        inbox.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8 << 20)
        inbox.bind(path)
        while True:
            out.write(inbox.recv(4096))


if __name__ == "__main__":
    main(*sys.argv[1:])
