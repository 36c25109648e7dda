//! Who gets JSON instead of a page.

/// Whether the client wants JSON, by its `Accept` header (RFC 9110, section 12.5.1).
///
/// Browsers name `text/html` when a person opens an address; scripts, `curl` and native apps send `*/*`, name JSON, or
/// send nothing. So a page goes only to who names HTML (or XHTML) and does not rank JSON above it; everybody else gets
/// the JSON twin, which a person in a terminal can read too.
pub fn wants_json(accept: Option<&str>) -> bool {
    let (mut html, mut json) = (0, 0);
    for range in accept.unwrap_or_default().split(',') {
        let mut parts = range.split(';').map(str::trim);
        let rank = match parts.next().unwrap_or_default().to_ascii_lowercase().as_str() {
            "text/html" | "application/xhtml+xml" => &mut html,
            media if media == "application/json" || media.ends_with("+json") => &mut json,
            _ => continue,
        };
        let quality = parts.find_map(|part| part.strip_prefix("q=").or(part.strip_prefix("Q=")));
        *rank = (*rank).max(quality.map_or(1000, thousandths));
    }
    html == 0 || json > html
}

/// A quality value in thousandths, which is all the precision it has; 0 for what is none.
fn thousandths(quality: &str) -> u32 {
    quality.trim().parse().map_or(0, |value: f32| (value.clamp(0.0, 1.0) * 1000.0) as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn browsers_get_pages_and_the_rest_json() {
        for (accept, json) in [
            (Some("text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8"), false),
            (Some("TEXT/HTML"), false),
            (Some("text/html, application/json"), false),
            (Some("application/xhtml+xml"), false),
            (Some("application/json"), true),
            (Some("application/json, text/plain, */*"), true),
            (Some("application/json, text/html;q=0.9"), true),
            (Some("application/problem+json, text/html;q=0.1"), true),
            (Some("*/*"), true),
            (Some("image/webp,*/*;q=0.8"), true),
            (Some("text/html;q=0"), true),
            (Some("text/html;q=nonsense"), true),
            (Some(""), true),
            (None, true),
        ] {
            assert_eq!(wants_json(accept), json, "{accept:?}");
        }
    }
}
