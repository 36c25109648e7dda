//! A folder of pages on the same name, AriaNg say, with the calls beside them.

use super::{call, household, json_of};
use crate::world::upstream::down;
use crate::world::{Live, World};

fn with_files() -> World {
    let world = household(down(), "files = \"pages\"");
    let pages = world.folder().join("pages");
    std::fs::create_dir_all(pages.join("js")).unwrap();
    for (path, content) in [("index.html", "<p>AriaNg"), ("js/app.js", "app()"), (".git", "hidden")] {
        std::fs::write(pages.join(path), content).unwrap();
    }
    std::os::unix::fs::symlink(world.folder().join("aria2.secret"), pages.join("link.txt")).unwrap();
    world
}

async fn home() -> Live {
    with_files().start().await
}

#[tokio::test]
async fn files_are_shown_and_known_ones_are_not_sent_again() {
    let world = home().await;
    let tablet = world.from("kids-tablet");
    let page = tablet.get("aria2", "/?a=b").await.is(200).has("content-type", "text/html; charset=utf-8");
    let page = page.has("x-content-type-options", "nosniff").has("cache-control", "no-cache");
    assert_eq!(page.text(), "<p>AriaNg");
    let tag = page.head.get("etag").unwrap();
    let script = tablet.get("aria2", "/js/app.js").await.is(200);
    assert_eq!(script.has("content-type", "text/javascript; charset=utf-8").text(), "app()");
    for (known, status) in [
        (tag.to_owned(), 304),
        (format!("\"x\", W/{tag}"), 304),
        ("*".to_owned(), 304),
        ("\"x\"".to_owned(), 200),
        (tag.trim_matches('"').to_owned(), 200),
    ] {
        let reply = tablet.ask("aria2", "GET", "/", &format!("If-None-Match: {known}\r\n")).await.is(status);
        assert_eq!((reply.head.get("etag"), reply.body.is_empty()), (Some(tag), status == 304));
    }
    // Over http nothing tells a frame from a link.
    for path in ["/", "/js/app.js"] {
        let shown = tablet.get("aria2", path).await.is(200);
        shown.has("content-security-policy", "frame-ancestors 'self'");
    }
    tablet.ask("aria2", "HEAD", "/", "").await.is(200).has("content-length", "9").has("etag", tag);
}

#[tokio::test]
async fn nothing_but_the_files_is_shown() {
    let world = home().await;
    let desktop = world.from("desktop");
    for path in [
        "/aria2.secret",
        "/../aria2.secret",
        "/js/../../aria2.secret",
        "/%2e%2e/aria2.secret",
        "/..%2faria2.secret",
        "/js/..%5c..%5caria2.secret",
        "/link.txt",
        "/.git",
        "/js",
        "/js/",
        "//index.html",
        "/index.html/",
        "/index.html%00",
    ] {
        let reply = desktop.get("aria2", path).await.is(404).lacks("ztgate-refusal");
        assert!(!reply.text().contains("secret"), "{path}");
    }
    desktop.ask("aria2", "POST", "/", "Content-Length: 0\r\n").await.is(404);
    desktop.ask("aria2", "GET", "/jsonrpc", "").await.refused("not-offered");
}

#[tokio::test]
async fn pages_and_calls_are_beside_each_other_and_both_are_for_members_alone() {
    let mut world = with_files().stranger("thief").start().await;
    let version = call("1", "aria2.getVersion", serde_json::json!([]));
    let answer = super::post(&world, "kids-tablet", &version).await.refused("upstream-down");
    assert_eq!(json_of(&answer)["id"], "1");
    world.from("thief").get("aria2", "/").await.refused("unknown-member");
    std::fs::write(world.folder().join("pages/index.html"), "<p>newer").unwrap();
    world.reload(|_| {}).await.unwrap();
    assert_eq!(world.from("kids-tablet").get("aria2", "/").await.is(200).text(), "<p>newer");
    world.reload(|plan| plan.disallow("kids-tablet", "aria2")).await.unwrap();
    world.from("kids-tablet").get("aria2", "/").await.refused("no-rule");
}
