//! Ports of a service's own: apps that look for it there find it by HTTP and by HTTPS, and nothing else.

use std::net::{Ipv4Addr, TcpListener};
use std::time::Duration;

use crate::world::wire::Closed;
use crate::world::{Device, Live, Wire, World, echo};

fn free_port() -> u16 {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port()
}

async fn home(port: u16) -> Live {
    World::new()
        .member("red-phone")
        .service_with("dl", echo(), &format!("extra_ports = [{port}]"))
        .service("wiki", echo())
        .allow("red-phone", "dl")
        .allow("red-phone", "wiki")
        .limits(|limits| limits.head = Duration::from_millis(300))
        .start()
        .await
}

async fn answered(mut wire: Wire, host: &str, port: u16) -> (u16, Option<String>) {
    wire.send(&format!("GET / HTTP/1.1\r\nHost: {host}.home.arpa:{port}\r\n\r\n")).await;
    let head = wire.head().await.unwrap();
    (head.status(), head.get("ztgate-refusal").map(str::to_owned))
}

async fn by_http(phone: Device<'_>, host: &str, port: u16) -> (u16, Option<String>) {
    answered(Wire::new(phone.connect(port).await), host, port).await
}

async fn by_https(phone: Device<'_>, host: &str, port: u16) -> (u16, Option<String>) {
    answered(Wire::new(phone.tls_on(port, host).await), host, port).await
}

#[tokio::test]
async fn a_first_byte_tells_http_from_https() {
    let port = free_port();
    let world = home(port).await;
    let phone = world.from("red-phone");
    assert_eq!(by_http(phone, "dl", port).await, (200, None));
    assert_eq!(by_https(phone, "dl", port).await, (200, None));
    assert_eq!(world.upstream("dl").requests().last().unwrap().get("x-forwarded-proto"), Some("https"));
}

#[tokio::test]
async fn nothing_else_is_found_there() {
    let port = free_port();
    let world = home(port).await;
    let phone = world.from("red-phone");
    for host in ["wiki", "gate", "nowhere"] {
        assert_eq!(by_http(phone, host, port).await, (421, Some("unknown-name".to_owned())), "{host}");
    }
    phone.get("wiki", "/").await.is(200);
    phone.get("dl", "/").await.is(200);
}

#[tokio::test]
async fn who_says_nothing_is_sent_away() {
    let port = free_port();
    let world = home(port).await;
    let mut silent = Wire::new(world.from("red-phone").connect(port).await);
    assert_eq!(silent.closed_within(crate::world::SOON).await, Closed::Yes);
}

#[tokio::test]
async fn it_comes_and_goes_with_the_configuration() {
    let port = free_port();
    let mut world = home(port).await;
    world.reload(|plan| plan.service_lines("dl", "")).await.unwrap();
    let gone = async {
        while tokio::net::TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(crate::world::SOON, gone).await.expect("it closes");
    world.reload(|plan| plan.service_lines("dl", &format!("extra_ports = [{port}]"))).await.unwrap();
    let back = async {
        while tokio::net::TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.is_err() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(crate::world::SOON, back).await.expect("it opens again");
}
