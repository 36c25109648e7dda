//! Whether this process runs in a container, where machine and file system are others than those that people think of.

use std::path::Path;

/// What Docker's daemon (moby, daemon/initlayer/setup_unix.go) and Podman (podman-run(1)) put into each container. System
/// containers like LXC's have neither, and are machines for our purposes.
const MARKS: [&str; 2] = [".dockerenv", "run/.containerenv"];

/// Whether this is a container of Docker or Podman.
pub fn is_around_us() -> bool {
    is_marked(Path::new("/"))
}

fn is_marked(root: &Path) -> bool {
    MARKS.iter().any(|mark| root.join(mark).exists())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_container_is_known_by_its_mark() {
        for (mark, expected) in [(".dockerenv", true), ("run/.containerenv", true), ("run/systemd", false)] {
            let root = tempfile::tempdir().unwrap();
            std::fs::create_dir(root.path().join("run")).unwrap();
            assert!(!is_marked(root.path()));
            std::fs::write(root.path().join(mark), "").unwrap();
            assert_eq!(is_marked(root.path()), expected, "{mark}");
        }
    }
}
