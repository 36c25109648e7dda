//! How the gateway speaks TLS to devices.

use std::sync::Arc;

use rustls::crypto::aws_lc_rs::{Ticketer, default_provider};
use rustls::server::ResolvesServerCert;
use rustls::{ServerConfig, version};

use super::{CurrentCertificates, StrangerCertificates};
use crate::model::TlsVersion;

/// Which HTTP versions a handshake offers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Alpn {
    /// HTTP/2 before HTTP/1.1.
    #[default]
    Http2,
    /// HTTP/1.1 only, for services whose clients break on HTTP/2.
    Http1,
}

impl Alpn {
    fn protocols(self) -> Vec<Vec<u8>> {
        match self {
            Self::Http2 => vec![b"h2".to_vec(), b"http/1.1".to_vec()],
            Self::Http1 => vec![b"http/1.1".to_vec()],
        }
    }
}

/// How handshakes for one name go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Handshake {
    pub alpn: Alpn,
    /// Older versions end with an alert that says so.
    pub oldest: TlsVersion,
}

/// Every way to shake hands, made once: to choose one for a handshake costs a look at a table.
#[derive(Clone, Debug)]
pub struct ServerConfigs {
    http2: [Arc<ServerConfig>; 2],
    http1: [Arc<ServerConfig>; 2],
    strangers: Arc<ServerConfig>,
}

impl ServerConfigs {
    /// # Errors
    /// Only if the system gives no random bytes for the ticket keys.
    pub fn new(certificates: &Arc<CurrentCertificates>) -> Result<Self, rustls::Error> {
        let all = |alpn| -> Result<_, rustls::Error> {
            let of = |oldest| server_config(certificates.clone(), Handshake { alpn, oldest });
            Ok([of(TlsVersion::V1_2)?, of(TlsVersion::V1_3)?])
        };
        let strangers = Arc::new(StrangerCertificates(certificates.clone()));
        Ok(Self {
            http2: all(Alpn::Http2)?,
            http1: all(Alpn::Http1)?,
            strangers: server_config(strangers, Handshake::default())?,
        })
    }

    pub fn get(&self, handshake: Handshake) -> &Arc<ServerConfig> {
        let [from_1_2, from_1_3] = match handshake.alpn {
            Alpn::Http2 => &self.http2,
            Alpn::Http1 => &self.http1,
        };
        match handshake.oldest {
            TlsVersion::V1_2 => from_1_2,
            TlsVersion::V1_3 => from_1_3,
        }
    }

    /// For devices that are not let in: the same for every name, so that it tells none.
    pub fn strangers(&self) -> &Arc<ServerConfig> {
        &self.strangers
    }
}

