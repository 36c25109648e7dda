#!/usr/bin/env python3
"""Reverse proxies side by side, on loopback, in one run.

Each contender is started anew for each cell of the table and stopped by its own process ID; contenders take turns
within a round, and the table shows medians over the rounds. The figure that decides is the CPU time that the
contender's process tree used per request, connection or byte, because a noisy machine bends it least. All have two
workers, kept-alive connections to the upstream, an access log and an address check.

scenarios:
  S1          1 KiB GET, kept alive, 64 connections
  S2          the same over TLS 1.3
  S3          the same over TLS and HTTP/2, 16 connections of 10 streams
  S4          a new TCP connection per request, 16 at a time
  S5          a new full TLS handshake per request, 16 at a time
  S6,   S7    a 2 GiB download, plain and over TLS
  S8,   S8t   a 2 GiB upload, and 1 GiB over TLS
  S9,   S9t   200 paced streams of 8 Mbit/s
  S10a, S10b  WebSocket echo on 1 and 100 connections
  S11,  S11t  memory with 5,000 idle connections
  S12,  S12t  latency at 200 requests a second

What a network of 10,000 members costs is measured by `tests/bench/run members` alone, and what a flood of DNS queries does
by `tests/bench/run dns` (dns.py): no other proxy has members, or DNS.

Goals are ratios to nginx in the same run (memory: an absolute limit). `tests/bench/run` builds what this needs.
"""

import argparse
import contextlib
import datetime
import getpass
import json
import os
import platform
import re
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Callable, Optional  # `X | None` would ask for Python 3.10

HERE = Path(__file__).resolve().parent
TOOLS = HERE / "tools" / "target" / "release"
UPSTREAM_PORT = 9000
GIB = 1 << 30
TICKS_PER_SECOND = 100


# --- Contenders -------------------------------------------------------------------------------------------------------


@dataclass
class Contender:
    """A proxy to 127.0.0.1:9000. `direct` has no command: the upstream itself is measured."""

    http: int
    https: Optional[int] = None
    command: list = field(default_factory=list)
    beside: list = field(default_factory=list)
    """A helper that runs beside it and whose CPU time is not charged to it."""
    environment: dict = field(default_factory=dict)


def contenders(run: Path, ztgate: Optional[str], extra: Optional[str]) -> dict:
    def nginx(name, http):
        return Contender(http, http + 1, ["nginx", "-p", str(run), "-c", str(run / f"{name}.conf")])

    def haproxy(name, http):
        sink = [sys.executable, str(HERE / "logsink.py"), str(run / f"{name}.sock"), str(run / f"{name}.log")]
        return Contender(http, http + 1, ["haproxy", "-db", "-f", str(run / f"{name}.cfg")], sink)

    known = {
        "direct": Contender(UPSTREAM_PORT),
        "nginx": nginx("nginx", 9101),
        "nginx-tuned": nginx("nginx-tuned", 9103),
        "haproxy": haproxy("haproxy", 9105),
        "haproxy-splice": haproxy("haproxy-splice", 9107),
    }
    if ztgate:
        known["ztgate"] = Contender(9111, 9112, gateway_command(ztgate, run, 9111, 9112))
    if extra:
        known.update({name: Contender(**spec) for name, spec in json.loads(Path(extra).read_text()).items()})
    return known


def gateway_command(binary, run, http, https):
    return [
        binary,
        *("--http", str(http), "--https", str(https)),
        *("--upstream", f"127.0.0.1:{UPSTREAM_PORT}"),
        *("--cert", str(run / "cert.pem"), "--key", str(run / "key.pem")),
        *("--threads", "2", "--state", str(run / "ztgate-state")),
    ]


