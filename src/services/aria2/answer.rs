//! What of aria2's answers a member may see: below the role `admin`, no passwords, and no files of the daemon's own.

use std::borrow::Cow;

use super::json::Json;

/// Takes out of an answer what is for the role `admin` alone; whether anything was.
pub fn hide(method: &str, answer: &mut Json) -> bool {
    let mut hidden = false;
    if matches!(method, "aria2.getOption" | "aria2.getGlobalOption")
        && let Json::Object(options) = answer
    {
        let all = options.len();
        options.retain(|(name, _)| !is_secret(name));
        hidden = options.len() < all;
    }
    hide_userinfo(answer) | hidden
}

/// Options whose values are secrets, carry them (proxies, headers, cookies), or tell what the daemon runs and reads.
fn is_secret(option: &str) -> bool {
    option.contains("passwd")
        || option.contains("secret")
        || option.contains("cookies")
        || option.ends_with("-user")
        || option.ends_with("-proxy")
        || option.ends_with("certificate")
        || option.ends_with("private-key")
        || option.starts_with("on-")
        || option.contains("-path")
        || matches!(option, "header" | "referer" | "log" | "save-session" | "input-file")
        || matches!(option, "server-stat-if" | "server-stat-of" | "torrent-file" | "metalink-file")
}

fn hide_userinfo(value: &mut Json) -> bool {
    match value {
        Json::Text(text) => match without_userinfo(text) {
            Cow::Borrowed(_) => false,
            Cow::Owned(without) => {
                *text = without;
                true
            }
        },
        Json::List(items) => items.iter_mut().fold(false, |hidden, item| hide_userinfo(item) | hidden),
        Json::Object(members) => {
            members.iter_mut().fold(false, |hidden, (_, value)| hide_userinfo(value) | hidden)
        }
        Json::Null | Json::Flag(_) | Json::Number(_) => false,
    }
}

/// A text in which no link has a user and password before its host any more.
pub fn without_userinfo(text: &str) -> Cow<'_, str> {
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find("://") {
        let (scheme, behind) = rest.split_at(at + 3);
        let end = behind.find(|c: char| matches!(c, '/' | '?' | '#' | '"') || c.is_whitespace());
        let authority = &behind[..end.unwrap_or(behind.len())];
        out.push_str(scheme);
        rest = authority.rfind('@').map_or(behind, |at| &behind[at + 1..]);
    }
    out.push_str(rest);
    if out.len() == text.len() { Cow::Borrowed(text) } else { Cow::Owned(out) }
}

/// An answer's bytes with another id, all else as aria2 wrote it; none if they do not begin as aria2 begins them
/// (RpcResponse.cc, `encodeJsonAll`).
pub fn with_id(answer: &[u8], ours: u64, theirs: &Json) -> Option<Vec<u8>> {
    let rest = answer.strip_prefix(format!("{{\"id\":{ours},").as_bytes())?;
    Some([b"{\"id\":", theirs.to_bytes().as_slice(), b",", rest].concat())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::services::aria2::json;

    fn hidden(method: &str, answer: &str) -> (String, bool) {
        let mut answer = json::read_answer(answer.as_bytes()).unwrap();
        let changed = hide(method, &mut answer);
        (String::from_utf8(answer.to_bytes()).unwrap(), changed)
    }

    #[test]
    fn secret_options_are_left_out() {
        let all = r#"{"dir":"/srv","http-passwd":"x","http-user":"x","all-proxy":"http://x","conf-path":"/x",
            "on-download-stop":"/x","header":"Cookie: x","rpc-secret":"x","load-cookies":"/x","rpc-private-key":"/x",
            "certificate":"/x","netrc-path":"/x","check-certificate":"true","out":"a","split":"5","log":"/x",
            "save-session":"/x","input-file":"/x","dht-file-path6":"/x","server-stat-of":"/x","torrent-file":"/x"}"#;
        for method in ["aria2.getOption", "aria2.getGlobalOption"] {
            assert_eq!(hidden(method, all), (r#"{"dir":"/srv","out":"a","split":"5"}"#.into(), true));
        }
        assert!(!hidden("aria2.tellStatus", all).1);
    }

    #[test]
    fn links_lose_their_passwords_wherever_they_stand() {
        let told = r#"{"files":[{"uris":[{"uri":"ftp://me:pa@ss@example.org/a@b"}]}],"errorMessage":"no http://u@h/ x"}"#;
        let kept =
            r#"{"files":[{"uris":[{"uri":"ftp://example.org/a@b"}]}],"errorMessage":"no http://h/ x"}"#;
        assert_eq!(hidden("aria2.tellStatus", told), (kept.into(), true));
        assert_eq!(hidden("aria2.tellStatus", kept), (kept.into(), false));
        assert_eq!(without_userinfo("a://b:c@d,e://f@g"), "a://d,e://g");
    }

    #[test]
    fn an_id_is_changed_and_nothing_else() {
        let id = Json::text("a\"b");
        let changed = with_id(br#"{"id":7,"jsonrpc":"2.0","result":"\/x"}"#, 7, &id).unwrap();
        assert_eq!(changed, br#"{"id":"a\"b","jsonrpc":"2.0","result":"\/x"}"#);
        assert_eq!(with_id(br#"{"id":71,"jsonrpc":"2.0"}"#, 7, &id), None);
        assert_eq!(with_id(br#"{"jsonrpc":"2.0","id":7}"#, 7, &id), None);
    }
}
