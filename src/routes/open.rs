//! Opening a service's room: its secrets and folders are read here, so that its kind need not touch a file.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use aws_lc_rs::digest;
use bytes::Bytes;

use crate::config::{self, Service};
use crate::linux::secret::{self, Owners, SecretError};
use crate::services::{Folder, Room, Setting, SettingError, Settings, Shown};

/// Why a service's room does not open.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("{key}: {source}")]
    Secret { key: &'static str, source: SecretError },
    #[error("{key}: {source}")]
    Folder { key: &'static str, source: FolderError },
    #[error(transparent)]
    Setting(#[from] SettingError),
}

/// Why a folder's files are not shown.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    #[error("{}: {source}", path.display())]
    Io { path: PathBuf, source: io::Error },
    #[error("{}: more than {MOST_FILES} files or {} MiB; name the folder that holds the pages alone", .0.display(), MOST_BYTES >> 20)]
    TooMuch(PathBuf),
}

/// Reads what a service's settings name, and opens its room.
///
/// # Errors
/// A file or folder cannot be read, or its kind cannot work with a setting.
pub fn room(service: &Service) -> Result<Arc<dyn Room>, OpenError> {
    let settings = service.settings.iter().map(|(key, setting)| Ok((*key, read(key, setting)?)));
    let settings = settings.collect::<Result<Settings, OpenError>>()?;
    Ok((service.kind.open)(settings)?)
}

fn read(key: &'static str, setting: &config::Setting) -> Result<Setting, OpenError> {
    Ok(match setting {
        config::Setting::Flag(flag) => Setting::Flag(*flag),
        config::Setting::Size(size) => Setting::Size(*size),
        config::Setting::Places(places) => Setting::Places(places.clone()),
        config::Setting::Secret(file) => {
            let secret = secret::read(file, Owners::Ours);
            Setting::Secret(Arc::new(secret.map_err(|source| OpenError::Secret { key, source })?))
        }
        config::Setting::Folder(path) => {
            let folder = read_folder(path).map_err(|source| OpenError::Folder { key, source })?;
            Setting::Folder(Arc::new(folder))
        }
    })
}

/// Far more than any page for a browser needs, and little enough to be held in memory.
const MOST_FILES: usize = 2_000;
const MOST_BYTES: u64 = 32 << 20;

/// Reads all files below a folder, but for links, which could lead anywhere, and hidden ones.
fn read_folder(root: &Path) -> Result<Folder, FolderError> {
    let mut files = Vec::new();
    let mut room = MOST_BYTES;
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        let error = |source| FolderError::Io { path: folder.clone(), source };
        for entry in std::fs::read_dir(&folder).map_err(error)? {
            let entry = entry.map_err(error)?;
            let path = entry.path();
            let error = |source| FolderError::Io { path: path.clone(), source };
            // What is no UTF-8 cannot be asked for by a URL that a page writes.
            let Some(name) = path.strip_prefix(root).ok().and_then(Path::to_str) else { continue };
            if entry.file_name().as_encoded_bytes().starts_with(b".") {
                continue;
            }
            let kind = entry.file_type().map_err(error)?;
            if kind.is_dir() {
                folders.push(path);
            } else if kind.is_file() {
                let mut content = Vec::new();
                File::open(&path)
                    .and_then(|file| file.take(room + 1).read_to_end(&mut content))
                    .map_err(error)?;
                room = room
                    .checked_sub(content.len() as u64)
                    .filter(|_| files.len() < MOST_FILES)
                    .ok_or_else(|| FolderError::TooMuch(root.to_owned()))?;
                files.push((format!("/{name}"), shown(name, content)));
            }
        }
    }
    Ok(files.into_iter().collect())
}

fn shown(name: &str, content: Vec<u8>) -> Shown {
    let hash = digest::digest(&digest::SHA256, &content);
    let tag: String = hash.as_ref().iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    Shown { media_type: media_type(name), content: Bytes::from(content), tag: format!("\"{tag}\"").into() }
}

/// By the name's end, as IANA has registered them; what pages for a browser are made of.
fn media_type(name: &str) -> &'static str {
    match name.rsplit_once('.').map_or("", |(_, end)| end) {
        "html" | "htm" => "text/html; charset=utf-8",
        "js" | "mjs" => "text/javascript; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "json" | "map" => "application/json",
        "webmanifest" => "application/manifest+json",
        "svg" => "image/svg+xml",
        "png" => "image/png",
        "jpg" | "jpeg" => "image/jpeg",
        "gif" => "image/gif",
        "ico" => "image/vnd.microsoft.icon",
        "webp" => "image/webp",
        "woff" => "font/woff",
        "woff2" => "font/woff2",
        "ttf" => "font/ttf",
        "wasm" => "application/wasm",
        "txt" => "text/plain; charset=utf-8",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_files_are_shown_and_each_by_its_own_path() {
        let folder = tempfile::tempdir().unwrap();
        let at = |path: &str| folder.path().join(path);
        std::fs::create_dir(at("js")).unwrap();
        for (path, content) in [("index.html", "<p>"), ("js/app.js", "1"), (".htpasswd", "secret")] {
            std::fs::write(at(path), content).unwrap();
        }
        std::os::unix::fs::symlink("/etc/passwd", at("passwd")).unwrap();
        let shown = read_folder(folder.path()).unwrap();
        assert_eq!(shown.find("/").unwrap().content, "<p>");
        assert_eq!(shown.find("/js/app.js").unwrap().media_type, "text/javascript; charset=utf-8");
        for nothing in
            ["/passwd", "/.htpasswd", "/js", "/js/", "/js/../index.html", "//index.html", "index.html"]
        {
            assert_eq!(shown.find(nothing), None, "{nothing}");
        }
    }

    #[test]
    fn a_folder_that_is_far_too_large_is_no_page() {
        let folder = tempfile::tempdir().unwrap();
        let file = File::create(folder.path().join("film.mkv")).unwrap();
        file.set_len(MOST_BYTES + 1).unwrap();
        assert!(matches!(read_folder(folder.path()), Err(FolderError::TooMuch(_))));
        assert!(matches!(read_folder(&folder.path().join("none")), Err(FolderError::Io { .. })));
    }
}
