#!/usr/bin/env python3
"""What a flood of DNS queries costs HTTP, on loopback: latency at rest, beside the flood's generator alone, and under it.

dnsperf sends 50,000 queries a second and takes its own part of the processor, which a flood from elsewhere would not.
So it also sends them to a socket that nobody reads (`sink`), and that is what the other cells are held against: what is
more is the gateway's own doing. Cells take turns within a round, in another order each round; the table shows medians.

cells:
  rest            no DNS at all
  sink            the generator alone
  member-zone     from a member's address, names of the zone
  member-other    from a member's address, names that are asked elsewhere, each another one
  stranger-zone   from an address that is nobody's

loads:
  pace            1 KiB GETs on one connection, 1,000 a second
  wrk             the same back to back on 4 connections, as many as the machine gives; tells little on few cores

dns_cpu is what the gateway's DNS thread took, generator_cpu what dnsperf did, in hundredths of one core.
Goal: under each flood the p99 of HTTP is less than twice that beside the sink. `tests/bench/run dns` builds what this needs.
"""

import argparse
import contextlib
import json
import os
import platform
import random
import re
import signal
import socket
import statistics
import string
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import bench

HTTP, HTTPS, DNS, SINK, RESOLVER = 9131, 9132, 9153, 9154, 9155
RATE = 50_000
GOAL = 2.0
MEMBER, STRANGER = "127.0.3.1", "127.0.4.1"
WARM_UP = 2.5
"""Seconds until dnsperf has come to its rate."""
OTHER_NAMES = 200_000

CELLS = {
    "rest": None,
    "sink": (SINK, MEMBER, "zone"),
    "member-zone": (DNS, MEMBER, "zone"),
    "member-other": (DNS, MEMBER, "other"),
    "stranger-zone": (DNS, STRANGER, "zone"),
}
"""Where the flood goes, from which address, with which names."""


# --- Whom DNS meets ---------------------------------------------------------------------------------------------------


def write_names(run):
    (run / "zone.txt").write_text("bench.test A\nbench.test AAAA\nbench.test HTTPS\ngate.test A\nnone.test A\n")
    letters = random.Random(4)
    names = ("".join(letters.choices(string.ascii_lowercase, k=12)) for _ in range(OTHER_NAMES))
    (run / "other.txt").write_text("".join(f"{name}.example.org A\n" for name in names))


def udp(port):
    bound = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    bound.bind(("127.0.0.1", port))
    return bound


def resolve(bound):
    """Says of each name that there is none."""
    while True:
        query, asker = bound.recvfrom(4096)
        bound.sendto(query[:2] + b"\x81\x83" + query[4:], asker)


def is_answered(source):
    query = b"\0\7\1\0\0\1\0\0\0\0\0\0\5bench\4test\0\0\1\0\1"
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        asking.bind((source, 0))
        asking.settimeout(0.5)
        asking.sendto(query, ("127.0.0.1", DNS))
        with contextlib.suppress(TimeoutError):
            return asking.recv(512)[:2] == b"\0\7"
    return False


def require_dns(patience=15):
    """A flood that nobody hears would cost nothing: its sender must be heard, and a stranger must not."""
    deadline = time.monotonic() + patience
    while not is_answered(MEMBER):
        if time.monotonic() > deadline:
            raise RuntimeError("DNS does not answer the member who is to flood it")
    if is_answered(STRANGER):
        raise RuntimeError("DNS answers a stranger")


# --- Load -------------------------------------------------------------------------------------------------------------


