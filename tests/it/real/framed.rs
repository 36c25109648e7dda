//! What Chromium shows of a page of the gateway's in another page's frame, where people would click without seeing what.

use super::street::Street;

/// Over http the gateway cannot tell a frame from a link, and answers; what it shows itself says whom it may be framed by.
#[tokio::test(flavor = "multi_thread")]
async fn only_their_own_pages_frame_the_files_that_the_gateway_shows() {
    let Some(street) = Street::open().await else { return };
    for lane in ["http", "https"] {
        let file = format!("{}/page.html", street.service(lane, "ariang"));
        let (seen, asked) = street.frames(&file, &file);
        assert!(seen && !asked.is_refused(), "by itself over {lane}: {asked:?}");
        for page in [street.elsewhere("http", "evil"), street.service(lane, "films")] {
            let (seen, asked) = street.frames(&format!("{page}/page"), &file);
            assert!(!seen, "in {page} over {lane}");
            assert_eq!(asked.is_refused(), lane == "https", "in {page}: {asked:?}");
            let policy = asked.told("content-security-policy").unwrap();
            assert!(lane == "https" || policy == "frame-ancestors 'self'", "{policy}");
        }
    }
    // A service's own page, which does not say so, is seen there: it is not the browser that keeps frames from being seen.
    let wiki = format!("{}/page", street.service("http", "wiki"));
    let (seen, _) = street.frames(&format!("{}/page", street.elsewhere("http", "evil")), &wiki);
    assert!(seen);
}
