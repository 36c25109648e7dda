//! The methods of aria2 1.36 and what each takes: a role, and parameters of some shape. What is not in the table is not
//! offered. (RpcMethodFactory.cc lists them, RpcMethodImpl.cc says what they do with what they get.)

use crate::model::nearest;

/// What a member may do, weakest first; each includes those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    Watch,
    Add,
    Manage,
    Admin,
}

/// Their words, weakest first.
pub const ROLES: [&str; 4] = ["watch", "add", "manage", "admin"];

impl Role {
    pub fn word(self) -> &'static str {
        ROLES[self as usize]
    }

    /// The strongest of the roles that somebody has.
    pub fn strongest(words: &[&str]) -> Option<Self> {
        let all = [Self::Admin, Self::Manage, Self::Add, Self::Watch];
        all.into_iter().find(|role| words.contains(&role.word()))
    }
}

/// One method.
#[derive(Debug, PartialEq, Eq)]
pub struct Method {
    pub name: &'static str,
    pub role: Role,
    pub shape: Shape,
    /// What a call of it is said to have done; none where it only looks.
    pub verb: Option<Verb>,
}

/// How one says it: `paused`, `pause`.
#[derive(Debug, PartialEq, Eq)]
pub struct Verb {
    pub did: &'static str,
    pub plain: &'static str,
}

/// What parameters a method takes, and so how they are judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// Whatever it is changes nothing.
    Look,
    /// None, and aria2 asks for no secret either.
    Open,
    /// None.
    Nothing,
    /// A download.
    Download,
    /// URIs, options, a position.
    Uris,
    /// A file in base64, web seeds, options, a position.
    Torrent,
    /// A file in base64, options, a position.
    Metalink,
    /// A download, a position, from where it counts.
    Position,
    /// A download, which of its files, URIs to drop, URIs to add, a position.
    ChangeUri,
    /// A download, options.
    ChangeOption,
    /// Options.
    GlobalOption,
    /// Calls, each judged by itself.
    Multicall,
}

pub const MULTICALL: &str = "system.multicall";

/// The method of that name; aria2 takes the case of letters seriously, and so do we.
pub fn find(name: &str) -> Option<&'static Method> {
    METHODS.iter().find(|method| method.name == name)
}

/// The method that was probably meant by a name that is none: one is a letter wrong, another lacks what is before the dot.
pub fn meant(name: &str) -> Option<&'static str> {
    let names = || METHODS.iter().map(|method| method.name);
    let bare = |full: &&str| full.split_once('.').is_some_and(|(_, bare)| bare.eq_ignore_ascii_case(name));
    names().find(bare).or_else(|| nearest(name, names()))
}

const fn look(name: &'static str) -> Method {
    Method { name, role: Role::Watch, shape: Shape::Look, verb: None }
}

const fn acts(
    name: &'static str,
    role: Role,
    shape: Shape,
    did: &'static str,
    plain: &'static str,
) -> Method {
    Method { name, role, shape, verb: Some(Verb { did, plain }) }
}

static METHODS: [Method; 36] = [
    look("aria2.tellStatus"),
    look("aria2.tellActive"),
    look("aria2.tellWaiting"),
    look("aria2.tellStopped"),
    look("aria2.getUris"),
    look("aria2.getFiles"),
    look("aria2.getPeers"),
    look("aria2.getServers"),
    look("aria2.getOption"),
    look("aria2.getGlobalOption"),
    look("aria2.getGlobalStat"),
    look("aria2.getVersion"),
    look("aria2.getSessionInfo"),
    Method { name: "system.listMethods", role: Role::Watch, shape: Shape::Open, verb: None },
    Method { name: "system.listNotifications", role: Role::Watch, shape: Shape::Open, verb: None },
    Method { name: MULTICALL, role: Role::Watch, shape: Shape::Multicall, verb: None },
    acts("aria2.addUri", Role::Add, Shape::Uris, "added", "add"),
    acts("aria2.addTorrent", Role::Add, Shape::Torrent, "added", "add"),
    acts("aria2.addMetalink", Role::Add, Shape::Metalink, "added", "add"),
    acts("aria2.pause", Role::Manage, Shape::Download, "paused", "pause"),
    acts("aria2.forcePause", Role::Manage, Shape::Download, "paused", "pause"),
    acts("aria2.pauseAll", Role::Manage, Shape::Nothing, "paused", "pause"),
    acts("aria2.forcePauseAll", Role::Manage, Shape::Nothing, "paused", "pause"),
    acts("aria2.unpause", Role::Manage, Shape::Download, "resumed", "resume"),
    acts("aria2.unpauseAll", Role::Manage, Shape::Nothing, "resumed", "resume"),
    acts("aria2.remove", Role::Manage, Shape::Download, "removed", "remove"),
    acts("aria2.forceRemove", Role::Manage, Shape::Download, "removed", "remove"),
    acts("aria2.removeDownloadResult", Role::Manage, Shape::Download, "forgot", "forget"),
    acts("aria2.purgeDownloadResult", Role::Manage, Shape::Nothing, "forgot", "forget"),
    acts("aria2.changePosition", Role::Manage, Shape::Position, "moved", "move"),
    acts("aria2.changeUri", Role::Manage, Shape::ChangeUri, "changed", "change"),
    acts("aria2.changeOption", Role::Manage, Shape::ChangeOption, "changed", "change"),
    acts("aria2.saveSession", Role::Manage, Shape::Nothing, "saved", "save"),
    acts("aria2.changeGlobalOption", Role::Admin, Shape::GlobalOption, "changed", "change"),
    acts("aria2.shutdown", Role::Admin, Shape::Nothing, "shut", "shut"),
    acts("aria2.forceShutdown", Role::Admin, Shape::Nothing, "shut", "shut"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_method_takes_the_role_that_was_decided() {
        for (role, methods) in [
            (Role::Watch, "aria2.tellStatus aria2.getGlobalOption aria2.getPeers system.listMethods"),
            (Role::Add, "aria2.addUri aria2.addTorrent aria2.addMetalink"),
            (Role::Manage, "aria2.pause aria2.forcePauseAll aria2.forceRemove aria2.changePosition"),
            (Role::Manage, "aria2.changeUri aria2.changeOption aria2.purgeDownloadResult aria2.saveSession"),
            (Role::Admin, "aria2.changeGlobalOption aria2.shutdown aria2.forceShutdown"),
        ] {
            for name in methods.split(' ') {
                assert_eq!(find(name).unwrap().role, role, "{name}");
            }
        }
        for unknown in ["", "addUri", "aria2.adduri", "aria2.addUri ", "ARIA2.addUri", "aria2.addUri\n"] {
            assert_eq!(find(unknown), None, "{unknown:?}");
        }
    }

    #[test]
    fn whatever_changes_something_takes_more_than_watching() {
        for method in &METHODS {
            let looks = matches!(method.shape, Shape::Look | Shape::Open | Shape::Multicall);
            assert_eq!(looks, method.role == Role::Watch, "{}", method.name);
            assert_eq!(looks, method.verb.is_none(), "{}", method.name);
        }
    }

    #[test]
    fn the_strongest_role_counts() {
        assert_eq!(Role::strongest(&["watch", "add"]), Some(Role::Add));
        assert_eq!(Role::strongest(&["admin", "watch"]), Some(Role::Admin));
        assert_eq!(Role::strongest(&["owner"]), None);
        assert_eq!(Role::strongest(&[]), None);
    }
}
