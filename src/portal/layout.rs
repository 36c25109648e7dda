//! What all pages share: the document around the content, and the few drawings.

use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::style::STYLE;

/// The gateway's mark, also in the browser's tab; percent-encoded by hand where a data URL needs it.
const TAB_ICON: &str = "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 24 24'%3E\
    %3Crect width='24' height='24' rx='6' fill='%230b6e63'/%3E%3Cpath d='M7 19V10a5 5 0 0 1 10 0v9M5 19h14' \
    fill='none' stroke='%23fff' stroke-width='2' stroke-linecap='round'/%3E%3C/svg%3E";

/// A whole page. `zone` heads it, and leads to the gateway's own page where that has an address.
pub(super) fn page(title: &str, class: &str, zone: &str, gate: Option<&str>, content: Markup) -> String {
    page_with(None, title, class, zone, gate, content)
}

/// A page that ends with a script, which its policy has to name.
pub(super) fn page_with(
    script: Option<&str>,
    title: &str,
    class: &str,
    zone: &str,
    gate: Option<&str>,
    content: Markup,
) -> String {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                meta name="referrer" content="no-referrer";
                meta name="robots" content="noindex";
                title { (title) }
                link rel="icon" href=(TAB_ICON);
                style { (PreEscaped(STYLE)) }
            }
            body {
                main class=(class) {
                    header class="top" {
                        (icon(Icon::Gate))
                        @match gate {
                            Some(gate) => { a href=(gate) { (zone) } }
                            None => { span { (zone) } }
                        }
                    }
                    (content)
                }
                @if let Some(script) = script { script { (PreEscaped(script)) } }
            }
        }
    }
    .into_string()
}

#[derive(Clone, Copy)]
pub(super) enum Icon {
    Gate,
    Film,
    Download,
    Lock,
    Clock,
    Compass,
    Plug,
    Shield,
}

pub(super) fn icon(icon: Icon) -> Markup {
    let paths = match icon {
        Icon::Gate => "M6 20V10a6 6 0 0 1 12 0v10M3 20h18M12 20v-8",
        Icon::Film => "M3 6.5h18v13H3zM3 11h18M7 6.5l2.5 4.5M13 6.5l2.5 4.5",
        Icon::Download => "M12 4v11M7.5 11l4.5 4.5 4.5-4.5M4.5 20h15",
        Icon::Lock => "M5.5 11h13v9h-13zM8.5 11V7.5a3.5 3.5 0 0 1 7 0V11M12 14.5v2",
        Icon::Clock => "M12 3.5a8.5 8.5 0 1 0 0 17 8.5 8.5 0 0 0 0-17zM12 8v4.5l3 2",
        Icon::Compass => "M12 3.5a8.5 8.5 0 1 0 0 17 8.5 8.5 0 0 0 0-17zM15.5 8.5l-2 5-5 2 2-5z",
        Icon::Plug => "M9 3.5v4M15 3.5v4M6.5 7.5h11v3a5.5 5.5 0 0 1-11 0zM12 16v4.5",
        Icon::Shield => {
            "M12 3.5l7 2.5v5c0 4.5-3 7.700-7 9.500-4-1.800-7-5-7-9.500V6zM12 8.500v4M12 15.600v.1"
        }
    };
    html! { svg viewBox="0 0 24 24" aria-hidden="true" { path d=(paths); } }
}

#[cfg(test)]
pub(super) mod tests {
    use crate::portal::style::STYLE;

    /// Holds what every page promises: small, nothing from elsewhere, nothing that the policy would block.
    pub(in crate::portal) fn assert_is_one_file(html: &str) {
        assert!(html.len() < 15_000, "{} bytes", html.len());
        let body = html.split_once(STYLE).expect("the stylesheet, byte for byte").1;
        for foreign in ["<script", "<style", " style=", " src=", "<form", "<iframe", "<link", "javascript:"] {
            assert!(!body.contains(foreign), "{foreign} in {body}");
        }
    }
}
