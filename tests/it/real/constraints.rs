//! What a thief of the CA's keys could sign, as real clients that trust the root see it: a name in the zone opens, and neither
//! a name outside nor an IP address does.

use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, SanType};
use rustls::crypto::aws_lc_rs::default_provider;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use ztgate::ca::{self, Ca};
use ztgate::linux::clock::SystemClock;
use ztgate::model::Clock;

use super::browser::Browser;
use super::needs;

/// A name, who signed its leaf, and whether a device may believe that.
const CASES: [(&str, Signer, bool); 6] = [
    ("wiki.localhost", Signer::Intermediate, true),
    ("bank.test", Signer::Intermediate, false),
    ("127.0.0.1", Signer::Intermediate, false),
    // With the root's key, too, one can make an intermediate that is confined to nothing.
    ("wiki.localhost", Signer::Unconfined, true),
    ("bank.test", Signer::Unconfined, false),
    ("127.0.0.1", Signer::Unconfined, false),
];

#[derive(Clone, Copy, Debug)]
enum Signer {
    Intermediate,
    Unconfined,
}

/// A CA made by the gateway, and its keys in a thief's hands.
struct Thief {
    dir: tempfile::TempDir,
}

impl Thief {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        Ca::open_or_create(dir.path(), &"localhost".parse().unwrap(), SystemClock.now()).unwrap();
        Self { dir }
    }

    fn root(&self) -> std::path::PathBuf {
        self.dir.path().join("certs/root.pem")
    }

    fn signer(&self, signer: Signer) -> (CertificateDer<'static>, Issuer<'static, KeyPair>) {
        let read = |file: &Path| {
            let text = std::fs::read_to_string(file).unwrap();
            (CertificateDer::from_pem_slice(text.as_bytes()), KeyPair::from_pem(&text))
        };
        match signer {
            Signer::Intermediate => {
                let (certificate, key) = read(&ca::issuer_file(self.dir.path()));
                let certificate = certificate.unwrap();
                (certificate.clone(), Issuer::from_ca_cert_der(&certificate, key.unwrap()).unwrap())
            }
            Signer::Unconfined => {
                let root_key = read(&self.dir.path().join("certs/root/root.key")).1.unwrap();
                let root = Issuer::from_ca_cert_der(&read(&self.root()).0.unwrap(), root_key).unwrap();
                let key = KeyPair::generate().unwrap();
                let mut params = CertificateParams::default();
                params.distinguished_name.push(rcgen::DnType::CommonName, "unconfined");
                params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
                params.key_usages = vec![rcgen::KeyUsagePurpose::KeyCertSign];
                params.use_authority_key_identifier_extension = true;
                lasting(&mut params);
                let certificate = params.signed_by(&key, &root).unwrap();
                (certificate.der().clone(), Issuer::new(params, key))
            }
        }
    }

    /// A server that shows such a leaf; its port, and the leaf and its intermediate as PEM files.
    fn serve(&self, name: &str, signer: Signer) -> u16 {
        let (intermediate, issuer) = self.signer(signer);
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.subject_alt_names = vec![match name.parse() {
            Ok(address) => SanType::IpAddress(address),
            Err(_) => SanType::DnsName(name.try_into().unwrap()),
        }];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        lasting(&mut params);
        let leaf = params.signed_by(&key, &issuer).unwrap().der().clone();
        let config = rustls::ServerConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![leaf, intermediate], PrivateKeyDer::try_from(key.serialize_der()).unwrap())
            .unwrap();
        listen(Arc::new(config))
    }
}

fn lasting(params: &mut CertificateParams) {
    let day = |days: i64| {
        let at = SystemClock.now().as_second() + days * 86_400;
        rcgen::date_time_ymd(1970, 1, 1) + Duration::from_secs(at as u64)
    };
    (params.not_before, params.not_after) = (day(-1), day(90));
}

/// Answers each connection on a port of loopback with one page.
fn listen(config: Arc<rustls::ServerConfig>) -> u16 {
    use std::io::{Read, Write};
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for socket in listener.incoming().flatten() {
            let config = config.clone();
            std::thread::spawn(move || {
                let tls = rustls::ServerConnection::new(config).unwrap();
                let mut stream = rustls::StreamOwned::new(tls, socket);
                let mut head = [0; 4096];
                // A client that refuses the certificate says so, and no more.
                if stream.read(&mut head).is_ok() {
                    let page = "<p>believed</p>";
                    let _ = write!(
                        stream,
                        "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{page}",
                        page.len()
                    );
                }
                stream.conn.send_close_notify();
                let _ = stream.flush();
            });
        }
    });
    port
}

#[test]
fn curl_and_openssl_believe_names_in_the_zone_alone() {
    let (Some(curl), Some(openssl)) = (needs("curl"), needs("openssl")) else { return };
    let thief = Thief::new();
    for (name, signer, believed) in CASES {
        let port = thief.serve(name, signer);
        let output = Command::new(&curl)
            .args(["--silent", "--show-error", "--max-time", "20", "--noproxy", "*", "--cacert"])
            .arg(thief.root())
            .args(["--resolve", &format!("{name}:{port}:127.0.0.1"), &format!("https://{name}:{port}/")])
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.success(), believed, "curl, {name} by {signer:?}: {said}");
        assert!(believed || said.contains("subtree violation"), "curl, {name} by {signer:?}: {said}");

        let output = Command::new(&openssl)
            .args(["s_client", "-verify_return_error", "-connect", &format!("127.0.0.1:{port}"), "-CAfile"])
            .arg(thief.root())
            .args(if name.parse::<std::net::IpAddr>().is_ok() {
                ["-noservername", "-verify_ip", name]
            } else {
                ["-brief", "-verify_hostname", name]
            })
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.success(), believed, "openssl, {name} by {signer:?}: {said}");
    }
}

#[test]
fn chromium_believes_names_in_the_zone_alone() {
    let Some(certutil) = needs("certutil") else { return };
    let thief = Thief::new();
    let Some(browser) = Browser::open(thief.dir.path()) else { return };
    browser.trust(&certutil, &thief.root());
    for (name, signer, believed) in CASES {
        let port = thief.serve(name, signer);
        let dom = browser.dom_where("MAP bank.test 127.0.0.1", &format!("https://{name}:{port}/"));
        assert_eq!(dom.contains("believed"), believed, "{name} by {signer:?}: {dom}");
    }
}
