//! Pages that Chromium really opens, and what the gateway makes of what they ask: over HTTPS, and over http by a name that
//! is not localhost, where browsers say less.

use std::collections::BTreeSet;

use ztgate::audit::{Record, Verdict};
use ztgate::model::RefusalCode;

use super::street::{Outcome, Street};

/// All that the page asks for by a way of its own.
const ALL: [&str; 25] = [
    "beacon",
    "cors-include-GET",
    "cors-include-POST",
    "cors-omit-GET",
    "cors-omit-POST",
    "form",
    "frame",
    "hidden-form",
    "image",
    "no-cors-include-GET",
    "no-cors-include-POST",
    "no-cors-omit-GET",
    "no-cors-omit-POST",
    "preflight",
    "same-origin-include-GET",
    "same-origin-include-POST",
    "same-origin-omit-GET",
    "same-origin-omit-POST",
    "sandbox-fetch",
    "sandbox-form",
    "script",
    "speculation",
    "style",
    "unsaid",
    "websocket",
];

/// What Chromium itself keeps a page from asking of another origin, without a word to anybody.
const UNSENT: [&str; 4] =
    ["same-origin-include-GET", "same-origin-include-POST", "same-origin-omit-GET", "same-origin-omit-POST"];

/// Nor does it fetch anything ahead by http.
const UNSENT_BY_HTTP: [&str; 1] = ["speculation"];

/// What a page asks in a sandbox. No origin is said of it but `null`.
const SANDBOXED: [&str; 2] = ["sandbox-fetch", "sandbox-form"];

/// What the plain lane cannot tell, as deploy/pages.md says: frames from links, and what names no page from natives.
const UNTOLD: [&str; 2] = ["frame", "unsaid"];

fn set(ways: &[&str]) -> BTreeSet<String> {
    ways.iter().map(|&way| way.to_owned()).collect()
}

