//! The one stylesheet, and the policy that lets a page have it and nothing else.

use base64::Engine;

/// Stands in every page's head, byte for byte.
pub(super) const STYLE: &str = include_str!("page.css");

/// The value of `Content-Security-Policy` for every page: our stylesheet by its hash, the icon that is part of the
/// page, and nothing from anywhere, no script, no frame around it.
pub const CONTENT_SECURITY_POLICY: &str = OWN_PAGE_ONLY;

/// The same, for a page that adds to it.
pub(super) const OWN_PAGE_ONLY: &str = "default-src 'none'; \
    style-src 'sha256-qZAE9ijDtEzYwPFC/SAeXw23nfxURdi6To6bT28gB1Q='; \
    img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// A text in a page as a policy names it.
pub(super) fn sha256_source(text: &str) -> String {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, text.as_bytes());
    format!("'sha256-{}'", base64::engine::general_purpose::STANDARD.encode(digest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_policy_names_the_stylesheet_by_its_hash() {
        let hash = sha256_source(STYLE);
        assert!(CONTENT_SECURITY_POLICY.contains(&hash), "the hash is now {hash}");
        assert!(!STYLE.contains("url(") && !STYLE.contains("@import"), "nothing from elsewhere");
        assert!(!STYLE.contains('<'), "it must not end its element");
    }
}
