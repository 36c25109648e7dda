//! What an aria2 is asked about itself: whether the secret fits, whether anybody may do without, and what it takes.
//! Answers as aria2 1.36 gives them.

use std::path::{Path, PathBuf};

use http::StatusCode;

use super::json::{self, Json};
use super::{ENDPOINT, House};
use crate::services::{Exam, Remark};

/// What to ask, in order.
pub fn of(house: &House) -> Vec<Exam> {
    let secret = house.secret.as_ref().map(|secret| format!("token:{}", secret.expose()));
    let has_secret = secret.is_some();
    let (longest, dirs) = (house.longest, house.dirs.clone());
    let mut exams = vec![exam("aria2.getVersion", secret.as_deref(), move |told| version(told, has_secret))];
    if has_secret {
        exams.push(exam("aria2.getVersion", None, without_secret));
    }
    exams.push(exam("aria2.getGlobalOption", secret.as_deref(), move |told| options(told, longest, &dirs)));
    exams
}

/// What aria2 said.
enum Told {
    Result(Json),
    /// It does not take the secret, or the lack of one.
    Unauthorized,
    /// Something else than aria2's JSON-RPC.
    Other(StatusCode),
}

fn exam(
    method: &'static str,
    token: Option<&str>,
    judge: impl Fn(Told) -> Vec<Remark> + Send + Sync + 'static,
) -> Exam {
    let call = Json::from([
        ("jsonrpc", Json::text("2.0")),
        ("id", Json::Number(1.into())),
        ("method", Json::text(method)),
        ("params", Json::List(token.map(Json::text).into_iter().collect())),
    ]);
    Exam {
        path: ENDPOINT,
        media_type: "application/json",
        body: call.to_bytes(),
        read: Box::new(move |status, body| judge(told(status, body))),
    }
}

fn told(status: StatusCode, body: &[u8]) -> Told {
    let text = String::from_utf8_lossy(body);
    let Ok(said) = json::read_answer(text.as_bytes()) else { return Told::Other(status) };
    let error = said.get("error").and_then(|error| error.get("message")).and_then(Json::as_text);
    let error = error.map(str::to_owned);
    match (error.as_deref(), said) {
        (Some("Unauthorized"), _) => Told::Unauthorized,
        (None, Json::Object(members)) => {
            let result = members.into_iter().find(|(name, _)| name == "result");
            result.map_or(Told::Other(status), |(_, result)| Told::Result(result))
        }
        _ => Told::Other(status),
    }
}

fn version(told: Told, has_secret: bool) -> Vec<Remark> {
    let remark = match (told, has_secret) {
        (Told::Result(result), true) if is_version(&result) => {
            Remark::well(format!("takes the secret of secret_file{}", named(&result)))
        }
        (Told::Result(result), false) if is_version(&result) => Remark::odd(
            format!("has no secret, so any program that reaches its port drives it{}", named(&result)),
            "write rpc-secret=... into aria2.conf, and the same into the file that secret_file names",
        ),
        (Told::Unauthorized, true) => Remark::bad(
            "refuses the secret of secret_file, so nobody gets an answer",
            "write into that file what rpc-secret in aria2.conf says, and restart aria2 if that was changed",
        ),
        (Told::Unauthorized, false) => Remark::bad(
            "asks for a secret, and the gateway has none to give",
            "write rpc-secret of aria2.conf into a file, mode 640, root:ztgate, and name it in secret_file",
        ),
        (Told::Result(_), _) => other(StatusCode::OK),
        (Told::Other(status), _) => other(status),
    };
    vec![remark]
}

fn other(status: StatusCode) -> Remark {
    Remark::bad(
        format!("answers {ENDPOINT} with {status}, and not as aria2 does"),
        "check upstream: aria2 needs enable-rpc=true, and listens on port 6800 unless rpc-listen-port says else",
    )
}

fn is_version(result: &Json) -> bool {
    result.get("version").and_then(Json::as_text).is_some()
}

fn named(result: &Json) -> String {
    let version = result.get("version").and_then(Json::as_text).unwrap_or_default();
    format!(" (version {})", super::words::clean(version, 20))
}

/// Asked without the secret, where there is one.
fn without_secret(told: Told) -> Vec<Remark> {
    match told {
        Told::Result(_) => vec![Remark::odd(
            "answers without its secret, too, so any program that reaches its port drives it",
            "write rpc-secret=... into aria2.conf, the one of secret_file, and restart aria2",
        )],
        Told::Unauthorized | Told::Other(_) => Vec::new(),
    }
}

/// Options whose values are files that aria2 trusts: who may write one has it do what they like.
const OWN: [&str; 5] = ["conf-path", "netrc-path", "save-session", "input-file", "log"];

/// Whether a download may be put where aria2's own files are.
fn own_files(options: &Json, dirs: &[(String, PathBuf)]) -> Option<Remark> {
    let option = |name| options.get(name).and_then(Json::as_text);
    let usual = option("dir").map(|dir| ("dir".to_owned(), Path::new(dir)));
    let named = dirs.iter().map(|(name, dir)| (format!("dirs.{name}"), dir.as_path()));
    let own = || OWN.iter().filter_map(|name| Some((*name, option(name).filter(|path| !path.is_empty())?)));
    let places = usual.into_iter().chain(named);
    let mut both = places.flat_map(|place| own().map(move |own| (place.clone(), own)));
    let ((place, dir), (name, file)) = both.find(|((_, dir), (_, file))| Path::new(file).starts_with(dir))?;
    let shown = |text: &str| super::words::clean(text, 160);
    Some(Remark::bad(
        format!(
            "puts downloads into {} ({place}), and its own {} ({name}) is within: whoever may add could replace it",
            shown(&dir.to_string_lossy()),
            shown(file)
        ),
        match place.as_str() {
            "dir" => "write dir=/srv/downloads into aria2.conf, a folder for nothing else, and restart aria2"
                .to_owned(),
            _ => format!("name a folder for nothing else in {place}"),
        },
    ))
}