fn all_but(ways: &[&[&str]]) -> BTreeSet<String> {
    ALL.iter().filter(|way| !ways.concat().contains(way)).map(|&way| way.to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_services_own_page_does_all_that_pages_do() {
    let Some(street) = Street::open().await else { return };
    // What is fetched ahead by rules looks over https like anybody's, and over http a form that is not to say where it is from.
    for (lane, kept, unsent) in
        [("https", &["speculation"][..], &[][..]), ("http", &["hidden-form"], &UNSENT_BY_HTTP)]
    {
        let wiki = street.service(lane, "wiki");
        let Outcome { through, refused, sent, read, .. } = street.asks(&wiki, "wiki", lane);
        assert_eq!(sent, all_but(&[unsent]), "{lane}");
        assert_eq!(through, all_but(&[&SANDBOXED, kept, unsent]), "{lane}");
        assert_eq!(refused, set(&[&SANDBOXED, kept].concat()), "{lane}");
        assert!(read.contains("cors-include-POST") && read.contains("preflight"), "{lane}: {read}");
    }
}

/// Each way by itself: the browser sent it, and it was the gateway that refused it.
#[tokio::test(flavor = "multi_thread")]
async fn pages_from_elsewhere_and_of_sibling_services_do_none_of_it() {
    let Some(mut street) = Street::open().await else { return };
    let mut refusals = 0;
    for (page, lane, goes, unsent) in [
        (street.elsewhere("http", "evil"), "https", &[][..], &[][..]),
        (street.elsewhere("https", "evil"), "https", &[], &[]),
        (street.service("https", "films"), "https", &[], &[]),
        // The service's own name, but the page came by http.
        (street.service("http", "wiki"), "https", &[], &[]),
        (street.elsewhere("http", "evil"), "http", &UNTOLD, &UNSENT_BY_HTTP),
        (street.service("http", "films"), "http", &UNTOLD, &UNSENT_BY_HTTP),
    ] {
        let outcome = street.asks(&page, "wiki", lane);
        assert_eq!(outcome.sent, all_but(&[&UNSENT, unsent]), "sent from {page} over {lane}");
        assert_eq!(outcome.refused, all_but(&[&UNSENT, unsent, goes]), "refused from {page} over {lane}");
        assert_eq!(outcome.through, set(goes), "from {page} over {lane}");
        assert_eq!(outcome.read, "", "from {page} over {lane}");
        refusals += outcome.refusals;
    }
    let on_record = street.refusals_on_record().await;
    assert!(on_record >= refusals, "{on_record} of {refusals}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listed_page_asks_and_reads_what_names_it() {
    let Some(street) = Street::open().await else { return };
    for (scheme, lane) in [("http", "https"), ("http", "http"), ("https", "https")] {
        let friend = street.elsewhere(scheme, "friend");
        let Outcome { through, refused, read, .. } = street.asks(&friend, "wiki", lane);
        for named in [
            "beacon",
            "cors-include-GET",
            "cors-omit-POST",
            "form",
            "no-cors-include-POST",
            "preflight",
            "websocket",
        ] {
            assert!(through.contains(named), "{named} from {friend} over {lane}: {through:?}");
        }
        for hidden in SANDBOXED {
            assert!(
                refused.contains(hidden) && !through.contains(hidden),
                "{hidden} over {lane}: {refused:?}"
            );
        }
        for readable in ["cors-include-GET", "cors-include-POST", "cors-omit-GET", "preflight"] {
            assert!(read.split(' ').any(|what| what == readable), "{readable} over {lane}: {read}");
        }
    }
}

/// Who lists `null` lists every sandbox; who does not, none.
#[tokio::test(flavor = "multi_thread")]
async fn a_sandbox_reaches_a_service_that_lists_null_and_no_other() {
    let Some(street) = Street::open().await else { return };
    for (scheme, lane) in [("http", "https"), ("http", "http"), ("https", "https")] {
        let evil = street.elsewhere(scheme, "evil");
        for (service, lists_null) in [("drop", true), ("films", false)] {
            let Outcome { through, refused, .. } = street.asks(&evil, service, lane);
            let (reached, kept) = if lists_null { (through, refused) } else { (refused, through) };
            for way in SANDBOXED {
                assert!(reached.contains(way), "{way} from {evil} to {service} over {lane}");
                assert!(!kept.contains(way), "{way} from {evil} to {service} over {lane}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_from_anywhere_leads_to_a_service() {
    let Some(street) = Street::open().await else { return };
    for lane in ["https", "http"] {
        let to = street.service(lane, "wiki");
        for page in [
            street.elsewhere("http", "evil"),
            street.elsewhere("https", "evil"),
            street.service(lane, "films"),
            to.clone(),
        ] {
            let shown = street.shows(&format!("{page}/page?link={to}/linked"), "here it is");
            assert!(shown, "from {page} over {lane}");
        }
    }
}

/// A refusal of what was fetched ahead is for the browser alone: it is not what a person sees who goes there.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_refused_ahead_is_asked_anew_when_somebody_goes_there() {
    let Some(street) = Street::open().await else { return };
    let films = street.service("https", "films");
    let url = format!("{films}/page?ahead=1&link={}/linked", street.service("https", "wiki"));
    assert!(street.shows(&url, "here it is"));
    let is_ahead = |record: &Record| record.verdict == Verdict::Refuse(RefusalCode::CrossSite);
    let refused = street.world.audit().record(is_ahead).await;
    assert_eq!((refused.path.as_deref(), refused.service.as_deref()), (Some("/linked"), Some("wiki")));
    let seen = street.world.upstream("wiki").requests();
    let seen: Vec<_> = seen.iter().filter(|head| head.target() == "/linked").collect();
    assert!(!seen.is_empty() && seen.iter().all(|head| !head.has("sec-purpose")), "{seen:?}");
}

/// Chromium takes `home.arpa` for a public suffix, as it does `com`: names below it are another site to each other. In a zone
/// of another name they are one, and share cookies.
#[tokio::test(flavor = "multi_thread")]
async fn a_sibling_of_the_same_site_does_no_more_than_one_of_another() {
    for (zone, said) in [("lab.internal", "same-site"), ("home.arpa", "cross-site")] {
        let Some(street) = Street::open_in(zone).await else { return };
        let outcome = street.asks(&street.service("https", "films"), "wiki", "https");
        for asked in &outcome.asked {
            let way = asked.target().rsplit('/').next().unwrap();
            let said = match way {
                // Of a WebSocket Chromium says no more than its origin.
                "websocket" => None,
                "speculation" => Some("none"),
                // A sandbox is no site at all.
                "sandbox-fetch" | "sandbox-form" => Some("cross-site"),
                _ => Some(said),
            };
            assert_eq!(asked.header("sec-fetch-site"), said, "{way} in {zone}");
        }
        assert_eq!(outcome.refused, all_but(&[&UNSENT]), "{zone}");
        assert_eq!(outcome.through, set(&[]), "{zone}");
        assert_eq!(outcome.read, "", "{zone}");
    }
}
