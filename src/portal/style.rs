//! The one stylesheet, and the policy that lets a page have it and nothing else.

/// Stands in every page's head, byte for byte.
pub(super) const STYLE: &str = include_str!("page.css");

/// The value of `Content-Security-Policy` for every page: our stylesheet by its hash, the icon that is part of the
/// page, and nothing from anywhere, no script, no frame around it.
pub const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; \
    style-src 'sha256-uS5l9OAlEp46JTdcs9ScZ3RlfPk7+R5XyUqOSyuftrs='; \
    img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

#[cfg(test)]
mod tests {
    use base64::Engine;

    use super::*;

    #[test]
    fn the_policy_names_the_stylesheet_by_its_hash() {
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, STYLE.as_bytes());
        let hash = base64::engine::general_purpose::STANDARD.encode(digest);
        assert!(
            CONTENT_SECURITY_POLICY.contains(&format!("'sha256-{hash}'")),
            "the hash is now sha256-{hash}"
        );
        assert!(!STYLE.contains("url(") && !STYLE.contains("@import"), "nothing from elsewhere");
        assert!(!STYLE.contains('<'), "it must not end its element");
    }
}
