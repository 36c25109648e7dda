//! What a browser runs on, by its own word: good enough to open the right steps first, and for nothing else.

/// Platforms whose steps differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Platform {
    /// iPhone and iPad.
    Ios,
    Mac,
    Android,
    Windows,
    Linux,
    ChromeOs,
}

impl Platform {
    pub const ALL: [Self; 6] =
        [Self::Ios, Self::Android, Self::Windows, Self::Mac, Self::Linux, Self::ChromeOs];

    /// As its makers call it.
    pub fn title(self) -> &'static str {
        match self {
            Self::Ios => "iPhone and iPad",
            Self::Mac => "Mac",
            Self::Android => "Android",
            Self::Windows => "Windows",
            Self::Linux => "Linux",
            Self::ChromeOs => "ChromeOS",
        }
    }

    /// What a `User-Agent` says. An iPad says that it is a Mac, unless its user asks for mobile pages.
    pub fn of(user_agent: &str) -> Option<Self> {
        let says = |word| user_agent.contains(word);
        // Android says Linux, and Windows once said everything, so the order matters.
        [
            (Self::Ios, ["iPhone", "iPad", "iPod"].into_iter().any(says)),
            (Self::Android, says("Android")),
            (Self::Windows, says("Windows")),
            (Self::Mac, says("Macintosh") || says("Mac OS X")),
            (Self::ChromeOs, says("CrOS")),
            (Self::Linux, says("Linux") || says("X11")),
        ]
        .into_iter()
        .find_map(|(platform, it_is)| it_is.then_some(platform))
    }
}

/// Whether the browser is Firefox with a list of roots of its own. On iOS it has none.
pub fn is_firefox(user_agent: &str) -> bool {
    user_agent.contains("Firefox/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn browsers_say_what_they_run_on() {
        for (user_agent, platform, firefox) in [
            (
                "Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) AppleWebKit/605.1.15 Safari/604.1",
                Platform::Ios,
                false,
            ),
            (
                "Mozilla/5.0 (iPad; CPU OS 18_5 like Mac OS X) AppleWebKit/605.1.15 FxiOS/140.0 Safari/605.1.15",
                Platform::Ios,
                false,
            ),
            (
                "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 Version/18.5 Safari/605.1.15",
                Platform::Mac,
                false,
            ),
            (
                "Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 Chrome/138.0.0.0 Mobile Safari/537.36",
                Platform::Android,
                false,
            ),
            ("Mozilla/5.0 (Android 15; Mobile; rv:140.0) Gecko/140.0 Firefox/140.0", Platform::Android, true),
            (
                "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:140.0) Gecko/20100101 Firefox/140.0",
                Platform::Windows,
                true,
            ),
            (
                "Mozilla/5.0 (X11; CrOS x86_64 14541.0.0) AppleWebKit/537.36 Chrome/138.0.0.0 Safari/537.36",
                Platform::ChromeOs,
                false,
            ),
            ("Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0", Platform::Linux, true),
        ] {
            assert_eq!(Platform::of(user_agent), Some(platform), "{user_agent}");
            assert_eq!(is_firefox(user_agent), firefox, "{user_agent}");
        }
        assert_eq!(Platform::of("curl/8.14.1"), None);
    }
}
