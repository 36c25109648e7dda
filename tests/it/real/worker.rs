//! A service whose worker fetches for its pages, and the pages themselves when somebody goes there, as Home Assistant's
//! does. Chromium then says less of a link.

use super::street::Street;

#[tokio::test(flavor = "multi_thread")]
async fn a_link_through_a_service_worker_leads_there_and_the_page_is_shown_in_no_others_frame() {
    for (zone, sibling) in [("home.arpa", "cross-site"), ("lab.internal", "same-site")] {
        let Some(street) = Street::open_in(zone).await else { return };
        let wiki = street.service("https", "wiki");
        for (at, page, site) in [
            ("/evil", street.elsewhere("https", "evil"), "cross-site"),
            ("/films", street.service("https", "films"), sibling),
        ] {
            let page = format!("{page}/page");
            let (shown, asked) = street.follows_after_worker(&wiki, &page, at);
            assert!(shown.contains("here it is"), "{asked:?}");
            assert_eq!(asked.header("sec-fetch-site"), Some(site), "{asked:?}");
            assert_eq!(asked.header("sec-fetch-dest"), Some("empty"), "by the worker: {asked:?}");

            let framed = format!("{wiki}/page?in{}", &at[1..]);
            let (is_seen, asked) = street.frames_after_worker(&wiki, &page, &framed);
            assert!(!is_seen, "in {page}: {asked:?}");
            // What is of another site says that it is a frame; what is of this one comes through, and may be framed by its own.
            let unframed = asked.told("content-security-policy") == Some("frame-ancestors 'self'");
            assert!(if site == "same-site" { unframed } else { asked.is_refused() }, "{asked:?}");
        }
    }
}
