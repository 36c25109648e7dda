//! May this call be made, and with which parameters? One call at a time; a multicall's are brought here one by one.

use base64::Engine as _;
use base64::alphabet;
use base64::engine::general_purpose::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

use super::json::Json;
use super::methods::{self, Method, Role, Shape};
use super::options;
use super::refusal::Refusal;
use super::targets::{self, Use};
use super::words::{self, About};
use super::{House, contents};

/// A call that may be made: what aria2 is to hear of it.
pub struct Allowed {
    pub method: &'static Method,
    /// With the secret, if there is one.
    pub params: Vec<Json>,
    pub about: About,
}

/// Judges a call.
///
/// # Errors
/// Nobody may make it, this member may not, or its parameters are not those that the method takes.
pub fn judge(
    name: &str,
    mut params: Vec<Json>,
    role: Option<Role>,
    house: &House,
) -> Result<Allowed, Refusal> {
    let method = method(name, role)?;
    strip_tokens(&mut params);
    // `method` takes a role that somebody has, so there is one.
    let role = role.unwrap_or(Role::Watch);
    let mut take = Take { name: method.name, params: params.into_iter(), taken: Vec::new() };
    let about = match method.shape {
        Shape::Look | Shape::Open => {
            take.taken = take.params.by_ref().collect();
            About::new()
        }
        Shape::Multicall => return Err(Refusal::malformed("a multicall within a multicall")),
        Shape::Nothing => nothing(method.name),
        Shape::Download => take.download()?,
        Shape::Position => {
            let gid = take.download()?;
            take.whole(i64::from(i32::MIN))?;
            take.text(|how| matches!(how, "POS_SET" | "POS_CUR" | "POS_END"), "POS_SET, POS_CUR or POS_END")?;
            gid
        }
        Shape::Uris => {
            let about = take.links(house)?;
            take.options(role, house)?;
            about.unwrap_or_else(|| "nothing".to_owned())
        }
        Shape::Torrent => {
            let file = take.file("a torrent in base64")?;
            let torrent = contents::torrent(&file, house.private_targets)?;
            if take.more() {
                take.links(house)?;
            }
            take.options(role, house)?;
            words::torrent(&torrent.name, &torrent.hash)
        }
        Shape::Metalink => {
            let file = take.file("a metalink in base64")?;
            contents::metalink(&file, house.private_targets)?;
            take.options(role, house)?;
            words::metalink(file.len())
        }
        Shape::ChangeUri => {
            let gid = take.download()?;
            take.whole(1)?;
            take.texts()?;
            let added = take.links(house)?;
            if take.more() {
                take.whole(0)?;
            }
            match added {
                None => format!("the links of {gid}"),
                Some(added) => format!("the links of {gid}, adding {added}"),
            }
        }
        Shape::ChangeOption => {
            let gid = take.download()?;
            format!("options {} of {gid}", take.options_alone(role, house)?)
        }
        Shape::GlobalOption => format!("global options {}", take.options_alone(role, house)?),
    };
    let mut params = take.finish()?;
    if let (Some(secret), true) = (&house.secret, method.shape != Shape::Open) {
        params.insert(0, Json::text(format!("token:{}", secret.expose())));
    }
    Ok(Allowed { method, params, about })
}

/// The method of that name, if this role may call it.
///
/// # Errors
/// It may not, or there is none.
pub fn method(name: &str, role: Option<Role>) -> Result<&'static Method, Refusal> {
    let Some(method) = methods::find(name) else {
        return Err(Refusal::not_offered(format!("there is no method {}", words::clean(name, 64))));
    };
    match role >= Some(method.role) {
        true => Ok(method),
        false => Err(Refusal::needs(method.name, method.role, role)),
    }
}

/// Takes out what aria2 would take for its secret (RpcMethod.cc, `authorize`). All of it: aria2 takes out one, and what
/// would come to stand first must not be another.
pub fn strip_tokens(params: &mut Vec<Json>) {
    let is_token = |param: &Json| param.as_text().is_some_and(|text| text.starts_with("token:"));
    let tokens = params.iter().take_while(|param| is_token(param)).count();
    params.drain(..tokens);
}

fn nothing(method: &str) -> About {
    match method {
        "aria2.purgeDownloadResult" => "all that is over",
        "aria2.saveSession" => "the session",
        "aria2.shutdown" | "aria2.forceShutdown" => "aria2 down",
        _ => "all downloads",
    }
    .to_owned()
}

