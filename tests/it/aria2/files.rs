//! Torrents and metalinks as a clever device would send them: those that anybody may, and those that lead into the house,
//! write where they must not, or hide that they do.

use proptest::collection::vec;
use proptest::option::weighted;
use proptest::prelude::*;
use proptest::sample::{Index, select};

const SEEDS: &[&str] = &[
    "https://example.org/a.iso",
    "http://example.com:8080/b/",
    "ftp://example.net/c",
    "udp://t.example.org:80",
    "wss://nas/",
    "",
];
const INTO_THE_HOUSE: &[&str] = &[
    "http://127.0.0.1:6800/jsonrpc",
    "http://192.168.1.1/set?dns=6.6.6.6",
    "udp://nas:80",
    "HTTP://[::1]/",
    "\n http://127.0.0.1/",
    "http://",
    "http:/",
    "http://example.org\\@127.0.0.1/",
    "http://example.org@127.0.0.1/",
    "http://me:example.org@127.0.0.1@example.org/",
    "magnet:?xt=urn:btih:c12fe1c06bba254a9dc9f519b335aa7c1367a88a&tr=http%3A%2F%2F192.168.1.1%2Fset",
];
const NAMES: &[&str] = &["iso", "a.b/c.d", "127.0.0.1", "caf\u{e9}"];
const HIDDEN: &[&str] = &[".profile", ".aria2/aria2.conf", "a/.ssh/x", "a\\.ssh", "..", ""];

/// Mostly of those that are fine.
fn mostly(
    fine: &'static [&'static str],
    tricky: &'static [&'static str],
) -> impl Strategy<Value = &'static str> {
    prop_oneof![10 => select(fine), 1 => select(tricky)]
}

fn link() -> impl Strategy<Value = &'static str> {
    mostly(SEEDS, INTO_THE_HOUSE)
}

fn text(text: &str) -> String {
    format!("{}:{text}", text.len())
}

fn list<'a>(items: impl IntoIterator<Item = &'a str>) -> String {
    format!("l{}e", items.into_iter().map(text).collect::<String>())
}

