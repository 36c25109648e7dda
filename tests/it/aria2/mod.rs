//! What is said to aria2: nothing that it would run differently from what was judged ever reaches it. Told by a model of
//! its parser for any number of messages, and by a real aria2.

mod contents;
mod files;
mod model;
mod property;
mod spoken;
mod strict;
mod tricks;

use std::path::Path;
use std::sync::Arc;

use http::Method;
use ztgate::linux::secret::{self, Owners};
use ztgate::model::Moment;
use ztgate::services::{self, Reception, Room, Setting, Talk};

pub const SECRET: &str = "s3cret";
pub const NOW: Moment = Moment::since_boot(1000, 0);
pub const ROLES: [&str; 4] = ["watch", "add", "manage", "admin"];

/// The room of an aria2 that has a secret, and one folder called `films`.
pub fn room(films: &Path) -> Arc<dyn Room> {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), SECRET).unwrap();
    let secret = secret::read(file.path(), Owners::Ours).unwrap();
    let settings = [
        ("secret_file", Setting::Secret(Arc::new(secret))),
        ("dirs", Setting::Places(vec![("films".to_owned(), films.to_owned())])),
    ];
    let aria2 = services::kind("aria2").unwrap();
    (aria2.open)(settings.into_iter().collect()).unwrap()
}

pub fn talk(room: &dyn Room) -> Box<dyn Talk> {
    match room.receive(&Method::POST, "/jsonrpc", false) {
        Reception::Talk(talks) => talks.begin(),
        other => panic!("{other:?}"),
    }
}
