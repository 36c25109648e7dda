//! A network of ten thousand members: what a poll, a swap and an order cost, and that no request waits for them.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use ztgate::demo::standin::StandinMember;
use ztgate::model::{MemberId, MemberState};
use ztgate::store::{Admitted, AtController, Members, PinProof, StoredMember};

use crate::world::orders::{regroup, restore, revoke};
use crate::world::{Live, Upstream, World};

const MEMBERS: u64 = 10_000;

const ROUNDS: usize = 7;

/// The longest that a request or a stream is to stall. Told beside what was measured and not asserted: a busy machine stalls
/// whatever runs on it. The median of the rounds' longest is what the gateway itself does, for that is in every round.
const GOAL: Duration = Duration::from_millis(50);

/// A service on threads of its own, so that nothing that the roster does can hold it up: one byte each 5 ms to `/stream`,
/// two bytes to anything else.
fn service() -> Upstream {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let stream = stream.unwrap();
            thread::spawn(move || serve(stream));
        }
    });
    Upstream::Elsewhere(port)
}

/// Serves one connection until it ends.
fn serve(mut stream: TcpStream) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut lines = BufReader::new(stream.try_clone()?).lines();
    while let Some(line) = lines.next() {
        let is_stream = line?.contains("/stream");
        while !lines.next().unwrap_or(Ok(String::new()))?.is_empty() {}
        if is_stream {
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\n")?;
            loop {
                stream.write_all(b".")?;
                thread::sleep(Duration::from_millis(5));
            }
        }
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")?;
    }
    Ok(())
}

/// A device that notes its longest wait, on a thread of its own.
struct Watch {
    longest: Arc<AtomicU64>,
    answers: Arc<AtomicU64>,
    ends: Arc<AtomicBool>,
}

impl Watch {
    /// Asks again and again (`/`), or listens (`/stream`).
    fn of(world: &Live, device: &str, path: &'static str) -> Self {
        let (longest, answers, ends) =
            (Arc::<AtomicU64>::default(), Arc::<AtomicU64>::default(), Arc::<AtomicBool>::default());
        let (noted, counted, ended) = (longest.clone(), answers.clone(), ends.clone());
        let mut stream = connect(world, device);
        thread::spawn(move || {
            let request = format!("GET {path} HTTP/1.1\r\nHost: wiki.home.arpa\r\n\r\n");
            let mut answer = [0; 4096];
            stream.write_all(request.as_bytes()).unwrap();
            stream.read_exact(&mut answer[..12]).unwrap();
            assert_eq!(&answer[..12], b"HTTP/1.1 200");
            while !ended.load(Ordering::Relaxed) {
                let begin = Instant::now();
                assert!(stream.read(&mut answer).unwrap() > 0, "{path} was cut");
                if path == "/" {
                    stream.write_all(request.as_bytes()).unwrap();
                }
                noted.fetch_max(begin.elapsed().as_micros() as u64, Ordering::Relaxed);
                counted.fetch_add(1, Ordering::Relaxed);
            }
        });
        Self { longest, answers, ends }
    }

    /// The longest wait since this was asked last; it must have been answered meanwhile.
    fn longest(&self) -> Duration {
        assert!(self.answers.swap(0, Ordering::Relaxed) > 0, "nothing was answered meanwhile");
        Duration::from_micros(self.longest.swap(0, Ordering::Relaxed))
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.ends.store(true, Ordering::Relaxed);
    }
}

fn connect(world: &Live, device: &str) -> TcpStream {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::new(world.from(device).source, 0).into()).unwrap();
    socket.connect(&SocketAddr::from(([127, 0, 0, 1], world.http_port())).into()).unwrap();
    socket.set_tcp_nodelay(true).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    socket.into()
}

