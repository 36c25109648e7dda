//! What takes minutes or gigabytes: big bodies in flat memory, thousands of connections, a killed gateway.

mod members;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::real::door::{Door, PATIENCE};
use crate::real::needs;
use crate::real::origin::{Origin, content};
use crate::real::process::soon;

const GB: u64 = 1_000_000_000;

/// A gateway may hold this much at most, and grow by this much at most while bodies pass; in KiB.
const MOST: u64 = 150 * 1024;
const GROWTH: u64 = 24 * 1024;

/// Runs a shell line, watching the gateway's memory; what the line printed, and the most that was held.
fn watched(door: &Door, line: &str) -> (String, u64) {
    let mut shell = Command::new("bash");
    shell.args(["-o", "pipefail", "-c", line]).stdin(Stdio::null()).stdout(Stdio::piped());
    let mut child = shell.spawn().unwrap();
    let mut most = 0;
    while child.try_wait().unwrap().is_none() {
        most = most.max(door.process.resident_kib());
        std::thread::sleep(Duration::from_millis(50));
    }
    let mut told = String::new();
    child.stdout.take().unwrap().read_to_string(&mut told).unwrap();
    assert!(child.wait().unwrap().success(), "{line}: {told}");
    (told, most)
}

/// Down and up, by the digest at each end.
fn passes_whole(base: impl Fn(&Door) -> String, bytes: u64) {
    let Some(_) = needs("curl") else { return };
    let (door, origin) = (Door::open(), Origin::start());
    door.serve("big", origin.address);
    let base = base(&door);
    let curl = format!("curl -sS --max-time 240 --cacert {}", door.root().display());
    // The first megabytes fill buffers and caches that stay.
    watched(&door, &format!("{curl} {base}/50000000 -o /dev/null"));
    origin.digest();
    let before = door.process.resident_kib();

    let started = Instant::now();
    let (told, down) = watched(&door, &format!("{curl} {base}/{bytes} | sha256sum"));
    assert_eq!(told.split(' ').next().unwrap(), origin.digest());
    let half = started.elapsed();

    let file = door.folder.path().join("source");
    let mut source = std::fs::File::create(&file).unwrap();
    for block in content().take(usize::try_from(bytes >> 16).unwrap()) {
        source.write_all(&block).unwrap();
    }
    let started = Instant::now();
    let up_line = format!("{curl} -T {0} {base}/up && sha256sum {0}", file.display());
    let (told, up) = watched(&door, &up_line);
    assert_eq!(told.split(' ').next().unwrap(), origin.digest());
    eprintln!("{bytes} bytes: down {half:?}, up {:?}; KiB {before}, {down}, {up}", started.elapsed());
    assert!(down.max(up) < MOST, "{before} KiB before, {down} down, {up} up");
    assert!(down.max(up) < before + GROWTH, "{before} KiB before, {down} down, {up} up");
}

#[test]
fn two_gigabytes_pass_plain_in_flat_memory() {
    passes_whole(|door| door.http("big", ""), 2 * GB);
}

#[test]
fn two_gigabytes_pass_over_tls_in_flat_memory() {
    passes_whole(|door| door.https("big", ""), 2 * GB);
}

#[test]
fn five_thousand_idle_connections_still_serve() {
    let limit = ztgate::linux::limits::raise_open_files().unwrap();
    assert!(limit > 6_000, "`ulimit -Hn` must be over 6000 here; it is {limit}");
    let door = Door::open();
    let before = door.process.resident_kib();
    let mut sockets: Vec<TcpStream> =
        (0..5_000).map(|_| TcpStream::connect(("127.0.0.1", door.port())).unwrap()).collect();
    let request = format!("GET /posters/1.svg HTTP/1.1\r\nHost: films.localhost:{}\r\n\r\n", door.port());
    // Each has served once, rests, and serves again.
    for round in 0..2 {
        // Not all at once: one device has its share of the connections to services.
        for (batch, sockets) in sockets.chunks_mut(500).enumerate() {
            for socket in &mut *sockets {
                socket.write_all(request.as_bytes()).unwrap();
            }
            for (number, socket) in sockets.iter_mut().enumerate() {
                socket.set_read_timeout(Some(PATIENCE)).unwrap();
                let answer = one_answer(socket);
                assert!(answer.starts_with("HTTP/1.1 200"), "round {round}, {batch}, {number}: {answer}");
            }
        }
        assert_eq!(door.json(&["status", "--json"])["connections"], 5_000);
    }
    let each = (door.process.resident_kib() - before) * 1024 / 5_000;
    eprintln!("{each} bytes a connection");
    // Both ends of the connection upstream count in: the sample service is in this process, and the build is for debugging.
    assert!(each < 100 * 1024, "{each} bytes a connection");
}