class Running:
    """A contender with its processes, while it runs. Ends only what it started."""

    def __init__(self, name, contender, run, upstream):
        self.contender = contender
        self.processes = []
        try:
            self._start(name, run, upstream)
        except BaseException:
            self.close()
            raise

    def _start(self, name, run, upstream):
        if not self.contender.command:
            self.pids = process_tree(upstream.pid)
            return
        if self.contender.beside:
            self.processes.append(spawn(self.contender.beside, run / f"{name}-beside.out"))
            time.sleep(0.25)
        ports = [port for port in (self.contender.http, self.contender.https) if port]
        require_free(ports)
        process = spawn(self.contender.command, run / f"{name}.out", self.contender.environment, cwd=run)
        self.processes.append(process)
        for port in ports:
            wait_for_port(port, process, f"{name}: see {run}/{name}.out and {name}.err")
        time.sleep(0.25)
        self.pids = process_tree(process.pid)

    def port(self, tls):
        return self.contender.https if tls else self.contender.http

    def cpu_seconds(self):
        return sum(map(cpu_seconds, self.pids))

    def close(self):
        for process in reversed(self.processes):
            stop(process)


# --- Processes --------------------------------------------------------------------------------------------------------


def spawn(command, log, environment=None, cwd=None):
    with open(log, "ab") as out:
        merged_environment = {**os.environ, **(environment or {})}
        return subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, cwd=cwd, env=merged_environment
        )


def stop(process):
    """Asks a process to end, and ends its whole tree if it does not."""
    if process.poll() is not None:
        return
    tree = process_tree(process.pid)
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(3)
    except subprocess.TimeoutExpired:
        for pid in reversed(tree):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        process.wait(5)


def require_free(ports):
    """Another program on a port would be measured in the contender's place."""
    for port in ports:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            raise RuntimeError(f"another program listens on 127.0.0.1:{port}")


def wait_for_port(port, process, hint, seconds=15):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and process.poll() is None:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.03)
    raise RuntimeError(f"nothing listens on 127.0.0.1:{port}; {hint}")


