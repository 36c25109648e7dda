//! Calls that end well, and all the ways in which they do not.

use std::io::{Read, Write};
use std::net::TcpListener;

use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use super::*;

const PATIENT: Duration = Duration::from_secs(60);

fn get() -> Request<Bytes> {
    Request::get("/status").header("x-zt1-auth", "s3cret").body(Bytes::new()).unwrap()
}

/// Answers one connection with this, and then with spaces until nobody takes them.
fn endless(head: &'static str) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let server = Server::plain("127.0.0.1", listener.local_addr().unwrap().port()).unwrap();
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let _ = stream.read(&mut [0; 4096]);
        let _ = stream.write_all(head.as_bytes());
        while stream.write_all(&[b' '; 65536]).is_ok() {}
    });
    server
}

/// Serves `{}` over TLS to whoever brings the secret, with a certificate for `localhost`.
async fn tls_server() -> (u16, CertificateDer<'static>) {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let certificate = made.cert.der().clone();
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.clone()], key)
        .unwrap();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let Ok(mut stream) = acceptor.accept(stream).await else { continue };
            let mut head = vec![0; 4096];
            let read = stream.read(&mut head).await.unwrap();
            assert!(String::from_utf8_lossy(&head[..read]).contains("x-zt1-auth: s3cret"));
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}").await.unwrap();
        }
    });
    (port, certificate)
}

#[tokio::test]
async fn only_a_server_that_a_root_vouches_for_gets_anything() {
    let (port, certificate) = tls_server().await;
    let roots = |certificate| {
        let mut roots = RootCertStore::empty();
        roots.add(certificate).unwrap();
        Some(trusting(roots).unwrap())
    };
    let ask = async |server: Server| server.ask(get(), 1024, PATIENT).await;
    let known = Server::new("localhost", port, roots(certificate.clone())).unwrap();
    assert_eq!(&ask(known).await.unwrap().body[..], b"{}");
    let other_name = Server::new("127.0.0.1", port, roots(certificate)).unwrap();
    assert!(matches!(ask(other_name).await, Err(CallError::Tls(_))));
    let other = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let unknown = Server::new("localhost", port, roots(other.cert.der().clone())).unwrap();
    assert!(matches!(ask(unknown).await, Err(CallError::Tls(_))));
    // A system without any root trusts it no more.
    match Server::tls("localhost", port) {
        Ok(systems) => assert!(matches!(ask(systems).await, Err(CallError::Tls(_)))),
        Err(why) => assert_eq!(why, ServerError::NoRoots),
    }
}

#[test]
fn without_a_root_there_is_no_tls() {
    assert_eq!(trusting(RootCertStore::empty()).err(), Some(ServerError::NoRoots));
}

#[tokio::test]
async fn a_server_that_hangs_is_given_up() {
    // The backlog accepts, and nobody answers.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let server = Server::plain("127.0.0.1", listener.local_addr().unwrap().port()).unwrap();
    let moment = Duration::from_millis(50);
    assert!(matches!(server.ask(get(), 1024, moment).await, Err(CallError::Timeout(_))));
    assert!(matches!(server.tell(get(), moment).await, Err(CallError::Timeout(_))));
}

#[tokio::test]
async fn an_endless_answer_is_cut_at_the_limit_and_its_status_counts_all_the_same() {
    let head = "HTTP/1.1 207 Multi-Status\r\n\r\n";
    assert!(matches!(endless(head).ask(get(), 1 << 20, PATIENT).await, Err(CallError::TooLong(_))));
    assert_eq!(endless(head).tell(get(), PATIENT).await.unwrap(), 207);
}

#[tokio::test]
async fn a_redirect_is_an_answer_like_any_other() {
    let head = "HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n";
    let reply = endless(head).ask(get(), 1024, PATIENT).await.unwrap();
    assert_eq!(
        (reply.status.as_u16(), &reply.headers["location"]),
        (302, &"http://127.0.0.1:1/".parse().unwrap())
    );
}

#[test]
fn a_host_is_named_as_its_url_names_it() {
    for (host, port, authority, is_loopback) in [
        ("home.example", 80, "home.example", false),
        ("127.9.9.9", 9993, "127.9.9.9:9993", true),
        ("localhost", 443, "localhost:443", true),
        ("localhost.evil.example", 80, "localhost.evil.example", false),
        ("::1", 80, "[::1]", true),
        ("fd5e::1", 81, "[fd5e::1]:81", false),
    ] {
        let server = Server::plain(host, port).unwrap();
        assert_eq!(
            (server.authority.to_str().unwrap(), server.is_loopback()),
            (authority, is_loopback),
            "{host}"
        );
    }
    let roots = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap().cert.der().clone();
    let mut store = RootCertStore::empty();
    store.add(roots).unwrap();
    let no_name = Server::new("not a name", 443, Some(trusting(store).unwrap()));
    assert_eq!(no_name.err(), Some(ServerError::Host("not a name".to_owned())));
}
