//! What aria2 may be told to fetch: schemes that it knows, and no host of the house unless the configuration says so.
//!
//! A link is taken only in a spelling that aria2 (uri_split.c) and we must read alike: one `@` at most, no escapes in the
//! host, addresses as they are usually written. What a public name resolves to, where a server redirects to, and which
//! peers a torrent has is not seen from here.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::refusal::Refusal;

/// What a link is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Use {
    /// Something to download, mirrors and web seeds too.
    Download,
    /// A tracker of BitTorrent.
    Tracker,
}

/// Longer than any link that servers take.
const LONGEST: usize = 16 * 1024;

/// Judges one link; `private` says whether hosts of the house may be asked.
///
/// # Errors
/// It is no link that aria2 and we surely read alike, or it leads into the house.
pub fn judge(link: &str, to: Use, private: bool) -> Result<(), Refusal> {
    if link.len() > LONGEST || link.chars().any(|c| c.is_control() || c.is_whitespace()) {
        return Err(Refusal::not_offered("a link with spaces or control characters, or far too long"));
    }
    if let (Use::Download, Some(query)) = (to, link.strip_prefix("magnet:?")) {
        return judge_magnet(query, private);
    }
    let Some((scheme, rest)) = link.split_once("://") else {
        return Err(Refusal::not_offered("expected a link such as https://… or magnet:?…"));
    };
    let known: &[&str] = match to {
        Use::Download => &["http", "https", "ftp", "sftp"],
        Use::Tracker => &["http", "https", "udp"],
    };
    // aria2 knows schemes in lower case only.
    if !known.contains(&scheme) {
        let magnet = if to == Use::Download { ", or with magnet:?" } else { "" };
        return Err(Refusal::not_offered(format!(
            "links begin with {}://, in lower case{magnet}",
            known.join("://, ")
        )));
    }
    judge_authority(authority(rest), private)
}

/// Judges a link within a file: what aria2 does not fetch by is passed over. A magnet link's trackers are judged as everywhere.
///
/// # Errors
/// It leads into the house, or is spelt so that it may.
pub fn judge_inside(link: &str, private: bool) -> Result<(), Refusal> {
    let fetched = ["http", "https", "ftp", "sftp", "udp"];
    if link.starts_with("magnet:?") {
        return if private { Ok(()) } else { judge(link, Use::Download, private) };
    }
    match link.split_once("://") {
        Some((scheme, rest)) if !private && fetched.contains(&scheme.to_ascii_lowercase().as_str()) => {
            judge_authority(authority(rest), private)
        }
        _ => Ok(()),
    }
}

fn authority(behind_scheme: &str) -> &str {
    behind_scheme.find(['/', '?', '#']).map_or(behind_scheme, |end| &behind_scheme[..end])
}

/// `urn:btih:…` names what is wanted; trackers are the only hosts that aria2 takes from it (bittorrent_helper.cc,
/// `parseMagnet`).
fn judge_magnet(query: &str, private: bool) -> Result<(), Refusal> {
    let fields = || query.split('&').map(|field| field.split_once('=').unwrap_or((field, "")));
    if !fields().any(|(name, value)| name == "xt" && value.starts_with("urn:btih:")) {
        return Err(Refusal::not_offered("this magnet link names no torrent (xt=urn:btih:…)"));
    }
    for (_, tracker) in fields().filter(|(name, _)| *name == "tr") {
        let Some(tracker) = decode(tracker) else {
            return Err(Refusal::not_offered("a tracker in this magnet link is no text"));
        };
        judge(&tracker, Use::Tracker, private)?;
    }
    Ok(())
}

/// Percent-escapes undone; an escape that is none stays as it is, as aria2 has it (util.cc, `percentDecode`).
pub fn decode(text: &str) -> Option<String> {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        let hex = |offset: usize| bytes.get(at + offset).and_then(|b| char::from(*b).to_digit(16));
        match (byte, hex(1), hex(2)) {
            (b'%', Some(high), Some(low)) => {
                out.push((high * 16 + low) as u8);
                at += 3;
            }
            _ => {
                out.push(byte);
                at += 1;
            }
        }
    }
    String::from_utf8(out).ok()
}

fn judge_authority(authority: &str, private: bool) -> Result<(), Refusal> {
    let (user, place) = match authority.split_once('@') {
        Some((user, place)) => (Some(user), place),
        None => (None, authority),
    };
    let plain_user = |user: &str| {
        let escaped = |b: u8| b.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=%:".contains(&b);
        user.bytes().all(escaped)
            && !user.starts_with(':')
            && !user.is_empty()
            && user.matches(':').count() < 2
    };
    if !user.is_none_or(plain_user) {
        return Err(Refusal::not_offered("user and password of a link must be percent-escaped"));
    }
    let (host, port) = split_port(place);
    if !port.is_none_or(|port| port.parse::<u16>().is_ok_and(|number| number > 0) && !port.starts_with('+')) {
        return Err(Refusal::not_offered("the port of a link must be a number from 1 to 65535"));
    }
    match host_of(host)? {
        _ if private => Ok(()),
        Host::Address(address) if is_public(address) => Ok(()),
        Host::Name(name) if is_public_name(&name) => Ok(()),
        _ => Err(Refusal::not_offered(format!(
            "{host} is within the house or on aria2's own machine; if it may be fetched from, \
             set private_targets = true for this service in ztgate.toml"
        ))),
    }
}