/// Ten thousand more that the controller knows, and the gateway since long ago: their identities, made up here, count as
/// proved.
fn crowd(world: &Live) {
    let now = jiff::Timestamp::now();
    let (mut store, _) = Members::open(&world.state_dir()).unwrap();
    let mut roster = store.load(world.network().change(|net| net.network)).unwrap().unwrap();
    for number in 1..=MEMBERS {
        let id: MemberId = format!("{:010x}", 0x10_0000_0000 + number * 7919).parse().unwrap();
        let identity = format!("{id}:0:{}", format!("{number:016x}").repeat(8));
        let address = std::net::Ipv4Addr::from_bits(0x0a80_0000 + u32::try_from(number).unwrap()).into();
        let name = format!("thing-{number}");
        roster.members.push(StoredMember {
            state: MemberState::Active,
            at_controller: AtController::Authorized,
            identity: Some(identity.clone()),
            proof: PinProof::Proven,
            admitted: Some(Admitted::Adopted),
            label: Some(name.clone()),
            assigned: vec![address],
            ..StoredMember::unheard(id, now)
        });
        let member = StandinMember::new(&identity).named(&name).at(address).authorized();
        world.network().change(|net| net.members.push(member));
    }
    roster.members.sort_by_key(|member| member.id);
    store.save(&roster, &[]).unwrap();
}

fn resident_mib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() / 1024
}

#[tokio::test]
async fn requests_go_on_while_ten_thousand_members_are_polled_and_put_in_force() {
    let mut world = World::new()
        .member("red-phone")
        .member("laptop")
        .member("tv")
        .service("wiki", service())
        .allow("red-phone", "wiki")
        .allow("laptop", "wiki")
        .start()
        .await;
    world.stop().await;
    let before = resident_mib();
    crowd(&world);
    let begin = Instant::now();
    world.restart().await;
    let started = begin.elapsed();
    world.look().await.unwrap();

    let (asking, listening) = (Watch::of(&world, "red-phone", "/"), Watch::of(&world, "laptop", "/stream"));
    // The longest request, and the longest pause of the stream.
    let longest = || [asking.longest(), listening.longest()];
    let (mut resting, mut polls, mut polling, mut orders, mut swapping) = Default::default();
    for round in 0..ROUNDS {
        tokio::time::sleep(Duration::from_millis(500)).await;
        note(&mut resting, longest());
        let begin = Instant::now();
        assert!(world.look().await.unwrap().plan.is_empty());
        note(&mut polls, [begin.elapsed()]);
        note(&mut polling, longest());
        let begin = Instant::now();
        let (add, remove): (&[&str], &[&str]) =
            if round % 2 == 0 { (&["family"], &[]) } else { (&[], &["family"]) };
        world.order(regroup("tv", add, remove)).await;
        note(&mut orders, [begin.elapsed()]);
        world.order(if round % 2 == 0 { revoke("tv") } else { restore("tv") }).await;
        note(&mut swapping, longest());
    }
    for (what, waits) in
        [("at rest", &resting), ("while it polls", &polling), ("while orders are carried out", &swapping)]
    {
        let [(asked, most), (paused, longest)] =
            [0, 1].map(|of| (median(&waits[of]), waits[of].iter().max().unwrap()));
        eprintln!(
            "{what}: requests wait {asked:?} at most (median of {ROUNDS} rounds; {most:?}), a stream {paused:?} ({longest:?})"
        );
    }
    eprintln!(
        "{MEMBERS} members: start {started:?}, poll {:?}, order {:?}, {before} -> {} MiB with the stand-in's own",
        median(&polls[0]),
        median(&orders[0]),
        resident_mib()
    );
    let longest = polling.iter().chain(&swapping).map(|waits| median(waits)).max().unwrap();
    eprintln!("goal: {GOAL:?}; the longest median is {longest:?}");
}

/// Keeps what each of some values was in each round.
fn note<const N: usize>(rounds: &mut [Vec<Duration>; N], values: [Duration; N]) {
    for (round, value) in rounds.iter_mut().zip(values) {
        round.push(value);
    }
}

fn median(values: &[Duration]) -> Duration {
    let mut sorted = values.to_vec();
    sorted.sort_unstable();
    sorted[sorted.len() / 2]
}