type Member = (&'static str, String);

fn dict(members: &[Member]) -> String {
    format!("d{}e", members.iter().map(|(key, value)| text(key) + value).collect::<String>())
}

/// One in a few is out of order, or has something twice.
fn written(members: Vec<Member>) -> impl Strategy<Value = String> {
    let mut sorted = members;
    sorted.sort_by_key(|(key, _)| *key);
    let twice = sorted.clone();
    prop_oneof![
        20 => Just(sorted.clone()),
        1 => Just(sorted).prop_shuffle(),
        1 => any::<Index>().prop_map(move |at| {
            let at = at.index(twice.len());
            [&twice[..at], &twice[at..=at], &twice[at..]].concat()
        }),
    ]
    .prop_map(|members| dict(&members))
}

fn info() -> BoxedStrategy<String> {
    let files = vec(vec(mostly(&["a", "b.iso"], &["..", ".x", ""]), 1..3), 1..3);
    let names = (mostly(NAMES, HIDDEN), weighted(0.1, mostly(NAMES, HIDDEN)));
    let odd = prop_oneof![20 => Just("i16384e"), 1 => select(&["i0e", "i2147483648e", "i4294967296e", "i016384e", "i0.5e", "i-1e"][..])];
    (names, weighted(0.3, files), odd)
        .prop_flat_map(|((name, in_utf8), files, piece)| {
            let mut members = vec![("name", text(name)), ("piece length", piece.to_owned())];
            members.extend(in_utf8.map(|name| ("name.utf-8", text(name))));
            members.push(("pieces", text("12345678901234567890")));
            members.push(match files {
                None => ("length", "i5e".to_owned()),
                Some(files) => {
                    let file = |path: Vec<&str>| dict(&[("length", "i3e".to_owned()), ("path", list(path))]);
                    ("files", format!("l{}e", files.into_iter().map(file).collect::<String>()))
                }
            });
            written(members)
        })
        .boxed()
}

/// A torrent in bytes.
pub fn torrent() -> BoxedStrategy<Vec<u8>> {
    let seeds = prop_oneof![vec(link(), 0..3).prop_map(list), link().prop_map(text)];
    let trackers =
        vec(vec(link(), 0..3).prop_map(list), 0..3).prop_map(|tiers| format!("l{}e", tiers.concat()));
    let node = mostly(&["router.example.org"], &["192.168.1.1", " localhost", "::1"]);
    let nodes = node.prop_map(|host| format!("ll{}i6881eee", text(host)));
    let members = (
        weighted(0.3, link().prop_map(text)),
        weighted(0.3, trackers),
        weighted(0.1, nodes),
        weighted(0.4, seeds),
        info(),
        weighted(0.1, Just(text("http://192.168.1.1/"))),
    );
    let members = members.prop_flat_map(|(announce, trackers, nodes, seeds, info, comment)| {
        let members = [
            ("announce", announce),
            ("announce-list", trackers),
            ("nodes", nodes),
            ("url-list", seeds),
            ("info", Some(info)),
            ("comment", comment),
        ];
        written(members.into_iter().filter_map(|(key, value)| Some((key, value?))).collect())
    });
    let end = prop_oneof![20 => Just(""), 1 => select(&["\n", "e", "d8:announce5:x://ee"][..])];
    (members, end).prop_map(|(torrent, end)| [torrent, end.to_owned()].concat().into_bytes()).boxed()
}

/// How the letters of a text in XML are written.
#[derive(Clone, Copy, Debug)]
enum Spelt {
    Plain,
    Decimal,
    Hex,
    Section,
    Apart,
}

impl Spelt {
    fn write(self, text: &str) -> String {
        let plain = || text.replace('&', "&amp;").replace('<', "&lt;");
        let each = |write: fn(char) -> String| text.chars().map(write).collect();
        match self {
            Self::Plain => plain(),
            Self::Decimal => each(|c| format!("&#{};", u32::from(c))),
            Self::Hex => {
                each(|c| if c == ':' || c == '.' { format!("&#x{:x};", u32::from(c)) } else { c.into() })
                    .replace("&t", "&amp;t")
            }
            Self::Section => format!("<![CDATA[{text}]]>"),
            Self::Apart => plain().replacen(':', ":<!-- x -->", 1),
        }
    }
}

const SPELT: &[Spelt] = &[Spelt::Decimal, Spelt::Hex, Spelt::Section, Spelt::Apart];

fn spelt() -> impl Strategy<Value = Spelt> {
    prop_oneof![6 => Just(Spelt::Plain), 1 => select(SPELT)]
}

/// One file of a metalink; `{}` is where its links go.
const FILES_V3: &[&str] = &["<file name=\"{name}\"><resources>{links}</resources></file>"];
const FILES_V4: &[&str] = &[
    "<file name=\"{name}\"><size>5</size>{links}</file>",
    "<file\n size='>' name = '{name}' >{links}</file>",
    "<m:file xmlns:m=\"urn:ietf:params:xml:ns:metalink\" name=\"{name}\">{links}</m:file>",
];
/// aria2 takes whatever is of another namespace for a file (MetalinkParserStateV4Impl.cc).
const NEARLY_FILES: &[&str] = &[
    "<x:y xmlns:x=\"x\" name=\"{name}\">{links}</x:y>",
    "<x:y xmlns:x=\"x\" z=\"&quot;>\" name=\"{name}\">{links}</x:y>",
];
const LINKS_V3: &[&str] = &["<url type=\"http\">{link}</url>", "<url type=\"bittorrent\">{link}</url>"];
const LINKS_V4: &[&str] = &[
    "<url>{link}</url>",
    "<url priority=\"1\">{link}</url>",
    "<metaurl mediatype=\"torrent\">{link}</metaurl>",
    "<m:url xmlns:m=\"urn:ietf:params:xml:ns:metalink\">{link}</m:url>",
];
const HEADS: &[&str] = &[
    "",
    "<?xml version=\"1.0\" encoding=\"UTF-8\"?>",
    "<?xml version='1.0' encoding='utf-7'?>",
    "<?xml version='1.0' encoding='utf-7' standalone='utf-8'?>",
    "<!DOCTYPE metalink [<!ENTITY x \"http://127.0.0.1/\">]>",
];

/// A metalink in bytes.
pub fn metalink() -> BoxedStrategy<Vec<u8>> {
    any::<bool>()
        .prop_flat_map(|v4| {
            let (namespace, files, links) = match v4 {
                true => ("urn:ietf:params:xml:ns:metalink", FILES_V4, LINKS_V4),
                false => ("http://www.metalinker.org/", FILES_V3, LINKS_V3),
            };
            let link = (select(links), link(), spelt())
                .prop_map(|(form, link, spelt)| form.replace("{link}", &spelt.write(link)));
            let name =
                (mostly(NAMES, HIDDEN), prop_oneof![6 => Just(Spelt::Plain), 1 => Just(Spelt::Decimal)]);
            let file = (mostly(files, NEARLY_FILES), name, vec(link, 0..3)).prop_map(
                |(form, (name, spelt), links)| {
                    form.replace("{name}", &spelt.write(name)).replace("{links}", &links.concat())
                },
            );
            let wide = prop_oneof![20 => Just(false), 1 => Just(true)];
            (mostly(&HEADS[..2], HEADS), vec(file, 0..3), wide).prop_map(move |(head, files, wide)| {
                let text =
                    format!("{head}<metalink xmlns=\"{namespace}\">\n{}</metalink>", files_of(v4, &files));
                match wide {
                    true => text.encode_utf16().flat_map(u16::to_le_bytes).collect(),
                    false => text.into_bytes(),
                }
            })
        })
        .boxed()
}

fn files_of(v4: bool, files: &[String]) -> String {
    if v4 { files.concat() } else { format!("<files>{}</files>", files.concat()) }
}