class Flood:
    """dnsperf, while it runs."""

    def __init__(self, run, target, seconds, rate):
        port, source, names = target
        self.out = run / "dnsperf.out"
        self.out.unlink(missing_ok=True)
        command = ["dnsperf", "-s", "127.0.0.1", "-p", str(port), "-a", source, "-d", str(run / f"{names}.txt")]
        # Most queries are never answered. dnsperf gives those up each tenth of a second, so as many are on their way and
        # some more. Until the first so many are sent it sends two a millisecond and thread, hence the threads.
        outstanding = str(rate * 16 // 100)
        command += ["-Q", str(rate), "-q", outstanding, "-t", "0.02", "-c", "4", "-T", "4", "-l", str(seconds)]
        command += ["-O", "suppress=timeout"]
        self.process = bench.spawn(command, self.out)
        self.rate = rate

    def cpu_seconds(self):
        return bench.cpu_seconds(self.process.pid)

    def sent_per_second(self):
        """Waits for its end. One that fell behind was no such flood."""
        self.process.wait(30)
        text = self.out.read_text()
        sent = int(bench.found(r"Queries sent:\s+(\d+)", text)) / float(bench.found(r"Run time \(s\):\s+([\d.]+)", text))
        if sent < 0.95 * self.rate:
            raise RuntimeError(f"dnsperf sent only {sent:,.0f} queries a second")
        return sent


def wrk(seconds, _pids):
    command = ["wrk", "-t1", "-c4", "--latency", f"-d{seconds}s", "-H", "Host: bench.test", f"http://127.0.0.1:{HTTP}/1k"]
    text = subprocess.run(command, capture_output=True, text=True, timeout=120).stdout
    if "Non-2xx" in text:
        raise RuntimeError(f"refused: {text}")
    return {
        "rps": float(bench.found(r"Requests/sec:\s+([\d.]+)", text)),
        "p50_us": bench.microseconds(bench.found(r"\n\s+50%\s+(\S+)", text)),
        "p99_us": bench.microseconds(bench.found(r"\n\s+99%\s+(\S+)", text)),
    }


def pace(seconds, pids):
    command = [str(bench.TOOLS / "load"), "pace", "--port", str(HTTP), "--tls", "0", "--rate", "1000"]
    command += ["--pids", ",".join(map(str, pids)), "--seconds", str(seconds)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    if done.returncode:
        raise RuntimeError(done.stderr.strip()[-300:])
    return {column: value for column, value in json.loads(done.stdout).items() if column in COLUMNS}


LOADS = {"pace": pace, "wrk": wrk}
COLUMNS = ["rps", "p50_us", "p99_us", "dns_cpu", "generator_cpu", "queries"]


def dns_thread(pid):
    for task in Path(f"/proc/{pid}/task").iterdir():
        if (task / "comm").read_text().strip() == "ztgate-dns":
            return task
    raise RuntimeError("the gateway has no thread ztgate-dns")


def thread_seconds(task):
    fields = re.sub(r".*\) ", "", (task / "stat").read_text()).split()
    return (int(fields[11]) + int(fields[12])) / bench.TICKS_PER_SECOND


def measure_cell(run, pids, load, target, args):
    flood = Flood(run, target, args.seconds + WARM_UP + 1, args.rate) if target else None
    time.sleep(WARM_UP)
    thread = dns_thread(pids[0])
    before, start = (thread_seconds(thread), flood.cpu_seconds() if flood else 0), time.monotonic()
    cell = load(args.seconds, pids)
    spent = time.monotonic() - start
    cell["dns_cpu"] = 100 * (thread_seconds(thread) - before[0]) / spent
    if flood:
        cell["generator_cpu"] = 100 * (flood.cpu_seconds() - before[1]) / spent
        cell["queries"] = flood.sent_per_second()
    return cell


def measure_all(args, run):
    write_names(run)
    results = {load: {cell: [] for cell in CELLS} for load in args.loads}
    resolver = udp(RESOLVER)
    threading.Thread(target=resolve, args=[resolver], daemon=True).start()
    command = bench.gateway_command(args.ztgate, run, HTTP, HTTPS)
    command += ["--dns", str(DNS), "--resolver", f"127.0.0.1:{RESOLVER}"]
    gateway = bench.Contender(HTTP, HTTPS, command)
    with contextlib.ExitStack() as stack:
        stack.enter_context(contextlib.closing(udp(SINK)))
        file = stack.enter_context(bench.big_file(1 << 20))
        origin = stack.enter_context(bench.upstream(run, file))
        running = stack.enter_context(contextlib.closing(bench.Running("ztgate", gateway, run, origin)))
        require_dns()
        for turn in range(args.rounds):
            for name in args.loads:
                order = list(CELLS)
                turn %= len(order)
                for cell in order[turn:] + order[:turn]:
                    background = bench.wait_until_idle(args.wait_idle)
                    measured = measure_cell(run, running.pids, LOADS[name], CELLS[cell], args)
                    measured["background"] = round(background, 2)
                    print(f"{name} {cell} {json.dumps(measured)}", file=sys.stderr, flush=True)
                    results[name][cell].append(measured)
    return results


# --- The table --------------------------------------------------------------------------------------------------------


def print_tables(results):
    met = True
    for load, cells in results.items():
        table = {name: medians(rounds) for name, rounds in cells.items()}
        print(f"\n{load}; goal: p99 less than {GOAL} times that beside the sink")
        print(f"  {'':15}" + "".join(f"{column:>14}" for column in COLUMNS) + f"{'p99 to sink':>14}{'to rest':>10}")
        for name, row in table.items():
            ratios = [row["p99_us"] / table[other]["p99_us"] for other in ("sink", "rest")]
            met &= ratios[0] < GOAL
            shown = "".join(f"{bench.number(row.get(column)):>14}" for column in COLUMNS)
            print(f"  {name:15}{shown}{ratios[0]:>14.2f}{ratios[1]:>10.2f}{'' if ratios[0] < GOAL else '  NOT MET'}")
    return met


def medians(rounds):
    columns = {column: [cell[column] for cell in rounds if column in cell] for column in COLUMNS}
    return {column: statistics.median(values) for column, values in columns.items() if values}


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ztgate", metavar="BINARY", required=True, help="the bench target `gateway`")
    parser.add_argument("--loads", type=lambda text: text.split(","), default=["pace"], help="pace, wrk (default: pace)")
    parser.add_argument("--rounds", type=int, default=5, help="default: %(default)s")
    parser.add_argument("--seconds", type=int, default=4, help="of each timed cell (default: %(default)s)")
    parser.add_argument("--rate", type=int, default=RATE, help="queries a second (default: %(default)s)")
    parser.add_argument("--wait-idle", type=float, default=0, metavar="SECONDS",
                        help="before each cell, wait at most so long for the machine to be quiet")
    parser.add_argument("--scratch", type=Path, metavar="DIR",
                        help="where configurations and logs go (default: a new folder under $TMPDIR)")
    args = parser.parse_args()
    for load in args.loads:
        if load not in LOADS:
            parser.error(f"no load {load}; there are {', '.join(LOADS)}")
    return args


def main():
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    args = parse_arguments()
    os.environ["PATH"] += ":/usr/sbin:/sbin"
    run = (args.scratch or Path(tempfile.mkdtemp(prefix="ztgate-bench-"))).resolve()
    try:
        bench.prepare(run)
        results = measure_all(args, run)
    except (OSError, RuntimeError) as error:
        sys.exit(f"dns.py: {error}; see {run}")
    met = print_tables(results)
    print(f"\n{os.cpu_count()} cores, Linux {platform.release()}; medians of {args.rounds} rounds")
    sys.exit(0 if met else 1)


if __name__ == "__main__":
    main()
