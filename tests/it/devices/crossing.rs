//! An order and a new configuration that meet: one name still means one thing.

use ztgate::sync::Edit;

use crate::world::World;
use crate::world::orders::{edit, label};

#[tokio::test]
async fn a_reload_sees_the_name_that_an_order_gives_once_it_is_on_disk() {
    let mut world = World::new().member("red-phone").start().await;
    let policy = world.folder().join("policy");
    std::fs::create_dir_all(&policy).unwrap();
    let groups = policy.join("groups.toml");
    // Whoever else writes makes the gateway wait for its turn.
    let disk = rusqlite::Connection::open(world.state_dir().join("members.db")).unwrap();
    disk.execute_batch("BEGIN IMMEDIATE").unwrap();
    let renamed = tokio::spawn(world.order(edit("red-phone", Edit::Rename(label("blue-phone")))));
    world.gives_a_name().await;

    std::fs::write(&groups, "[groups]\nblue-phone = [\"mum\"]\n").unwrap();
    let why = world.reload(|_| ()).await.unwrap_err();
    assert!(why.contains("\"blue-phone\" is a group here"), "{why}");
    std::fs::write(&groups, "[groups]\ngreen-phone = [\"mum\"]\n").unwrap();
    world.reload(|_| ()).await.unwrap();

    disk.execute_batch("COMMIT").unwrap();
    renamed.await.unwrap();
    assert_eq!(world.device("red-phone").name, Some(label("blue-phone")));
    let why = world.refuses(edit("blue-phone", Edit::Rename(label("green-phone")))).await;
    assert!(why.contains("\"green-phone\" cannot be a device"), "{why}");
}
