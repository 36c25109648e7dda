//! Messages as a clever device would send them: calls that are fine and calls that are not, mixed, misspelt, escaped,
//! doubled and damaged.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use super::{files, property};

/// JSON with its spelling still open; keys may come twice.
#[derive(Clone, Debug)]
pub enum Said {
    Text(&'static str),
    /// Bytes, in base64.
    File(Vec<u8>),
    /// Written as it is: numbers, `null`, and what only looks like one.
    Raw(&'static str),
    List(Vec<Said>),
    Object(Vec<(&'static str, Said)>),
}

/// Nearly methods.
const MISSPELT: &[&str] = &[
    "aria2.adduri",
    "ARIA2.shutdown",
    "aria2.shutdown ",
    "aria2.shutdown\0",
    "shutdown",
    "aria2.frobnicate",
    "aria2.onDownloadStart",
    "",
];
const LINKS: &[&str] = &[
    "https://example.org/a.iso",
    "http://me:you@example.com:8080/b?c=d",
    "ftp://example.net/c",
    "magnet:?xt=urn:btih:c12fe1c06bba254a9dc9f519b335aa7c1367a88a&dn=x&tr=udp%3A%2F%2Ft.example.org%3A80",
    "http://127.0.0.1:6800/jsonrpc",
    "http://192.168.1.1/",
    "http://localhost/",
    "http://2130706433/",
    "http://[::1]/",
    "http://nas/",
    "http://example.org\\@127.0.0.1/",
    "http://a:b@127.0.0.1@example.org/",
    "magnet:?xt=urn:btih:c12fe1c06bba254a9dc9f519b335aa7c1367a88a&tr=http%3a%2f%2f192.168.1.1%2fset",
    "magnet:?xt=urn:btih:c12fe1c06bba254a9dc9f519b335aa7c1367a88a&tr=udp://nas:80",
    "file:///etc/passwd",
    "/etc/passwd",
    "http://example.org/\0@127.0.0.1/",
    "HTTP://127.0.0.1/",
    "http://0x7f.1/",
    "http://127.0.0.1.:80/",
    "",
];
const FINE: &[(&str, &str)] = &[
    ("dir", "films"),
    ("out", "a.iso"),
    ("pause", "true"),
    ("max-download-limit", "1K"),
    ("split", "3"),
    ("header", "a: b"),
    ("bt-tracker", "udp://t.example.org:80,http://t.example.org/announce"),
];
const OPTIONS: &[(&str, &str)] = &[
    ("dir", "films"),
    ("dir", "/etc"),
    ("dir", "/"),
    ("dir", "films/../.."),
    ("out", "a.iso"),
    ("out", "../a"),
    ("out", "/etc/cron.d/x"),
    ("out", "${HOME}"),
    ("pause", "true"),
    ("max-download-limit", "1K"),
    ("split", "3"),
    ("header", "a: b"),
    ("header", "a: b\r\nc: d"),
    ("bt-tracker", "http://192.168.1.1/"),
    ("bt-tracker", "https://t.example.org/,udp://nas:80"),
    ("bt-tracker", " http://127.0.0.1/"),
    ("continue", "true"),
    ("gid", "2089b05ecca3d829"),
    ("out", ".profile"),
    ("metalink-base-uri", "http://127.0.0.1/"),
    ("bt-remove-unselected-file", "true"),
    ("log", "/tmp/ztgate-never"),
    ("all-proxy", "http://127.0.0.1:2"),
    ("on-download-complete", "/bin/sh"),
    ("save-session", "/tmp/ztgate-never"),
    ("parameterized-uri", "true"),
    ("index-out", "1=../x"),
    ("allow-overwrite", "true"),
    ("DIR", "/etc"),
    ("", ""),
];
const SCALARS: &[Said] = &[
    Said::Text("a1"),
    Said::Text("2089b05ecca3d829"),
    Said::Text("POS_SET"),
    Said::Text("ZDQ6aW5mb2RlZQ=="),
    Said::Text(""),
    Said::Raw("0"),
    Said::Raw("1"),
    Said::Raw("-1"),
    Said::Raw("null"),
    Said::Raw("true"),
];
const BROKEN: &[Said] = &[
    Said::Raw("1e2"),
    Said::Raw("1.5"),
    Said::Raw("9223372036854775808"),
    Said::Raw("nul"),
    Said::Raw("01"),
    Said::Raw("[[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]]"),
];

fn tokens() -> impl Strategy<Value = Vec<Said>> {
    let token = select(&["token:s3cret", "token:x", "token:", "token:token:x", "Token:x"][..]);
    prop_oneof![3 => Just(Vec::new()), 2 => vec(token.prop_map(Said::Text), 1..4)]
}

fn links() -> impl Strategy<Value = Said> {
    let link = prop_oneof![3 => select(&LINKS[..4]), 1 => select(LINKS)];
    vec(link.prop_map(Said::Text), 0..3).prop_map(Said::List)
}

/// A value as it is, or in a list, which aria2 takes for some (RpcMethodImpl.cc, `gatherOption`).
fn options() -> BoxedStrategy<Said> {
    let option = prop_oneof![3 => select(FINE), 1 => select(OPTIONS)];
    let written = (option, 0..10).prop_map(|((name, value), form)| {
        let value = match form {
            0 => Said::List(vec![Said::Text(value)]),
            1 => Said::List(vec![Said::Text("x: y"), Said::Text(value)]),
            _ => Said::Text(value),
        };
        (name, value)
    });
    vec(written, 0..3).prop_map(Said::Object).boxed()
}

fn param() -> impl Strategy<Value = Said> {
    prop_oneof![6 => links(), 6 => options(), 12 => select(SCALARS), 1 => select(BROKEN)]
}

/// What there is, that which adds more often than the rest, and what there is not.
fn method() -> impl Strategy<Value = &'static str> {
    prop_oneof![8 => select(property::METHODS.concat()), 2 => Just("aria2.addUri"), 2 => select(MISSPELT)]
}

/// With what comes with it.
fn file() -> BoxedStrategy<(&'static str, Said)> {
    let seeds = prop_oneof![2 => Just(None), 1 => links().prop_map(Some)];
    let torrent = (files::torrent(), seeds).prop_map(|(file, seeds)| ("aria2.addTorrent", file, seeds));
    let metalink = files::metalink().prop_map(|file| ("aria2.addMetalink", file, None));
    let options = prop_oneof![1 => Just(None), 1 => options().prop_map(Some)];
    (tokens(), prop_oneof![torrent, metalink], options)
        .prop_map(|(tokens, (method, file, seeds), options)| {
            // Options stand behind web seeds.
            let seeds = seeds.or_else(|| {
                options.as_ref().filter(|_| method == "aria2.addTorrent").map(|_| Said::List(Vec::new()))
            });
            let params = [tokens, vec![Said::File(file)], Vec::from_iter(seeds), Vec::from_iter(options)];
            (method, Said::List(params.concat()))
        })
        .boxed()
}

fn params() -> BoxedStrategy<Said> {
    let a_download = || vec![Said::Text("a1")];
    let added = (links(), options()).prop_map(|(links, options)| vec![links, options]);
    let options = options().prop_map(move |options| [a_download(), vec![options]].concat());
    let global = self::options().prop_map(|options| vec![options]);
    let place = Just([a_download(), vec![Said::Raw("-1"), Said::Text("POS_CUR")]].concat());
    let links = (links(), links()).prop_map(move |(dropped, added)| {
        [a_download(), vec![Said::Raw("1"), dropped, added, Said::Raw("0")]].concat()
    });
    let any = vec(param(), 0..5);
    let wanted = prop_oneof![
        6 => added,
        2 => options,
        1 => global,
        1 => place,
        1 => links,
        2 => Just(a_download()),
        2 => Just(Vec::new()),
        6 => any,
    ];
    (tokens(), wanted).prop_map(|(tokens, wanted)| Said::List([tokens, wanted].concat())).boxed()
}

/// One in a few has something doubled or missing.
fn object(members: Vec<(&'static str, Said)>) -> impl Strategy<Value = Said> {
    let known = members.clone();
    prop_oneof![
        8 => Just(Said::Object(members.clone())),
        1 => Just(members.clone()).prop_shuffle().prop_map(Said::Object),
        1 => (select(known), param()).prop_map(move |((key, _), value)| {
            Said::Object(members.iter().cloned().chain([(key, value)]).collect())
        }),
    ]
}

fn nested() -> BoxedStrategy<Said> {
    let what = prop_oneof![4 => (method(), params()), 1 => file()];
    what.prop_flat_map(|(method, params)| {
        object(vec![("methodName", Said::Text(method)), ("params", params)])
    })
    .boxed()
}

fn multicall() -> impl Strategy<Value = (&'static str, Said)> {
    (tokens(), vec(nested(), 0..4)).prop_map(|(tokens, calls)| {
        ("system.multicall", Said::List([tokens, vec![Said::List(calls)]].concat()))
    })
}

fn call() -> BoxedStrategy<Said> {
    let id = prop_oneof![
        12 => select(&[Said::Raw("1"), Said::Text("x"), Said::Raw("null")][..]),
        1 => select(&[Said::Raw("{}"), Said::Raw("1.5")][..]),
    ];
    let what = prop_oneof![3 => (method(), params()), 1 => file(), 1 => multicall()];
    (id, what)
        .prop_flat_map(|(id, (method, params))| {
            object(vec![
                ("jsonrpc", Said::Text("2.0")),
                ("id", id),
                ("method", Said::Text(method)),
                ("params", params),
            ])
        })
        .boxed()
}

/// A message in bytes.
pub fn message() -> impl Strategy<Value = Vec<u8>> {
    let said = prop_oneof![3 => call(), 2 => vec(call(), 0..4).prop_map(Said::List)];
    let damage = prop_oneof![
        12 => Just(None),
        1 => (any::<prop::sample::Index>(), any::<u8>(), 0..3u8).prop_map(Some),
    ];
    let end = prop_oneof![
        12 => Just(""),
        1 => select(&["{}", "x", "\0", " ", r#"{"id":1,"method":"aria2.shutdown"}"#, "]"][..]),
    ];
    (said, any::<u64>(), damage, end).prop_map(|(said, seed, damage, end)| {
        let mut out = String::new();
        write(&said, &mut Spelling(seed), &mut out);
        out.push_str(end);
        let mut bytes = out.into_bytes();
        if let Some((at, byte, kind)) = damage {
            let at = at.index(bytes.len());
            match kind {
                0 => bytes[at] = byte,
                1 => bytes.insert(at, byte),
                _ => drop(bytes.remove(at)),
            }
        }
        bytes
    })
}

/// How each letter is written, by the bits of a seed.
struct Spelling(u64);

impl Spelling {
    /// Once in `n`.
    fn once_in(&mut self, n: u64) -> bool {
        // Knuth's MMIX generator; its high bits are good enough.
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33).is_multiple_of(n)
    }

    /// Once in a while without its end, or with something between.
    fn base64(&mut self, file: &[u8]) -> String {
        let text = STANDARD.encode(file);
        match (self.once_in(16), self.once_in(16)) {
            (true, _) => text.trim_end_matches('=').to_owned(),
            (_, true) => text.replacen('A', "\nA", 1),
            _ => text,
        }
    }
}

fn write(said: &Said, spelling: &mut Spelling, out: &mut String) {
    if spelling.once_in(16) {
        out.push_str(" \t\r\n");
    }
    match said {
        Said::Raw(raw) => out.push_str(raw),
        Said::Text(text) => write_text(text, spelling, out),
        Said::File(file) => write_text(&spelling.base64(file), spelling, out),
        Said::List(items) => {
            out.push('[');
            for (i, item) in items.iter().enumerate() {
                out.push_str(if i > 0 { "," } else { "" });
                write(item, spelling, out);
            }
            out.push(']');
        }
        Said::Object(members) => {
            out.push('{');
            for (i, (key, value)) in members.iter().enumerate() {
                out.push_str(if i > 0 { "," } else { "" });
                write_text(key, spelling, out);
                out.push(':');
                write(value, spelling, out);
            }
            out.push('}');
        }
    }
}

fn write_text(text: &str, spelling: &mut Spelling, out: &mut String) {
    out.push('"');
    for c in text.chars() {
        match c {
            _ if spelling.once_in(20) => out.push_str(&format!("\\u{:04x}", u32::from(c))),
            '"' | '\\' => out.extend(['\\', c]),
            '/' if spelling.once_in(4) => out.push_str("\\/"),
            _ if c.is_control() => out.push_str(&format!("\\u{:04X}", u32::from(c))),
            _ => out.push(c),
        }
    }
    out.push('"');
}
