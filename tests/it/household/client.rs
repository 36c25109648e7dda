//! aria2p, a client that people use, as it is.

use std::path::Path;

use crate::real::process::{knowing_at, say};
use crate::real::{needs, venv};
use crate::world::device::DOOR;

use super::{Home, SECRET};

/// Of how many downloads aria2p heard from beginning to end, in that many seconds with one `every` so many, after its calls
/// with each secret.
async fn aria2p(secrets: &[&str], seconds: f64, every: f64) -> Option<u32> {
    needs("aria2p")?;
    let home = Home::new().await?;
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/household/client.py");
    let port = home.world.http_port();
    home.world.from("laptop").door(port).await;
    let python = venv().unwrap().join("bin/python");
    let mut command = knowing_at(DOOR, &["aria2.home.arpa"], home.world.folder(), &python);
    command.arg(script).args(["http://aria2.home.arpa", &port.to_string(), &home.link(1000)]);
    command.arg(seconds.to_string()).arg(every.to_string()).args(secrets);
    let said = tokio::task::block_in_place(|| say(&mut command));
    Some(said.trim().parse().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn aria2p_works_with_no_secret_any_secret_and_the_right_one() {
    let Some(told) = aria2p(&["", "dummy", SECRET], 0.0, 0.1).await else { return };
    assert!(told > 0);
}

/// `NEWS_SECONDS` says for how long, and `NEWS_EVERY` how rarely: 5400 and 1200 leave the WebSocket silent for twenty minutes
/// at a time.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes minutes: cargo test --test it -- --ignored aria2p"]
async fn aria2p_is_told_the_news_for_minutes() {
    let given = |name: &str| std::env::var(name).ok().map(|number| number.parse::<f64>().unwrap());
    let (seconds, every) = (given("NEWS_SECONDS").unwrap_or(150.0), given("NEWS_EVERY").unwrap_or(0.1));
    let Some(told) = aria2p(&["dummy"], seconds, every).await else { return };
    assert!(f64::from(told) > seconds / (every + 0.7), "{told}");
}