fn split_port(place: &str) -> (&str, Option<&str>) {
    let host_end = place.rfind(']').unwrap_or(0);
    match place[host_end..].find(':') {
        Some(colon) => (&place[..host_end + colon], Some(&place[host_end + colon + 1..])),
        None => (place, None),
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Host {
    Address(IpAddr),
    /// In lower case, without a dot at the end.
    Name(String),
}

fn host_of(host: &str) -> Result<Host, Refusal> {
    let odd =
        || Refusal::not_offered("the host of this link is spelt in a way that programs read differently");
    if let Some(inside) = host.strip_prefix('[') {
        let address = inside.strip_suffix(']').and_then(|inside| inside.parse::<Ipv6Addr>().ok());
        return address.map(|v6| Host::Address(v6.into())).ok_or_else(odd);
    }
    let name = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_');
    if name.len() > 253 || name.split('.').any(|label| label.is_empty() || !label.bytes().all(plain)) {
        return Err(odd());
    }
    // Whatever ends in a number is an address to inet_aton(3): 127.1, 0x7f000001, 2130706433, 0177.0.0.1.
    let last = name.rsplit('.').next().unwrap_or_default();
    let hex = last.strip_prefix("0x").is_some_and(|digits| digits.bytes().all(|b| b.is_ascii_hexdigit()));
    if hex || last.bytes().all(|b| b.is_ascii_digit()) {
        // Rust takes four decimal numbers without leading zeros, and nothing else.
        return host.parse::<Ipv4Addr>().map(|v4| Host::Address(v4.into())).map_err(|_| odd());
    }
    Ok(Host::Name(name))
}

/// Whether an address belongs to the internet, by the special-purpose registries of IANA.
fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => is_public_v4(v4),
        IpAddr::V6(v6) => is_public_v6(v6),
    }
}

fn is_public_v4(v4: Ipv4Addr) -> bool {
    let special = v4.is_private() || v4.is_loopback() || v4.is_link_local() || v4.is_documentation();
    let reserved = match v4.octets() {
        [0, ..] | [224..=255, ..] => true,
        [100, second, ..] => second & 0xc0 == 64,
        [192, 0, 0, _] | [192, 88, 99, _] => true,
        [198, second, ..] => second & 0xfe == 18,
        _ => false,
    };
    !special && !reserved
}

fn is_public_v6(v6: Ipv6Addr) -> bool {
    let s = v6.segments();
    let embedded =
        |high: u16, low: u16| is_public_v4(Ipv4Addr::from((u32::from(high) << 16) | u32::from(low)));
    match s {
        // IPv4-mapped (RFC 4291) and NAT64 (RFC 6052) mean the IPv4 address at their end, 6to4 (RFC 3056) one at its start.
        [0, 0, 0, 0, 0, 0xffff, high, low] | [0x64, 0xff9b, 0, 0, 0, 0, high, low] => embedded(high, low),
        [0x2002, high, low, ..] => embedded(high, low),
        // Teredo, ORCHID and benchmarks; documentation (RFC 3849, RFC 9637).
        [0x2001, 0..=0x1ff, ..] | [0x2001, 0xdb8, ..] | [0x3fff, 0..=0xfff, ..] => false,
        // ISATAP (RFC 5214) carries an IPv4 address behind any prefix.
        [_, _, _, _, 0 | 0x200, 0x5efe, high, low] => embedded(high, low) && s[0] & 0xe000 == 0x2000,
        // All that is handed out so far; local, link-local, multicast and unspecified addresses lie elsewhere.
        [first, ..] => first & 0xe000 == 0x2000,
    }
}