fn options(told: Told, longest: usize, dirs: &[(String, PathBuf)]) -> Vec<Remark> {
    // What is wrong with the secret was said before.
    let Told::Result(options) = told else { return Vec::new() };
    let option = |name| options.get(name).and_then(Json::as_text);
    let mut remarks = Vec::from_iter(own_files(&options, dirs));
    if let Some(takes) = option("rpc-max-request-size").and_then(|size| size.parse::<usize>().ok()) {
        if takes < longest {
            let mend =
                format!("write max_request_size = {takes}, or rpc-max-request-size={longest} in aria2.conf");
            let what =
                format!("hangs up on a message of over {takes} bytes, and the gateway passes {longest}");
            remarks.push(Remark::odd(what, mend));
        } else if takes > longest {
            let mend = format!("write max_request_size = {takes}, if torrents are to be that large");
            let what = format!("takes messages of {takes} bytes, and the gateway passes {longest} at most");
            remarks.push(Remark::odd(what, mend));
        }
    }
    if option("rpc-allow-origin-all") == Some("true") {
        remarks.push(Remark::well(
            "has rpc-allow-origin-all, which changes nothing here: whose pages may use it, the gateway decides",
        ));
    }
    remarks
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(status: u16, body: &str) -> Told {
        told(StatusCode::from_u16(status).unwrap(), body.as_bytes())
    }

    /// The grades of remarks and where their mends send one.
    fn graded(remarks: Vec<Remark>) -> Vec<(&'static str, String)> {
        let grade = |remark| match remark {
            Remark::Well(what) => ("well", what),
            Remark::Odd { mend, .. } => ("odd", mend),
            Remark::Bad { mend, .. } => ("bad", mend),
        };
        remarks.into_iter().map(grade).collect()
    }

    const VERSION: &str = r#"{"id":1,"jsonrpc":"2.0","result":{"enabledFeatures":[],"version":"1.36.0"}}"#;
    const UNAUTHORIZED: &str = r#"{"id":1,"jsonrpc":"2.0","error":{"code":1,"message":"Unauthorized"}}"#;

    #[test]
    fn what_a_secret_or_none_tells() {
        for (status, body, has_secret, grade, mend) in [
            (200, VERSION, true, "well", "takes the secret"),
            (200, VERSION, false, "odd", "write rpc-secret="),
            (400, UNAUTHORIZED, true, "bad", "write into that file what rpc-secret"),
            (400, UNAUTHORIZED, false, "bad", "name it in secret_file"),
            (404, "<html>", true, "bad", "check upstream"),
            (200, r#"{"result":{}}"#, true, "bad", "check upstream"),
            (200, "[]", false, "bad", "check upstream"),
        ] {
            let told = graded(version(said(status, body), has_secret));
            assert!(told.len() == 1 && told[0].0 == grade && told[0].1.contains(mend), "{body}: {told:?}");
        }
        assert_eq!(graded(without_secret(said(200, VERSION)))[0].0, "odd");
        assert_eq!(without_secret(said(400, UNAUTHORIZED)), []);
    }

    #[test]
    fn sizes_that_differ_are_told_with_the_line_that_evens_them() {
        let options = |size: usize, origins: &str| {
            let body = format!(
                r#"{{"result":{{"rpc-max-request-size":"{size}","rpc-allow-origin-all":"{origins}"}}}}"#
            );
            graded(super::options(said(200, &body), 2 << 20, &[]))
        };
        assert_eq!(options(2 << 20, "false"), []);
        assert!(options(1000, "false")[0].1.starts_with("write max_request_size = 1000, or"));
        assert!(options(4 << 20, "false")[0].1.starts_with("write max_request_size = 4194304, if"));
        assert_eq!(options(2 << 20, "true")[0].0, "well");
        assert_eq!(super::options(said(400, UNAUTHORIZED), 1, &[]), []);
    }

    #[test]
    fn downloads_have_a_folder_that_holds_nothing_that_aria2_trusts() {
        let told = |dir: &str, films: &str| {
            let body = format!(
                r#"{{"result":{{"dir":"{dir}","conf-path":"/home/aria2/.aria2/aria2.conf","log":""}}}}"#
            );
            graded(super::options(said(200, &body), 1, &[("films".into(), films.into())]))
        };
        assert_eq!(told("/srv/downloads", "/srv/films"), []);
        assert_eq!(told("/home/aria2/.aria", "/home/aria2/downloads"), []);
        for dir in ["/", "/home", "/home/aria2", "/home/aria2/", "/home/aria2/.aria2"] {
            assert!(told(dir, "/srv/films")[0].1.starts_with("write dir="), "{dir}");
            assert_eq!(
                told("/srv/downloads", dir),
                [("bad", "name a folder for nothing else in dirs.films".to_owned())]
            );
        }
    }

    #[test]
    fn the_secret_is_tried_and_then_none() {
        let asked = |house: &House| {
            let bodies = of(house).into_iter().map(|exam| String::from_utf8(exam.body).unwrap());
            bodies.collect::<Vec<_>>().join("\n")
        };
        assert_eq!(
            asked(&House { longest: 1, ..House::default() }),
            "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"aria2.getVersion\",\"params\":[]}\n\
             {\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"aria2.getGlobalOption\",\"params\":[]}"
        );
    }
}
