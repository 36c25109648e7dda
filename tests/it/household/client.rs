//! aria2p, a client that people use, as it is.

use std::path::Path;

use crate::real::process::{knowing_at, say};
use crate::real::{needs, venv};
use crate::world::device::DOOR;

use super::Home;
use super::daemon::SECRET;

/// How many downloads aria2p heard of from beginning to end, in that many seconds, for each of these secrets.
async fn aria2p(secrets: &[&str], seconds: u32) -> Option<Vec<u32>> {
    needs("aria2p")?;
    let home = Home::new().await?;
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/household/client.py");
    home.world.from("laptop").door(home.world.http_port()).await;
    let mut told = Vec::new();
    for secret in secrets {
        let mut command =
            knowing_at(DOOR, &["aria2.home.arpa"], home.world.folder(), &venv().unwrap().join("bin/python"));
        command.arg(&script).args(["http://aria2.home.arpa", &home.world.http_port().to_string(), secret]);
        command.args([home.link(1000), seconds.to_string()]);
        let said = tokio::task::block_in_place(|| say(&mut command));
        told.push(said.split(' ').next().unwrap().parse().unwrap());
    }
    Some(told)
}

#[tokio::test(flavor = "multi_thread")]
async fn aria2p_works_with_no_secret_any_secret_and_the_right_one() {
    let Some(told) = aria2p(&["", "dummy", SECRET], 0).await else { return };
    assert!(told.iter().all(|told| *told > 0), "{told:?}");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "two minutes: cargo test --test it -- --ignored aria2p"]
async fn aria2p_is_told_the_news_for_minutes() {
    let Some(told) = aria2p(&["dummy"], 120).await else { return };
    assert!(told[0] > 100, "{told:?}");
}
