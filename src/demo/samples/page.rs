//! The document around each sample page: one file, nothing from elsewhere.

use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::serve::{Answer, content};

/// What both pages share: the colours of the gateway's own, in light and dark, and the line of who asks.
const STYLE: &str = include_str!("page.css");

/// What makes a page its own. `style` and `script` are ours, byte for byte; `content` is escaped already.
pub(super) struct Page {
    pub(super) title: &'static str,
    /// Shown as the tab's icon.
    pub(super) emblem: &'static str,
    pub(super) style: &'static str,
    pub(super) script: &'static str,
    pub(super) content: Markup,
}

impl Page {
    pub(super) fn answer(self) -> Answer {
        let icon = format!(
            "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 24 24'%3E\
             %3Crect width='24' height='24' rx='6' fill='%230b6e63'/%3E%3Cpath d='{}' fill='none' \
             stroke='%23fff' stroke-width='2' stroke-linecap='round' stroke-linejoin='round'/%3E%3C/svg%3E",
            self.emblem
        );
        let document = html! {
            (DOCTYPE)
            html lang="en" {
                head {
                    meta charset="utf-8";
                    meta name="viewport" content="width=device-width, initial-scale=1, viewport-fit=cover";
                    meta name="color-scheme" content="light dark";
                    title { (self.title) }
                    link rel="icon" href=(icon);
                    style { (PreEscaped(STYLE)) (PreEscaped(self.style)) }
                }
                body {
                    (self.content)
                    script { (PreEscaped(self.script)) }
                }
            }
        };
        content("text/html; charset=utf-8", document.into_string())
    }
}
