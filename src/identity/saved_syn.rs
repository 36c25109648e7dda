//! The proof of origin on Linux: the Ethernet source of the SYN that the kernel saved.
//!
//! ZeroTier enforces that address per member; ARP, the neighbour table and the IP source are anybody's to choose. So the
//! saved bytes are parsed strictly, and anything but a plain SYN of this very connection is no proof.

use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::BorrowedFd;

use super::{NoProof, Origin};
use crate::linux::socket;
use crate::model::Mac;

/// Reads the origin from the SYN saved by the kernel. The listener must be one of [`socket::listener`].
#[derive(Clone, Copy, Debug, Default)]
pub struct SavedSyn;

impl Origin for SavedSyn {
    fn of(&self, socket: BorrowedFd<'_>) -> Result<Mac, NoProof> {
        let peer = socket::peer(socket).map_err(|_| NoProof::Malformed("the peer is gone"))?;
        let saved = socket::saved_syn(socket).map_err(|error| match error.kind() {
            ErrorKind::InvalidInput => NoProof::Malformed("it is longer than a plain SYN can be"),
            _ => NoProof::Unsupported(error),
        })?;
        parse(&saved, peer)
    }
}

const ETHERNET: usize = 14;
const IPV4: usize = 20;
const IPV6: usize = 40;
const TCP: usize = 20;
const PROTOCOL_TCP: u8 = 6;

/// The Ethernet source of a saved SYN that opened a connection from `peer`.
///
/// The bytes are an Ethernet header, an IPv4 header without options or an IPv6 one without extensions, and a TCP header
/// with its options, and nothing else (`tcp_reqsk_record_syn` in Linux's net/ipv4/tcp_input.c).
fn parse(saved: &[u8], peer: SocketAddr) -> Result<Mac, NoProof> {
    if saved.is_empty() {
        return Err(NoProof::Cookie);
    }
    let too_short = || NoProof::Length(saved.len());
    let (ethernet, packet) = saved.split_first_chunk::<ETHERNET>().ok_or_else(too_short)?;
    let (source, tcp) = match peer.ip() {
        IpAddr::V4(_) => ipv4(ethernet, packet)?.ok_or_else(too_short)?,
        IpAddr::V6(_) => ipv6(ethernet, packet)?.ok_or_else(too_short)?,
    };
    let (header, options) = tcp.split_first_chunk::<TCP>().ok_or_else(too_short)?;
    if usize::from(header[12] >> 4) * 4 != TCP + options.len() {
        return Err(too_short());
    }
    // FIN 1, SYN 2, RST 4, PSH 8, ACK 16, URG 32; the two above are for congestion and allowed (RFC 3168).
    if header[13] & 0x3f != 0x02 {
        return Err(NoProof::Malformed("its flags are not those of a SYN"));
    }
    // A link-local peer has a scope too, which no packet carries.
    if (source, u16::from_be_bytes([header[0], header[1]])) != (peer.ip(), peer.port()) {
        return Err(NoProof::Malformed("it came from another address than the connection's"));
    }
    let [_, _, _, _, _, _, a, b, c, d, e, f, ..] = *ethernet;
    Ok(Mac::new([a, b, c, d, e, f]))
}

type SourceAndTcp<'a> = Option<(IpAddr, &'a [u8])>;

fn ipv4<'a>(ethernet: &[u8; ETHERNET], packet: &'a [u8]) -> Result<SourceAndTcp<'a>, NoProof> {
    let Some((header, tcp)) = packet.split_first_chunk::<IPV4>() else { return Ok(None) };
    if ethernet[12..] != [0x08, 0x00] || header[0] != 0x45 {
        return Err(NoProof::Malformed("it is not plain IPv4 over Ethernet"));
    }
    if header[9] != PROTOCOL_TCP {
        return Err(NoProof::Malformed("it is not TCP"));
    }
    let source: [u8; 4] = [header[12], header[13], header[14], header[15]];
    Ok(Some((source.into(), tcp)))
}