def stat_fields(pid):
    """The fields of /proc/PID/stat that follow the name, which may hold spaces; none for a process that has gone."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    return stat[stat.rfind(")") + 2 :].split()


def process_tree(root):
    children = {}
    for pid in filter(str.isdigit, os.listdir("/proc")):
        if fields := stat_fields(pid):
            children.setdefault(int(fields[1]), []).append(int(pid))
    tree = [root]
    for pid in tree:
        tree += children.get(pid, [])
    return tree


def cpu_seconds(pid):
    fields = stat_fields(pid)
    return (int(fields[11]) + int(fields[12])) / TICKS_PER_SECOND if fields else 0.0


def busy_fraction(seconds=0.3):
    """How busy the machine is right now, from 0 to 1."""

    def read():
        times = [int(word) for word in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
        return sum(times), times[3] + times[4]

    total, idle = read()
    time.sleep(seconds)
    later_total, later_idle = read()
    return 1 - (later_idle - idle) / max(1, later_total - total)


# --- Load -------------------------------------------------------------------------------------------------------------


@dataclass
class Settings:
    seconds: int
    size: int
    """Bytes of a download; half of it over TLS where the load generator must hold it encrypted."""
    environment: dict


def load(scenario, tls=False, **options):
    """A scenario of tools/src/bin/load; the options are its own, or functions of the settings."""

    def measure(running, settings):
        command = [str(TOOLS / "load"), scenario, "--port", str(running.port(tls)), "--tls", str(int(tls))]
        command += ["--pids", ",".join(map(str, running.pids)), "--seconds", str(settings.seconds)]
        for name, value in options.items():
            command += [f"--{name}", str(value(settings) if callable(value) else value)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=180)
        if done.returncode:
            raise RuntimeError(done.stderr.strip()[-300:])
        return json.loads(done.stdout)

    return measure


def wrk(tls):
    def measure(running, settings):
        url = f"{'https' if tls else 'http'}://127.0.0.1:{running.port(tls)}/1k"
        command = ["wrk", "-t1", "-c64", "--latency", "-H", "Host: bench.test", url]
        text, cpu = warm_and_measure(running, command, lambda seconds: f"-d{seconds}s", settings)
        count = int(found(r"(\d+) requests in", text))
        bad = re.search(r"Non-2xx or 3xx responses: (\d+)", text)
        return {
            "n": count,
            "err": int(bad[1]) if bad else 0,
            "rps": float(found(r"Requests/sec:\s+([\d.]+)", text)),
            "cpu_us": cpu * 1e6 / max(1, count),
            "p50_us": microseconds(found(r"\n\s+50%\s+(\S+)", text)),
            "p99_us": microseconds(found(r"\n\s+99%\s+(\S+)", text)),
        }

    return measure


def h2load(running, settings):
    url = f"https://127.0.0.1:{running.port(True)}/1k"
    command = ["h2load", "-t1", "-c16", "-m10", "-H", ":authority: bench.test", "--sni", "bench.test", url]
    if not h2load_knows_sni():
        command = [word for word in command if word not in ("--sni", "bench.test")]
    text, cpu = warm_and_measure(running, command, lambda seconds: f"-D{seconds}", settings)
    if "protocol: h2" not in text:
        raise RuntimeError("HTTP/2 was not agreed on")
    good, _, client, server = map(int, re.search(r"(\d+) 2xx, (\d+) 3xx, (\d+) 4xx, (\d+) 5xx", text).groups())
    return {
        "n": good,
        "err": client + server,
        "rps": float(found(r"finished in .*?, ([\d.]+) req/s", text)),
        "cpu_us": cpu * 1e6 / max(1, good),
        "p50_us": microseconds(re.search(r"time for request:\s+\S+\s+\S+\s+(\S+)", text)[1]),
    }


def h2load_knows_sni():
    return "--sni" in subprocess.run(["h2load", "--help"], capture_output=True, text=True).stdout


def warm_and_measure(running, command, duration, settings):
    """Runs for a second unmeasured, then for the set time; its text, and the CPU seconds that the contender used."""

    def go(seconds):
        words = [command[0], duration(seconds), *command[1:]]
        return subprocess.run(words, capture_output=True, text=True, env=settings.environment, timeout=120).stdout

    go(1)
    before = running.cpu_seconds()
    text = go(settings.seconds)
    return text, running.cpu_seconds() - before


def found(pattern, text):
    match = re.search(pattern, text)
    if not match:
        raise RuntimeError(f"the load tool's answer lacks {pattern!r}: {text[-200:]!r}")
    return match[1]


def microseconds(text):
    number, unit = re.fullmatch(r"([\d.]+)(us|ms|s|m)", text).groups()
    return float(number) * {"us": 1, "ms": 1e3, "s": 1e6, "m": 6e7}[unit]


# --- Scenarios --------------------------------------------------------------------------------------------------------


@dataclass
class Scenario:
    text: str
    tls: bool
    measure: Callable
    columns: str
    decides: str
    """The column that is compared with nginx."""
    goal: Optional[float] = None
    """The highest ratio to nginx, or the highest value where `decides` is memory per connection."""

    @property
    def absolute(self):
        return self.decides == "per_conn_kb"


def requests_scenario(text, tls, measure, goal=None, decides="cpu_us"):
    return Scenario(text, tls, measure, "rps cpu_us p50_us p99_us", decides, goal)


def transfer(text, tls, measure, goal=None):
    return Scenario(text, tls, measure, "cpu_s_gb gbps rss_peak_kb", "cpu_s_gb", goal)


def streams(text, tls):
    measure = load("streams", tls, count=200, rate=1_000_000)
    return Scenario(text, tls, measure, "cpu_s_gb cpu_pct mbit short rss_kb", "cpu_s_gb")


def idle(text, tls):
    return Scenario(text, tls, load("idle", tls, count=5000), "per_conn_kb rss_idle_kb rss_full_kb", "per_conn_kb", 40)


def whole(settings):
    return settings.size


def half(settings):
    return settings.size // 2


SCENARIOS = {
    "S1": requests_scenario("1 KiB GET", False, wrk(False), 1.3),
    "S2": requests_scenario("1 KiB GET, TLS", True, wrk(True), 1.0),
    "S3": requests_scenario("1 KiB GET, TLS, HTTP/2", True, h2load, 1.2),
    "S4": requests_scenario("new TCP connection", False, load("connect", count=16)),
    "S5": requests_scenario("new TLS handshake", True, load("connect", True, count=16), 0.5),
    "S6": transfer("download", False, load("download", bytes=whole), 0.65),
    "S7": transfer("download, TLS", True, load("download", True, bytes=whole), 0.65),
    "S8": transfer("upload", False, load("upload", bytes=whole)),
    "S8t": transfer("upload, TLS", True, load("upload", True, bytes=half)),
    "S9": streams("200 x 8 Mbit/s", False),
    "S9t": streams("200 x 8 Mbit/s, TLS", True),
    "S10a": requests_scenario("WebSocket echo, 1", False, load("echo", count=1)),
    "S10b": requests_scenario("WebSocket echo, 100", False, load("echo", count=100)),
    "S11": idle("5,000 idle connections", False),
    "S11t": idle("5,000 idle connections, TLS", True),
    "S12": requests_scenario("200 requests/s", False, load("pace", rate=200), decides="p50_us"),
    "S12t": requests_scenario("200 requests/s, TLS", True, load("pace", True, rate=200), decides="p50_us"),
}
NEEDS_BIG_FILE = {"S6", "S7", "S9", "S9t"}
UNITS = {"cpu_us": "us CPU/request", "cpu_s_gb": "CPU s/GB", "per_conn_kb": "KB/connection", "p50_us": "us, median"}


# --- Tables -----------------------------------------------------------------------------------------------------------


def medians(results, scenario):
    """`{contender: {column: median}}` over the rounds that went well."""
    table = {}
    for name, cells in results.items():
        good = [cell for cell in cells.get(scenario, []) if not cell.get("err")]
        columns = SCENARIOS[scenario].columns.split()
        values = {column: [cell[column] for cell in good if column in cell] for column in columns}
        if good:
            table[name] = {column: statistics.median(found) for column, found in values.items() if found}
    return table


def verdict(scenario, name, table):
    """The figure that decides, against nginx where it is a ratio, and what the goal says of it."""
    spec = SCENARIOS[scenario]
    value = table[name].get(spec.decides)
    base = table.get("nginx", {}).get(spec.decides)
    figure = value if spec.absolute else value / base if base and value is not None else None
    if figure is None or spec.goal is None or name != "ztgate":
        return figure, ""
    return figure, "met" if round(figure, 2) <= spec.goal else "NOT MET"


def print_tables(results):
    for scenario, spec in SCENARIOS.items():
        cells = {name: of[scenario] for name, of in results.items() if scenario in of}
        if not cells:
            continue
        table = medians(results, scenario)
        limit = f"; goal: {'' if spec.absolute else 'ratio '}<= {spec.goal}" if spec.goal else ""
        print(f"\n{scenario}  {spec.text}{limit}")
        columns = spec.columns.split()
        heads = "".join(f"{column:>13}" for column in columns)
        print(f"  {'':15}{heads}{'to nginx':>10}{'rounds':>8}{'errors':>8}")
        for name in cells:
            errors = sum(1 for cell in cells[name] if cell.get("err"))
            row = "".join(f"{number(table.get(name, {}).get(column)):>13}" for column in columns)
            ratio, judged = verdict(scenario, name, table) if name in table else (None, "")
            shown = "" if spec.absolute else number(ratio)
            print(f"  {name:15}{row}{shown:>10}{len(cells[name]):>8}{errors:>8}  {judged}".rstrip())


def print_markdown(results):
    names = [name for name in results if name != "direct"]
    others = [name for name in names if name != "nginx"]
    today = datetime.date.today().isoformat()
    print(f"\nMeasured on {today}, {machine()}; medians. Contenders are shown as ratios to nginx, memory in KB.\n")
    print("| | " + " | ".join(["nginx", *others, "goal"]) + " |")
    print("|---" * (len(others) + 3) + "|")
    for scenario, spec in SCENARIOS.items():
        table = medians(results, scenario)
        if not table:
            continue
        cells = [number(table.get("nginx", {}).get(spec.decides))]
        for name in others:
            figure, judged = verdict(scenario, name, table) if name in table else (None, "")
            cells.append(f"**{number(figure)}**" if judged == "NOT MET" else number(figure))
        goal = f"<= {spec.goal}" if spec.goal else ""
        print(f"| {scenario} {spec.text}, {UNITS[spec.decides]} | " + " | ".join([*cells, goal]) + " |")


def number(value):
    if value is None:
        return "-"
    return f"{value:.2f}" if value < 100 else f"{value:,.0f}"


def machine():
    return f"{os.cpu_count()} cores, Linux {platform.release()}, {version(['nginx', '-v'])}"


def version(command):
    done = subprocess.run(command, capture_output=True, text=True)
    return (done.stdout + done.stderr).strip().removeprefix("nginx version: ").splitlines()[0]


# --- The run ----------------------------------------------------------------------------------------------------------


def prepare(run):
    """Fills the templates in and makes a certificate for bench.test."""
    run.mkdir(parents=True, exist_ok=True)
    for template in (HERE / "conf").iterdir():
        text = template.read_text().replace("@RUN@", str(run)).replace("@USER@", getpass.getuser())
        (run / template.name).write_text(text)
    cert, key = run / "cert.pem", run / "key.pem"
    make = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "30"]
    make += ["-subj", "/CN=bench.test", "-addext", "subjectAltName=DNS:bench.test"]
    make += ["-keyout", str(key), "-out", str(cert)]
    subprocess.run(make, check=True, capture_output=True)
    (run / "both.pem").write_text(cert.read_text() + key.read_text())


def write_random(path, size):
    with open("/dev/urandom", "rb") as source, open(path, "wb") as out:
        for at in range(0, size, 1 << 20):
            out.write(source.read(min(1 << 20, size - at)))


@contextlib.contextmanager
def big_file(size):
    """Random bytes in memory: neither a disk nor zero pages take part. Gone afterwards."""
    folder = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.NamedTemporaryFile(prefix="ztgate-bench-", dir=folder) as file:
        write_random(file.name, size)
        yield file.name


@contextlib.contextmanager
def upstream(run, file):
    require_free([UPSTREAM_PORT])
    process = spawn([str(TOOLS / "upstream"), str(UPSTREAM_PORT), "2", file], run / "upstream.out")
    try:
        wait_for_port(UPSTREAM_PORT, process, f"see {run}/upstream.out")
        yield process
    finally:
        stop(process)


def measure_all(args, known, run):
    results = {}
    settings = Settings(args.seconds, int(args.gib * GIB), {**os.environ, "OPENSSL_CONF": str(run / "openssl.cnf")})
    size = settings.size if NEEDS_BIG_FILE & set(args.scenarios) else 1 << 20
    with big_file(size) as file, upstream(run, file) as origin:
        for scenario in args.scenarios:
            for _ in range(args.rounds):
                for name in args.contenders:
                    if SCENARIOS[scenario].tls and not known[name].https:
                        continue
                    cell = measure_cell(scenario, name, known[name], run, origin, settings, args.wait_idle)
                    results.setdefault(name, {}).setdefault(scenario, []).append(cell)
                    print(f"{scenario} {name} {json.dumps(cell)}", file=sys.stderr, flush=True)
    return results


def measure_cell(scenario, name, contender, run, origin, settings, patience):
    background = wait_until_idle(patience)
    try:
        with contextlib.closing(Running(name, contender, run, origin)) as running:
            cell = SCENARIOS[scenario].measure(running, settings)
    except (OSError, RuntimeError, ValueError, subprocess.SubprocessError) as error:
        cell = {"err": 1, "message": str(error)}
    return {**cell, "background": round(background, 2)}


def wait_until_idle(patience):
    """Waits up to `patience` seconds for less than 15 % of other load; the load that is left."""
    deadline = time.monotonic() + patience
    while (busy := busy_fraction()) > 0.15 and time.monotonic() < deadline:
        time.sleep(1)
    return busy


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)

    def names(text):
        return text.split(",")

    parser.add_argument("--contenders", type=names, metavar="A,B", help="direct, nginx, nginx-tuned, haproxy, "
                        "haproxy-splice, ztgate (default: direct,nginx and ztgate if built)")
    parser.add_argument("--scenarios", type=names, metavar="S1,S2", default=list(SCENARIOS), help="default: all")
    parser.add_argument("--rounds", type=int, default=3, help="default: %(default)s")
    parser.add_argument("--seconds", type=int, default=4, help="of each timed cell (default: %(default)s)")
    parser.add_argument("--gib", type=float, default=2, help="size of a download (default: %(default)s)")
    parser.add_argument("--wait-idle", type=float, default=0, metavar="SECONDS",
                        help="before each cell, wait at most so long for the machine to be quiet")
    parser.add_argument("--scratch", type=Path, metavar="DIR",
                        help="where configurations and logs go (default: a new folder under $TMPDIR)")
    parser.add_argument("--ztgate", metavar="BINARY", help="the bench target `gateway`")
    parser.add_argument("--extra", metavar="FILE",
                        help='more contenders: {"name": {"command": [...], "http": PORT, "https": PORT}}')
    parser.add_argument("--out", type=Path, metavar="FILE", help="results as JSON (default: SCRATCH/results.json)")
    parser.add_argument("--show", type=names, metavar="FILE,...", help="measure nothing; show earlier results together")
    parser.add_argument("--markdown", action="store_true", help="print the dated table for ARCHITECTURE.md too")
    args = parser.parse_args()
    for scenario in args.scenarios:
        if scenario not in SCENARIOS:
            parser.error(f"no scenario {scenario}; there are {', '.join(SCENARIOS)}")
    return parser, args


def merged(files):
    results = {}
    for file in files:
        for name, cells in json.loads(Path(file).read_text()).items():
            for scenario, rounds in cells.items():
                results.setdefault(name, {}).setdefault(scenario, []).extend(rounds)
    return results


def measured(parser, args):
    os.environ["PATH"] += ":/usr/sbin:/sbin"
    run = (args.scratch or Path(tempfile.mkdtemp(prefix="ztgate-bench-"))).resolve()
    known = contenders(run, args.ztgate, args.extra)
    args.contenders = args.contenders or ["direct", "nginx"] + (["ztgate"] if args.ztgate else [])
    for name in args.contenders:
        if name not in known:
            parser.error(f"no contender {name}; there are {', '.join(known)}")
    prepare(run)
    results = measure_all(args, known, run)
    out = args.out or run / "results.json"
    out.write_text(json.dumps(results))
    print(f"results: {out}", file=sys.stderr)
    return results


def main():
    # Ended from outside, it still ends what it started.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    parser, args = parse_arguments()
    try:
        results = merged(args.show) if args.show else measured(parser, args)
    except (OSError, RuntimeError) as error:
        sys.exit(f"bench.py: {error}")
    print_tables(results)
    if args.markdown:
        print_markdown(results)
    cells = [(name, scenario) for name, of in results.items() for scenario in of]
    failed = [f"{name} {scenario}" for name, scenario in cells if name not in medians(results, scenario)]
    if failed:
        sys.exit(f"no good round: {', '.join(failed)}")


if __name__ == "__main__":
    main()
