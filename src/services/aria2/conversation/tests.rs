//! What a conversation must hold: nothing that was not judged reaches aria2, and each answer reaches its question.

use std::time::Duration;

use super::*;
use crate::linux::secret::{self, Owners};
use crate::model::RefusalCode;
use crate::services::Deed;

const ADMIN: &[&str] = &["watch", "add", "manage", "admin"];
const MANAGE: &[&str] = &["watch", "add", "manage"];
const ADD: &[&str] = &["watch", "add"];
const WATCH: &[&str] = &["watch"];
const NOW: Moment = Moment::since_boot(1000, 0);

fn conversation(secret: Option<&str>) -> Conversation {
    let secret = secret.map(|secret| {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), secret).unwrap();
        Arc::new(secret::read(file.path(), Owners::Ours).unwrap())
    });
    let dirs = vec![("films".to_owned(), "/srv/films".into())];
    Conversation::new(Arc::new(House { secret, dirs, private_targets: false, longest: 4096 }))
}

fn open() -> Conversation {
    conversation(Some("s3cret"))
}

fn forwarded(ruling: &Ruling) -> &str {
    std::str::from_utf8(ruling.forward.as_deref().unwrap()).unwrap()
}

fn replied(ruling: &Ruling) -> (u16, &str) {
    let reply = ruling.reply.as_ref().unwrap();
    (reply.status.as_u16(), std::str::from_utf8(&reply.message).unwrap())
}

fn texts(deeds: &[Deed]) -> Vec<&str> {
    deeds.iter().map(|deed| &*deed.text).collect()
}

fn said(answered: &Answered) -> &str {
    std::str::from_utf8(answered.message.as_deref().unwrap()).unwrap()
}