fn ipv6<'a>(ethernet: &[u8; ETHERNET], packet: &'a [u8]) -> Result<SourceAndTcp<'a>, NoProof> {
    let Some((header, tcp)) = packet.split_first_chunk::<IPV6>() else { return Ok(None) };
    if ethernet[12..] != [0x86, 0xdd] || header[0] >> 4 != 6 {
        return Err(NoProof::Malformed("it is not plain IPv6 over Ethernet"));
    }
    if header[6] != PROTOCOL_TCP {
        return Err(NoProof::Malformed("it is not TCP, or has extension headers"));
    }
    let Some(source) = header[8..].first_chunk::<16>() else { return Ok(None) };
    Ok(Some(((*source).into(), tcp)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MAC: [u8; 6] = [0xee, 0x3b, 0x08, 0xc0, 0xe3, 0x41];

    /// A SYN as the kernel saves it, with 20 bytes of TCP options.
    fn syn(peer: &str) -> Vec<u8> {
        let peer: SocketAddr = peer.parse().unwrap();
        let mut saved = vec![0xee, 0xa1, 0xc2, 0x98, 0x00, 0x98];
        saved.extend(MAC);
        match peer.ip() {
            IpAddr::V4(source) => {
                saved.extend([0x08, 0x00, 0x45, 0, 0, 60, 0, 0, 0x40, 0, 64, 6, 0, 0]);
                saved.extend(source.octets());
                saved.extend([10, 147, 20, 1]);
            }
            IpAddr::V6(source) => {
                saved.extend([0x86, 0xdd, 0x60, 0, 0, 0, 0, 40, 6, 64]);
                saved.extend(source.octets());
                saved.extend([0xfd; 16]);
            }
        }
        saved.extend(peer.port().to_be_bytes());
        saved.extend([0, 80, 1, 2, 3, 4, 0, 0, 0, 0, 10 << 4, 0x02, 0xff, 0xff, 0, 0, 0, 0]);
        saved.extend([1; 20]);
        saved
    }

    const V4: &str = "10.147.20.2:40000";
    const V6: &str = "[fd5e:2d9:cb41:c0ff:ee99:93c4:c881:2898]:40000";
    /// What a member speaks from while its other addresses are still tentative; the kernel adds the device's index.
    const LINK_LOCAL: &str = "[fe80::ec3b:8ff:fec0:e341%3]:40000";

    #[test]
    fn a_syn_of_each_family_names_its_sender() {
        for (peer, length) in [(V4, 74), (V6, 94), (LINK_LOCAL, 94)] {
            assert_eq!(syn(peer).len(), length, "as measured on a real network");
            assert_eq!(parse(&syn(peer), peer.parse().unwrap()).unwrap(), Mac::new(MAC));
        }
    }

    #[test]
    fn congestion_flags_are_allowed() {
        let mut ecn = syn(V4);
        ecn[14 + 20 + 13] |= 0xc0;
        assert!(parse(&ecn, V4.parse().unwrap()).is_ok());
    }

    #[test]
    fn any_doubt_is_no_proof() {
        // What is wrong, in whose SYN, at which byte, with which value.
        for (what, peer, at, value) in [
            ("an ethertype of ARP", V4, 13, 0x06),
            ("an ethertype of the other family", V4, 12, 0x86),
            ("a VLAN tag", V6, 12, 0x81),
            ("IP options", V4, 14, 0x46),
            ("another IP version", V4, 14, 0x65),
            ("another IP version", V6, 14, 0x45),
            ("UDP", V4, 23, 17),
            ("an extension header", V6, 20, 0),
            ("another source address", V4, 29, 3),
            ("another source address", V6, 37, 0x99),
            ("another source port", V4, 35, 0),
            ("another source port", V6, 55, 0),
            ("a TCP header longer than what is there", V4, 46, 11 << 4),
            ("a TCP header shorter than what is there", V6, 66, 9 << 4),
            ("a TCP header of no length", V4, 46, 0),
            ("a SYN-ACK", V4, 47, 0x12),
            ("a SYN with FIN", V6, 67, 0x03),
            ("no SYN at all", V4, 47, 0x00),
        ] {
            let mut saved = syn(peer);
            assert_ne!(saved[at], value, "{what} changes nothing");
            saved[at] = value;
            assert!(parse(&saved, peer.parse().unwrap()).is_err(), "{what} in {peer}");
        }
    }

    #[test]
    fn an_empty_save_is_a_syn_cookie() {
        assert!(matches!(parse(&[], V4.parse().unwrap()), Err(NoProof::Cookie)));
    }

    #[test]
    fn one_familys_syn_is_no_proof_for_the_others_peer() {
        assert!(parse(&syn(V4), V6.parse().unwrap()).is_err());
        assert!(parse(&syn(V6), V4.parse().unwrap()).is_err());
    }

    proptest! {
        #[test]
        fn cut_or_lengthened_it_is_no_proof(v6: bool, cut in 0_usize..94, more in 1_usize..40) {
            let peer = if v6 { V6 } else { V4 };
            let whole = syn(peer);
            let peer = peer.parse().unwrap();
            prop_assert!(parse(&whole[..cut.min(whole.len() - 1)], peer).is_err());
            let longer = [whole, vec![0; more]].concat();
            prop_assert!(parse(&longer, peer).is_err());
        }

        #[test]
        fn arbitrary_bytes_never_panic_and_never_prove(saved in proptest::collection::vec(any::<u8>(), 0..140)) {
            prop_assert!(parse(&saved, V4.parse().unwrap()).is_err());
            prop_assert!(parse(&saved, V6.parse().unwrap()).is_err());
        }
    }
}