/// Takes parameters one after another, each in the shape that it must have.
struct Take {
    name: &'static str,
    params: std::vec::IntoIter<Json>,
    taken: Vec<Json>,
}

impl Take {
    fn more(&self) -> bool {
        !self.params.as_slice().is_empty()
    }

    /// The next parameter, which must be such a one.
    fn next(&mut self, fits: impl FnOnce(&Json) -> bool, wanted: &str) -> Result<&Json, Refusal> {
        let at = self.taken.len();
        let param = self.params.next().filter(fits).ok_or_else(|| {
            Refusal::malformed(format!("parameter {} of {} must be {wanted}", at + 1, self.name))
        })?;
        self.taken.push(param);
        Ok(&self.taken[at])
    }

    fn text(&mut self, fits: impl FnOnce(&str) -> bool, wanted: &str) -> Result<&str, Refusal> {
        let param = self.next(|param| param.as_text().is_some_and(fits), wanted)?;
        Ok(param.as_text().unwrap_or_default())
    }

    fn whole(&mut self, least: i64) -> Result<(), Refusal> {
        let range = least..=i64::from(i32::MAX);
        let fits = |param: &Json| param.as_whole().is_some_and(|number| range.contains(&number));
        self.next(fits, &format!("a whole number from {least}")).map(drop)
    }

    /// aria2 also takes the first digits of a download's number, if no other begins so (GroupId.cc, `expandUnique`).
    fn download(&mut self) -> Result<String, Refusal> {
        let fits = |gid: &str| (1..=16).contains(&gid.len()) && gid.bytes().all(|b| b.is_ascii_hexdigit());
        self.text(fits, "the gid of a download").map(str::to_owned)
    }

    fn texts(&mut self) -> Result<Vec<&str>, Refusal> {
        let fits = |param: &Json| match param {
            Json::List(items) => items.iter().all(|item| item.as_text().is_some()),
            _ => false,
        };
        Ok(match self.next(fits, "a list of texts")? {
            Json::List(items) => items.iter().filter_map(Json::as_text).collect(),
            _ => Vec::new(),
        })
    }

    /// Links to fetch from, as records tell them; none if the list is empty.
    fn links(&mut self, house: &House) -> Result<Option<About>, Refusal> {
        let links = self.texts()?;
        for link in &links {
            targets::judge(link, Use::Download, house.private_targets)?;
        }
        Ok((!links.is_empty()).then(|| words::links(&links)))
    }

    /// A whole file; its bytes. An empty one makes aria2 read a file of its own (download_helper.cc), and to aria2 is empty what
    /// lacks the `=` at the end (base64.h), so it hears what was judged and not what was sent.
    fn file(&mut self, wanted: &str) -> Result<Vec<u8>, Refusal> {
        let mut file = Vec::new();
        let fits = |text: &str| {
            file = BASE64.decode(text).unwrap_or_default();
            !file.is_empty()
        };
        self.text(fits, wanted)?;
        self.taken.pop();
        self.taken.push(Json::text(STANDARD.encode(&file)));
        Ok(file)
    }

    /// Options and a position, both of which may be left out.
    fn options(&mut self, role: Role, house: &House) -> Result<(), Refusal> {
        if let Some(asked) = self.params.next() {
            self.taken.push(options::judge(asked, role, house)?);
        }
        if self.more() { self.whole(0) } else { Ok(()) }
    }

    /// Options; their names.
    fn options_alone(&mut self, role: Role, house: &House) -> Result<String, Refusal> {
        let asked = self.params.next().unwrap_or(Json::Null);
        let judged = options::judge(asked, role, house)?;
        let names = match &judged {
            Json::Object(members) => {
                members.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(", ")
            }
            _ => String::new(),
        };
        self.taken.push(judged);
        Ok(names)
    }

    fn finish(mut self) -> Result<Vec<Json>, Refusal> {
        match self.params.next() {
            None => Ok(self.taken),
            Some(_) => {
                let most = self.taken.len();
                Err(Refusal::malformed(format!("{} takes no more than {most} parameters here", self.name)))
            }
        }
    }
}

/// As files are sent in JSON everywhere; some leave out the `=` at the end.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);