#[test]
fn a_call_reaches_aria2_with_the_real_secret_and_a_number_of_ours() {
    for params in [
        r#"["a1"]"#,
        r#"["token:s3cret","a1"]"#,
        r#"["token:wrong","a1"]"#,
        r#"["token:","token:x","token:token:y","a1"]"#,
        r#"["\u0074oken:x","a1"]"#,
    ] {
        let asked =
            format!(r#"{{"jsonrpc":"2.0","id":"x","method":"aria2.tellStat\u0075s","params":{params}}}"#);
        let ruling = open().ask(asked.as_bytes(), WATCH, NOW);
        let expected =
            r#"{"jsonrpc":"2.0","id":1,"method":"aria2.tellStatus","params":["token:s3cret","a1"]}"#;
        assert_eq!(forwarded(&ruling), expected);
        assert_eq!((&ruling.reply, ruling.deeds.len()), (&None, 0));
        let expected = expected.replace(r#""token:s3cret","#, "");
        assert_eq!(forwarded(&conversation(None).ask(asked.as_bytes(), WATCH, NOW)), expected);
    }
    // What is not in the first place is no secret to aria2, and stays a parameter.
    let ruling = open().ask(br#"{"id":1,"method":"aria2.tellStatus","params":["a1","token:x"]}"#, WATCH, NOW);
    assert!(forwarded(&ruling).ends_with(r#""params":["token:s3cret","a1","token:x"]}"#));
    // aria2 asks no secret for these, so it hears none.
    let ruling = open().ask(br#"{"id":1,"method":"system.listMethods","params":["token:x"]}"#, WATCH, NOW);
    assert!(forwarded(&ruling).ends_with(r#""params":[]}"#));
}

#[test]
fn a_missing_role_is_told_as_an_error_that_aria2_does_not_have() {
    let ruling = open().ask(br#"{"id":"x","method":"aria2.pause","params":["a1"]}"#, ADD, NOW);
    let expected = concat!(
        r#"{"id":"x","jsonrpc":"2.0","error":{"code":-32010,"message":"aria2.pause needs the role manage; "#,
        r#"you have add","data":{"refusal":"no-rule"}}}"#
    );
    assert_eq!(replied(&ruling), (403, expected));
    assert_eq!(ruling.forward, None);
    assert_eq!(texts(&ruling.deeds), ["tried aria2.pause: needs the role manage; you have add"]);
    assert_eq!((&*ruling.deeds[0].call, ruling.deeds[0].refused), ("aria2.pause", Some(RefusalCode::NoRule)));
}

#[test]
fn each_role_may_make_its_calls_and_no_others() {
    for (call, least) in [
        (r#""aria2.getVersion""#, WATCH),
        (r#""system.multicall","params":[[{"methodName":"aria2.getVersion"}]]"#, WATCH),
        (r#""aria2.addUri","params":[["https://example.org/a"],{"dir":"films"},0]"#, ADD),
        (r#""aria2.addTorrent","params":["ZDQ6aW5mb2Q0Om5hbWUzOmlzb2Vl",[],{}]"#, ADD),
        (r#""aria2.addMetalink","params":["PD94bWw="]"#, ADD),
        (r#""aria2.changePosition","params":["a1",-1,"POS_CUR"]"#, MANAGE),
        (
            r#""aria2.changeUri","params":["a1",1,["http://192.168.1.1/"],["https://example.org/b"],0]"#,
            MANAGE,
        ),
        (r#""aria2.changeOption","params":["a1",{"max-download-limit":"1M"}]"#, MANAGE),
        (r#""aria2.purgeDownloadResult""#, MANAGE),
        (r#""aria2.saveSession""#, MANAGE),
        (r#""aria2.changeGlobalOption","params":[{"log":"/x"}]"#, ADMIN),
        (r#""aria2.shutdown""#, ADMIN),
    ] {
        let asked = format!(r#"{{"id":1,"method":{call}}}"#);
        for roles in [&[][..], WATCH, ADD, MANAGE, ADMIN] {
            let ruling = open().ask(asked.as_bytes(), roles, NOW);
            assert_eq!(ruling.forward.is_some(), roles.len() >= least.len(), "{roles:?} {call}");
        }
    }
}

#[test]
fn what_nobody_may_ask_is_not_asked_for_anybody() {
    for (call, status) in [
        (r#""aria2.getSecret""#, 403),
        (r#""ARIA2.getVersion""#, 403),
        (r#""system.multicall","params":[]"#, 400),
        (r#""system.multicall","params":[[],[]]"#, 400),
        (r#""aria2.addUri","params":[["http://127.0.0.1:6800/"]]"#, 403),
        (r#""aria2.addUri","params":[["https://example.org/","http://nas/"]]"#, 403),
        (r#""aria2.addUri","params":["https://example.org/"]"#, 400),
        (r#""aria2.addUri","params":[["https://example.org/"],null]"#, 400),
        (r#""aria2.addUri","params":[["https://example.org/"],{},-1]"#, 400),
        (r#""aria2.addUri","params":[["https://example.org/"],{},0,"x"]"#, 400),
        (r#""aria2.addUri","params":[["https://example.org/",5]]"#, 400),
        (r#""aria2.addTorrent","params":[""]"#, 400),
        (r#""aria2.addTorrent","params":["!"]"#, 400),
        (r#""aria2.addTorrent","params":["ZDQ6aW5mb2Q0Om5hbWUzOmlzb2Vl",["http://10.0.0.1/"]]"#, 403),
        (r#""aria2.addMetalink","params":["===="]"#, 400),
        (r#""aria2.pause","params":["../x"]"#, 400),
        (r#""aria2.pause","params":[]"#, 400),
        (r#""aria2.changeUri","params":["a1",1,[],["http://localhost/"]]"#, 403),
        (r#""aria2.changeUri","params":["a1",0,[],[]]"#, 400),
    ] {
        let asked = format!(r#"{{"id":1,"method":{call}}}"#);
        let ruling = open().ask(asked.as_bytes(), ADMIN, NOW);
        assert_eq!((ruling.forward.as_deref(), replied(&ruling).0), (None, status), "{call}");
        assert_eq!(ruling.deeds.len(), 1, "{call}");
    }
}

#[test]
fn what_is_no_call_gets_an_error_and_a_record() {
    for asked in ["", "{", "5", "[]", r#"{"id":1,"id":2,"method":"aria2.getVersion"}"#, "{}x", "\u{feff}{}"] {
        let ruling = open().ask(asked.as_bytes(), ADMIN, NOW);
        let (status, message) = replied(&ruling);
        assert!(message.starts_with(r#"{"id":null,"jsonrpc":"2.0","error":{"code":-32012,"#), "{message}");
        assert_eq!((status, ruling.forward.as_deref()), (400, None), "{asked}");
        assert!(ruling.deeds[0].text.starts_with("sent no call: "), "{:?}", ruling.deeds);
    }
    let many = vec![r#"{"methodName":"aria2.getVersion"}"#; MOST_CALLS + 1].join(",");
    let many = format!(r#"{{"id":1,"method":"system.multicall","params":["token:x",[{many}]]}}"#);
    let house = House { longest: 1 << 20, ..House::default() };
    let ruling = Conversation::new(Arc::new(house)).ask(many.as_bytes(), ADMIN, NOW);
    assert_eq!((ruling.forward.as_deref(), replied(&ruling).0), (None, 400));
}

#[test]
fn a_message_that_aria2_would_drop_is_told_so() {
    let mut talk = open();
    let long = format!(r#"{{"id":1,"method":"aria2.getUris","params":["{}"]}}"#, "a".repeat(4096));
    let whole = format!("{:4096}", r#"{"id":1,"method":"aria2.getVersion"}"#);
    // It fits as it is, and no longer with what has to be inserted.
    let nearly = format!(r#"{{"id":1,"method":"aria2.getUris","params":["{}"]}}"#, "a".repeat(4040));
    assert!(long.len() > 4096 && nearly.len() < 4096);
    for (asked, fits) in [(&long, false), (&whole, true), (&nearly, false)] {
        let ruling = talk.ask(asked.as_bytes(), WATCH, NOW);
        assert_eq!(ruling.forward.is_some(), fits, "{} bytes", asked.len());
        if !fits {
            assert_eq!(replied(&ruling).0, 413);
            assert!(replied(&ruling).1.contains(r#""code":-32013"#));
        }
    }
}

#[test]
fn an_answer_passes_as_aria2_wrote_it_but_for_the_id() {
    let mut talk = open();
    talk.ask(br#"{"id":"x","method":"aria2.tellActive"}"#, WATCH, NOW);
    let answer = br#"{"id":1,"jsonrpc":"2.0","result":[{"dir":"\/srv","n":1.50,"f":"\u00e9"}]}"#;
    let answered = talk.answer(Bytes::from_static(answer), NOW);
    assert_eq!(
        said(&answered),
        r#"{"id":"x","jsonrpc":"2.0","result":[{"dir":"\/srv","n":1.50,"f":"\u00e9"}]}"#
    );
    assert_eq!((answered.deeds, talk.due()), (Vec::new(), None));
    // Bytes that are no UTF-8, as file names may be.
    talk.ask(br#"{"id":null,"method":"aria2.getFiles","params":["a1"]}"#, WATCH, NOW);
    let answered =
        talk.answer(Bytes::from_static(b"{\"id\":2,\"jsonrpc\":\"2.0\",\"result\":\"\xff\"}"), NOW);
    assert_eq!(
        answered.message.as_deref(),
        Some(&b"{\"id\":null,\"jsonrpc\":\"2.0\",\"result\":\"\xff\"}"[..])
    );
}

#[test]
fn an_error_of_aria2s_passes_and_is_recorded() {
    let mut talk = open();
    talk.ask(br#"{"id":5,"method":"aria2.pause","params":["a1"]}"#, MANAGE, NOW);
    let error = br#"{"id":1,"jsonrpc":"2.0","error":{"code":1,"message":"GID a1 is not found"}}"#;
    let answered = talk.answer(Bytes::from_static(error), NOW);
    assert_eq!(said(&answered), std::str::from_utf8(error).unwrap().replace("\"id\":1", "\"id\":5"));
    assert_eq!(texts(&answered.deeds), ["could not pause a1: GID a1 is not found"]);
}

#[test]
fn a_batch_is_judged_item_by_item_and_answered_in_order() {
    let mut talk = open();
    let asked = br#"[
        {"id":"same","method":"aria2.shutdown"},
        {"id":"same","method":"aria2.addUri","params":[["https://u:p@example.org/a?t=1","https://b.org/"]]},
        7,
        {"id":"z","method":"aria2.getVersion"}
    ]"#;
    let ruling = talk.ask(asked, ADD, NOW);
    let call = r#"{"jsonrpc":"2.0","id":"#;
    let expected = [
        "[",
        call,
        r#"1,"method":"aria2.addUri","params":["token:s3cret",["https://u:p@example.org/a?t=1","https://b.org/"]]},"#,
        call,
        r#"2,"method":"aria2.getVersion","params":["token:s3cret"]}]"#,
    ];
    assert_eq!(forwarded(&ruling), expected.concat());
    assert_eq!(ruling.reply, None);
    assert_eq!(ruling.deeds.len(), 2);
    // In another order, to be sure that it is the ids that tell.
    let answer =
        r#"[{"id":2,"jsonrpc":"2.0","result":"v"},{"id":1,"jsonrpc":"2.0","result":"2089b05ecca3d829"}]"#;
    let answered = talk.answer(Bytes::from_static(answer.as_bytes()), NOW);
    let Json::List(answers) = json::read_answer(said(&answered).as_bytes()).unwrap() else { panic!() };
    let shown = |answer: &Json| {
        let id = String::from_utf8(answer.get("id").unwrap().to_bytes()).unwrap();
        (id, answer.get("result").and_then(Json::as_text).unwrap_or("error").to_owned())
    };
    let shown: Vec<(String, String)> = answers.iter().map(shown).collect();
    let expected =
        [("\"same\"", "error"), ("\"same\"", "2089b05ecca3d829"), ("null", "error"), ("\"z\"", "v")];
    assert_eq!(shown, expected.map(|(id, said)| (id.to_owned(), said.to_owned())));
    assert_eq!(texts(&answered.deeds), ["added https://example.org/a and 1 more as 2089b05ecca3d829"]);
}

#[test]
fn a_batch_of_which_nothing_is_allowed_never_reaches_aria2() {
    let asked = br#"[{"id":1,"method":"aria2.shutdown"},{"id":2,"method":"x"}]"#;
    let ruling = open().ask(asked, WATCH, NOW);
    let (status, message) = replied(&ruling);
    assert_eq!((status, ruling.forward.as_deref(), ruling.deeds.len()), (200, None, 2));
    assert!(message.starts_with(r#"[{"id":1,"#) && message.contains(r#"{"id":2,"#), "{message}");
}

#[test]
fn a_multicall_is_judged_call_by_call_with_the_secret_within() {
    let mut talk = open();
    let asked = br#"{"id":"m","method":"system.multicall","params":["token:out",[
        {"methodName":"aria2.getVersion","params":["token:x","token:y"]},
        {"methodName":"aria2.pause","params":["token:s3cret","a1"]},
        {"methodName":"system.multicall","params":[[]]},
        {"methodName":"aria2.getGlobalStat"},
        {"methodname":"aria2.shutdown"},
        {"methodName":"aria2.tellStatus","params":["a1"],"extra":1}
    ]]}"#;
    let ruling = talk.ask(asked, WATCH, NOW);
    let expected = concat!(
        r#"{"jsonrpc":"2.0","id":1,"method":"system.multicall","params":[["#,
        r#"{"methodName":"aria2.getVersion","params":["token:s3cret"]},"#,
        r#"{"methodName":"aria2.getGlobalStat","params":["token:s3cret"]},"#,
        r#"{"methodName":"aria2.tellStatus","params":["token:s3cret","a1"]}]]}"#,
    );
    assert_eq!(forwarded(&ruling), expected);
    assert_eq!(ruling.deeds.len(), 3);
    let answer = br#"{"id":1,"jsonrpc":"2.0","result":[["v"],["s"],{"code":1,"message":"no"}]}"#;
    let answered = talk.answer(Bytes::from_static(answer), NOW);
    let answer = json::read_answer(said(&answered).as_bytes()).unwrap();
    let Some(Json::List(results)) = answer.get("result") else { panic!() };
    let shown: Vec<String> = results
        .iter()
        .map(|result| match result.get("code").and_then(Json::as_whole) {
            Some(code) => code.to_string(),
            None => String::from_utf8(result.to_bytes()).unwrap(),
        })
        .collect();
    assert_eq!(shown, [r#"["v"]"#, "-32010", "-32012", r#"["s"]"#, "-32012", "1"]);
}

#[test]
fn a_multicall_of_which_nothing_is_allowed_is_answered_here() {
    let asked = br#"{"id":1,"method":"system.multicall","params":[[{"methodName":"aria2.shutdown"}]]}"#;
    let ruling = open().ask(asked, MANAGE, NOW);
    let (status, message) = replied(&ruling);
    assert_eq!((status, ruling.forward.as_deref()), (200, None));
    assert!(message.starts_with(r#"{"id":1,"jsonrpc":"2.0","result":[{"code":-32010,"#), "{message}");
}

#[test]
fn secrets_in_answers_are_for_the_role_admin() {
    for (roles, shown) in [(MANAGE, false), (ADMIN, true)] {
        let mut talk = open();
        talk.ask(br#"{"id":1,"method":"aria2.getGlobalOption"}"#, roles, NOW);
        let nested = br#"{"id":1,"method":"system.multicall","params":[[
            {"methodName":"aria2.getOption","params":["a1"]}]]}"#;
        talk.ask(nested, roles, NOW);
        for answer in [
            &br#"{"id":1,"jsonrpc":"2.0","result":{"http-passwd":"s3cret","dir":"ftp://a:s3cret@b/"}}"#[..],
            br#"{"id":2,"jsonrpc":"2.0","result":[[{"header":"s3cret","out":"x"}]]}"#,
        ] {
            let answered = talk.answer(Bytes::from_static(answer), NOW);
            assert_eq!(said(&answered).contains("s3cret"), shown, "{}", said(&answered));
        }
    }
}

#[test]
fn only_notifications_and_answers_that_are_waited_for_pass() {
    let mut talk = open();
    talk.ask(br#"{"id":9,"method":"aria2.getVersion"}"#, WATCH, NOW);
    let news = br#"{"jsonrpc":"2.0","method":"aria2.onDownloadStart","params":[{"gid":"a1"}]}"#;
    assert_eq!(talk.answer(Bytes::from_static(news), NOW).message.as_deref(), Some(&news[..]));
    for stray in [
        &br#"{"id":null,"jsonrpc":"2.0","error":{"code":-32600,"message":"Invalid Request."}}"#[..],
        br#"{"id":9,"jsonrpc":"2.0","result":"x"}"#,
        br#"{"id":"1","jsonrpc":"2.0","result":"x"}"#,
        br#"{"id":-1,"jsonrpc":"2.0","result":"x"}"#,
        br#"{"jsonrpc":"2.0","result":"x"}"#,
        br#"[]"#,
        br#"[{"id":9}]"#,
        b"<html>",
        b"",
    ] {
        assert_eq!(talk.answer(Bytes::copy_from_slice(stray), NOW), Answered::default());
    }
    let answer = Bytes::from_static(br#"{"id":1,"jsonrpc":"2.0","result":"x"}"#);
    assert!(talk.answer(answer.clone(), NOW).message.is_some());
    assert_eq!(talk.answer(answer, NOW), Answered::default());
}

#[test]
fn who_waits_too_long_is_told_so_and_a_late_answer_is_dropped() {
    let mut talk = open();
    assert_eq!(talk.due(), None);
    talk.ask(br#"{"id":"a","method":"aria2.pauseAll"}"#, MANAGE, NOW);
    let later = NOW + Duration::from_secs(1);
    talk.ask(
        br#"[{"id":"b","method":"aria2.shutdown"},{"id":"c","method":"aria2.getVersion"}]"#,
        WATCH,
        later,
    );
    assert_eq!(talk.due(), Some(NOW + PATIENCE));
    assert_eq!(talk.give_up(Silence::Late(NOW)), Answered::default());
    let answered = talk.give_up(Silence::Late(NOW + PATIENCE));
    assert!(said(&answered).starts_with(r#"{"id":"a","jsonrpc":"2.0","error":{"code":-32016,"#));
    assert_eq!(texts(&answered.deeds), ["asked to pause all downloads, no answer"]);
    assert_eq!(talk.due(), Some(later + PATIENCE));
    assert_eq!(
        talk.answer(Bytes::from_static(br#"{"id":1,"jsonrpc":"2.0","result":"OK"}"#), later).message,
        None
    );
    let answered = talk.give_up(Silence::Broke);
    assert!(said(&answered).contains(r#"{"id":"b","jsonrpc":"2.0","error":{"code":-32010,"#));
    assert!(said(&answered).contains(r#"{"id":"c","jsonrpc":"2.0","error":{"code":-32015,"#));
    assert_eq!(talk.give_up(Silence::Broke), Answered::default());
}

#[test]
fn what_was_never_asked_is_not_told_as_if_it_might_be_done() {
    for (why, code, deed) in [
        (Silence::Unreached, -32015, "could not pause all downloads: aria2 cannot be reached"),
        (
            Silence::Busy { heard: false },
            -32014,
            "could not pause all downloads: the gateway carries as many calls as it may: try again in a moment",
        ),
        (Silence::Busy { heard: true }, -32014, "asked to pause all downloads, no answer"),
        (Silence::TooLong, -32015, "asked to pause all downloads, no answer"),
    ] {
        let mut talk = open();
        talk.ask(br#"{"id":"a","method":"aria2.pauseAll"}"#, MANAGE, NOW);
        let answered = talk.give_up(why);
        assert!(said(&answered).contains(&format!(r#""error":{{"code":{code},"#)), "{}", said(&answered));
        assert_eq!(texts(&answered.deeds), [deed]);
    }
}

#[test]
fn a_hanging_aria2_is_not_asked_for_ever() {
    let mut talk = open();
    let call = br#"{"id":1,"method":"aria2.getVersion"}"#;
    for _ in 0..MOST_OPEN {
        assert!(talk.ask(call, WATCH, NOW).forward.is_some());
    }
    let ruling = talk.ask(call, WATCH, NOW);
    assert_eq!((ruling.forward.as_deref(), replied(&ruling).0), (None, 503));
    talk.give_up(Silence::Broke);
    assert!(talk.ask(call, WATCH, NOW).forward.is_some());
}

#[test]
fn nobody_reads_the_secret_in_a_debug_text() {
    let mut talk = open();
    talk.ask(
        br#"{"id":1,"method":"aria2.addUri","params":["token:s3cret",["https://a:s3cret@b.org/"]]}"#,
        ADD,
        NOW,
    );
    let said = format!("{talk:?} {:?}", talk.house);
    assert!(!said.contains("s3cret"), "{said}");
}