/// TLS 1.3 and, unless forbidden, 1.2 with these certificates; X25519MLKEM768 is the preferred key exchange where both know it.
///
/// Sessions resume by encrypted tickets alone (keys change every six hours), so connections share no session cache.
/// There is no early data: a replayed request would be carried out twice.
///
/// # Errors
/// Only if the system gives no random bytes for the ticket key.
fn server_config(
    certificates: Arc<dyn ResolvesServerCert>,
    handshake: Handshake,
) -> Result<Arc<ServerConfig>, rustls::Error> {
    let versions: &[_] = match handshake.oldest {
        TlsVersion::V1_2 => &[&version::TLS13, &version::TLS12],
        TlsVersion::V1_3 => &[&version::TLS13],
    };
    let mut config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_protocol_versions(versions)?
        .with_no_client_auth()
        .with_cert_resolver(certificates);
    config.alpn_protocols = handshake.alpn.protocols();
    config.ticketer = Ticketer::new()?;
    config.send_tls13_tickets = 1;
    config.session_storage = Arc::new(rustls::server::NoServerSessionStorage {});
    Ok(Arc::new(config))
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;
    use std::process::Stdio;

    use crate::linux::clock::SystemClock;
    use crate::model::Clock;
    use rustls::pki_types::ServerName;
    use rustls::{ClientConfig, NamedGroup, ProtocolVersion, RootCertStore};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;
    use crate::ca::{Ca, Certificates};

    struct Server {
        dir: tempfile::TempDir,
        ca: Arc<Ca>,
        config: Arc<ServerConfig>,
    }

    fn server(alpn: Alpn) -> Server {
        server_from(Handshake { alpn, ..Handshake::default() })
    }

    fn server_from(handshake: Handshake) -> Server {
        let dir = tempfile::tempdir().unwrap();
        let now = SystemClock.now();
        let ca = Ca::open_or_create(dir.path(), &"home.arpa".parse().unwrap(), now).unwrap();
        let ca = Arc::new(ca);
        let names = ["wiki.home.arpa"];
        let certificates = Certificates::issued(ca.clone(), names, Arc::new(SystemClock)).unwrap();
        Server { dir, ca, config: server_config(Arc::new(certificates), handshake).unwrap() }
    }

    fn client(server: &Server, versions: &[&'static rustls::SupportedProtocolVersion]) -> ClientConfig {
        let mut roots = RootCertStore::empty();
        roots.add(server.ca.root().clone()).unwrap();
        let mut config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
            .with_protocol_versions(versions)
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = Alpn::Http2.protocols();
        config
    }

    /// Shakes hands in memory; gives what was agreed on.
    fn shake(
        server: &Server,
        client: &Arc<ClientConfig>,
        name: &'static str,
    ) -> Result<(rustls::ClientConnection, rustls::ServerConnection), rustls::Error> {
        let name = ServerName::try_from(name).unwrap();
        let mut client = rustls::ClientConnection::new(client.clone(), name)?;
        let mut server = rustls::ServerConnection::new(server.config.clone())?;
        for _ in 0..6 {
            let mut wire = Vec::new();
            while client.wants_write() {
                client.write_tls(&mut wire).unwrap();
            }
            let mut from = wire.as_slice();
            while !from.is_empty() {
                server.read_tls(&mut from).unwrap();
                server.process_new_packets()?;
            }
            let mut wire = Vec::new();
            while server.wants_write() {
                server.write_tls(&mut wire).unwrap();
            }
            let mut from = wire.as_slice();
            while !from.is_empty() {
                client.read_tls(&mut from).unwrap();
                client.process_new_packets()?;
            }
        }
        assert!(!client.is_handshaking() && !server.is_handshaking());
        Ok((client, server))
    }

    #[test]
    fn the_newest_version_group_and_protocol_are_agreed_on() {
        for (alpn, agreed) in [(Alpn::Http2, &b"h2"[..]), (Alpn::Http1, b"http/1.1")] {
            let server = server(alpn);
            let config = Arc::new(client(&server, &[&version::TLS13, &version::TLS12]));
            let (client, _) = shake(&server, &config, "wiki.home.arpa").unwrap();
            assert_eq!(client.protocol_version(), Some(ProtocolVersion::TLSv1_3));
            assert_eq!(client.alpn_protocol(), Some(agreed));
            let group = client.negotiated_key_exchange_group().unwrap().name();
            assert_eq!(group, NamedGroup::X25519MLKEM768);
        }
    }

    #[test]
    fn sessions_resume_by_ticket_in_both_versions() {
        for version in [&version::TLS13, &version::TLS12] {
            let server = server(Alpn::Http2);
            let config = Arc::new(client(&server, &[version]));
            let kinds =
                [(); 2].map(|()| shake(&server, &config, "wiki.home.arpa").unwrap().0.handshake_kind());
            assert_eq!(kinds[0], Some(rustls::HandshakeKind::Full), "{version:?}");
            assert_eq!(kinds[1], Some(rustls::HandshakeKind::Resumed), "{version:?}");
        }
    }

    #[test]
    fn a_ticket_is_void_after_half_a_day_and_opens_no_stricter_door() {
        let [loose, strict] = [TlsVersion::V1_2, TlsVersion::V1_3]
            .map(|oldest| server_from(Handshake { oldest, ..Handshake::default() }));
        // Twice the six hours that each key makes tickets for.
        assert_eq!(loose.config.ticketer.lifetime(), 12 * 60 * 60);
        let ticket = loose.config.ticketer.encrypt(b"session").unwrap();
        assert_eq!(loose.config.ticketer.decrypt(&ticket).as_deref(), Some(&b"session"[..]));
        assert_eq!(strict.config.ticketer.decrypt(&ticket), None);
        let old = Arc::new(client(&strict, &[&version::TLS12]));
        let refused = shake(&strict, &old, "wiki.home.arpa").unwrap_err();
        assert!(matches!(refused, rustls::Error::PeerIncompatible(_)), "{refused:?}");
    }

    #[test]
    fn an_unknown_name_completes_only_for_who_does_not_check_it() {
        let server = server(Alpn::Http2);
        let config = Arc::new(client(&server, &[&version::TLS13]));
        let refused = shake(&server, &config, "other.home.arpa").unwrap_err();
        assert!(matches!(refused, rustls::Error::InvalidCertificate(_)), "{refused:?}");
        shake(&server, &config, "gate.home.arpa").unwrap();
    }

    #[tokio::test]
    async fn curl_trusts_the_root_for_the_zone() {
        let server = server(Alpn::Http1);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let acceptor = tokio_rustls::TlsAcceptor::from(server.config.clone());
        let serve = tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                // A client that refuses our certificate ends the handshake; the next one may not.
                let Ok(mut stream) = acceptor.accept(socket).await else { continue };
                let mut head = [0; 1024];
                let _ = stream.read(&mut head).await;
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello").await;
                let _ = stream.shutdown().await;
            }
        });
        let root: PathBuf = server.dir.path().join("certs/root.pem");
        for (name, fine) in [("wiki.home.arpa", true), ("example.org", false)] {
            let mut curl = std::process::Command::new("curl");
            curl.args(["--silent", "--show-error", "--max-time", "10", "--noproxy", "*", "--cacert"])
                .arg(&root)
                .args(["--resolve", &format!("{name}:{port}:127.0.0.1"), &format!("https://{name}:{port}/")])
                .stdin(Stdio::null());
            let Ok(output) = tokio::task::spawn_blocking(move || curl.output()).await.unwrap() else {
                eprintln!("skipped: no curl on this machine (apt install curl)");
                break;
            };
            let said = String::from_utf8_lossy(&output.stderr);
            assert_eq!(output.status.success(), fine, "{name}: {said}");
            assert_eq!(output.stdout == b"hello", fine, "{name}");
        }
        serve.abort();
    }
}