/// Whether a public server may have that name: not those of RFC 6761, RFC 6762, RFC 8375, ICANN's `internal`, and what
/// routers make up. Top-level domains have letters only, or begin with `xn--` (RFC 3696, section 2; RFC 5890).
fn is_public_name(name: &str) -> bool {
    const HOUSE: &[&str] = &[
        "alt",
        "arpa",
        "corp",
        "example",
        "home",
        "internal",
        "intranet",
        "invalid",
        "lan",
        "local",
        "localdomain",
        "localhost",
        "onion",
        "private",
        "test",
    ];
    let is_top = |last: &str| last.starts_with("xn--") || last.bytes().all(|b| b.is_ascii_alphabetic());
    name.rsplit_once('.').is_some_and(|(_, last)| is_top(last) && !HOUSE.contains(&last))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn may(link: &str, private: bool) -> bool {
        judge(link, Use::Download, private).is_ok()
    }

    const HASH: &str = "magnet:?xt=urn:btih:c12fe1c06bba254a9dc9f519b335aa7c1367a88a";

    #[test]
    fn links_into_the_world_may_be_fetched() {
        for link in [
            "https://example.org/a.iso",
            "http://example.org",
            "http://example.org.:8080/a?b=c#d",
            "ftp://me:p%40ss@ftp.example.org/x/",
            "sftp://me@example.org/x",
            "https://93.184.216.34/é.iso",
            "https://[2606:4700::1111]:8443/",
            "http://[::ffff:8.8.8.8]/",
            "http://a_b.example.org/[1]/{x}",
            "http://example.xn--p1ai/",
            "http://example.org/http://127.0.0.1/",
            HASH,
            &format!("{HASH}&dn=a&tr=udp%3A%2F%2Ftracker.example.org%3A80&tr=http://t.example.org/announce"),
        ] {
            assert!(may(link, false), "{link}: {:?}", judge(link, Use::Download, false));
        }
    }

    #[test]
    fn links_into_the_house_take_a_word_of_the_configuration() {
        for host in [
            "127.0.0.1",
            "127.1.2.3:6800",
            "10.0.0.1",
            "172.31.0.1",
            "192.168.1.1",
            "169.254.169.254",
            "100.64.0.1",
            "0.0.0.0",
            "224.0.0.1",
            "255.255.255.255",
            "198.18.0.1",
            "192.0.0.8",
            "[::1]",
            "[::]",
            "[fe80::1]",
            "[fd00::1]",
            "[ff02::1]",
            "[::ffff:127.0.0.1]",
            "[::ffff:c0a8:101]",
            "[64:ff9b::7f00:1]",
            "[64:ff9b:1::7f00:1]",
            "[2002:7f00:1::]",
            "[2001:0:1::1]",
            "[2606:4700::5efe:127.0.0.1]",
            "[::7f00:1]",
            "localhost",
            "LOCALHOST.",
            "a.localhost",
            "nas",
            "router.local",
            "x.lan",
            "x.home.arpa",
            "x.internal",
            "1.0.0.127.in-addr.arpa",
            "x.onion",
            "nas.lan2",
            "example.com8080",
            "nas.my-home",
        ] {
            for link in [format!("http://{host}/x"), format!("https://me:you@{host}/x")] {
                assert!(!may(&link, false), "{link}");
                assert!(may(&link, true), "{link}");
            }
        }
        let tracker = format!("{HASH}&tr=http%3a%2f%2f192.168.1.1%2Fadmin");
        assert!(!may(&tracker, false) && may(&tracker, true));
    }

    #[test]
    fn what_could_be_read_differently_is_never_fetched() {
        for link in [
            "",
            "a.iso",
            "/etc/passwd",
            "file:///etc/passwd",
            "HTTP://example.org/",
            "gopher://example.org/",
            "udp://example.org/",
            "http:///x",
            "http://",
            "http://:80/",
            "http://@example.org/",
            "http://:x@example.org/",
            "http://a@b@example.org/",
            "http://a:b:c@example.org/",
            "http://a:b@127.0.0.1@example.org/",
            "http://example.org:0/",
            "http://example.org:/",
            "http://example.org:65536/",
            "http://example.org:+80/",
            "http://example.org\\@127.0.0.1/",
            "http://127.1/",
            "http://2130706433/",
            "http://0x7f000001/",
            "http://0177.0.0.1/",
            "http://0x7f.0.0.1/",
            "http://127.0.0.1./",
            "http://127.0.0.01/",
            "http://1.2.3/",
            "http://1.2.3.4.5/",
            "http://example.0x7f/",
            "http://[::1%25eth0]/",
            "http://[::1",
            "http://[::1]x/",
            "http://[127.0.0.1]/",
            "http://a..b/",
            "http://exa%6dple.org/",
            "http://１２７.0.0.1/",
            "http://{example.org,127.0.0.1}/",
            "http://[a-b].org/",
            "http://example.org/a b",
            "http://example.org/\n",
            "http://example.org/\0",
            "http://example.org\t/",
            "http://example.org/\u{85}",
            "magnet:?dn=x",
            "magnet:",
            "MAGNET:?xt=urn:btih:x",
            " http://example.org/",
        ] {
            assert!(!may(link, true), "{link:?}");
        }
    }

    #[test]
    fn a_tracker_is_asked_by_udp_too_but_is_no_magnet() {
        assert!(judge("udp://t.example.org:80", Use::Tracker, false).is_ok());
        for link in [HASH, "ftp://t.example.org/", "udp://192.168.1.1:80", "wss://t.example.org/"] {
            assert!(judge(link, Use::Tracker, false).is_err(), "{link}");
        }
    }
}