/// One answer with a content-length.
fn one_answer(socket: &mut TcpStream) -> String {
    let (mut answer, mut part) = (Vec::new(), [0; 8192]);
    loop {
        let count = socket.read(&mut part).unwrap();
        assert!(count > 0, "closed after {}", String::from_utf8_lossy(&answer));
        answer.extend_from_slice(&part[..count]);
        let text = String::from_utf8_lossy(&answer);
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.to_ascii_lowercase();
            let length = length.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
            if body.len() >= length.unwrap_or_else(|| panic!("no length: {head}")) {
                return text.into_owned();
            }
        }
    }
}

#[test]
fn two_hundred_paced_streams_all_go_on() {
    let (door, origin) = (Door::open(), Origin::start());
    door.serve("slow", origin.address);
    let request = format!("GET /slow/30 HTTP/1.1\r\nHost: slow.localhost:{}\r\n\r\n", door.port());
    let started = Instant::now();
    let readers: Vec<_> = (0..200)
        .map(|_| {
            let mut socket = TcpStream::connect(("127.0.0.1", door.port())).unwrap();
            socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
            socket.write_all(request.as_bytes()).unwrap();
            std::thread::spawn(move || {
                let (mut parts, mut bytes, mut part) = (0, 0, [0; 1024]);
                while bytes < 30 {
                    // A stall of 5 s is an error.
                    let count = socket.read(&mut part).unwrap();
                    assert!(count > 0, "cut off after {bytes} bytes");
                    parts += 1;
                    bytes += part[..count].iter().filter(|byte| **byte == b'.').count();
                    if parts == 1 {
                        // The head has dots of its own: versions, dates.
                        let head = part[..count].windows(4).position(|window| window == b"\r\n\r\n").unwrap();
                        bytes = count - head - 4;
                    }
                }
                parts
            })
        })
        .collect();
    for reader in readers {
        let parts = reader.join().unwrap();
        assert!(parts >= 15, "a paced stream came in {parts} parts: it was held back");
    }
    assert!(started.elapsed() < Duration::from_secs(15), "{:?}", started.elapsed());
}

#[test]
fn a_paused_reader_costs_nothing_and_goes_on() {
    let (door, origin) = (Door::open(), Origin::start());
    door.serve("big", origin.address);
    let before = door.process.resident_kib();
    let mut socket = TcpStream::connect(("127.0.0.1", door.port())).unwrap();
    let length: usize = 300_000_000;
    let request = format!("GET /{length} HTTP/1.1\r\nHost: big.localhost:{}\r\n\r\n", door.port());
    socket.write_all(request.as_bytes()).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut part = vec![0; 1 << 16];
    let mut count = socket.read(&mut part).unwrap();
    let head = part.windows(4).position(|window| window == b"\r\n\r\n").unwrap() + 4;
    let mut context = aws_lc_rs::digest::Context::new(&aws_lc_rs::digest::SHA256);
    context.update(&part[head..count]);
    let mut got = count - head;

    // Longer than any timer of the data path that is for something else: handshakes, heads, connects, answers.
    std::thread::sleep(Duration::from_secs(12));
    let held = door.process.resident_kib();
    assert!(held < before + GROWTH, "{before} KiB before, {held} while it pauses");
    while got < length {
        count = socket.read(&mut part).unwrap();
        assert!(count > 0, "cut off after {got} bytes");
        context.update(&part[..count]);
        got += count;
    }
    assert_eq!(crate::real::process::hex(context.finish().as_ref()), origin.digest());
}

#[test]
fn what_was_recorded_before_a_kill_is_there_after_it() {
    let Some(h2load) = needs("h2load") else { return };
    let door = Door::open();
    let mut load = Command::new(h2load)
        .args(["--h1", "-D", "60", "-c", "8", "-t", "1", &door.http("films", "/posters/1.svg")])
        .args(["--connect-to", &format!("127.0.0.1:{}", door.port())])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let read = || {
        let db = rusqlite::Connection::open_with_flags(
            door.audit_db(),
            rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY,
        )
        .unwrap();
        let sql = "SELECT count(*), coalesce(max(id), 0), coalesce(min(id), 1) FROM record";
        db.query_row(sql, [], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?, row.get::<_, i64>(2)?)))
            .unwrap()
    };
    assert!(soon(PATIENCE, || read().0 > 2_000), "no load: {:?}", read());
    let before = read();
    door.process.signal("KILL");
    let _ = load.kill();
    let _ = load.wait();

    let door = door.reopen();
    let db = rusqlite::Connection::open(door.audit_db()).unwrap();
    let whole: String = db.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
    assert_eq!(whole, "ok");
    let sql = "SELECT count(*), max(id), min(id) FROM record";
    let after: (i64, i64, i64) =
        db.query_row(sql, [], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?))).unwrap();
    assert!(after.0 >= before.0, "{before:?} before, {after:?} after");
    assert_eq!(after.1 - after.2 + 1, after.0, "a gap: {after:?}");
}
