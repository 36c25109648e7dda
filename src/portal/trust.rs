//! The trust page: what makes this device trust the zone's certificates, step by step, and whether it does already.

use maud::{Markup, html};

use super::layout::page_with;
use super::platform::{Platform, is_firefox};
use super::style::{OWN_PAGE_ONLY, sha256_source};

/// Asks over https whether the certificate is trusted, and again every three seconds while the steps are followed. It asks
/// a name that is there for nothing else: a browser in which a warning was clicked away takes that name's certificate from
/// then on, for scripts, too. What it asks stands in the page: the script is the same for everybody, so that the policy
/// can name it by its hash.
const PROBE: &str = include_str!("probe.js");

/// The page's path on the gateway's own name.
pub const TRUST_PATH: &str = "/trust";
/// What the page asks the probe's name for over https; any answer is a yes. The page names its origin, by which the gateway
/// knows it.
pub const PROBE_PATH: &str = "/trust/probe";

/// What the page tells.
#[derive(Clone, Copy, Debug)]
pub struct TrustPage<'a> {
    pub zone: &'a str,
    /// The gateway's own name by each lane, without a slash at the end.
    pub http: &'a str,
    pub https: &'a str,
    /// The same of the name that only the page itself asks, over https.
    pub probe: &'a str,
    /// What the browser calls itself.
    pub user_agent: &'a str,
    pub vouched: Vouched<'a>,
}

/// Who vouches for the zone's certificates.
#[derive(Clone, Copy, Debug)]
pub enum Vouched<'a> {
    /// Our own CA, by this root.
    ByUs(RootFacts<'a>),
    /// One that every device trusts.
    ByAPublicAuthority,
    /// Whoever made the house's own certificate files, or a server of theirs.
    BySomebodyElse,
}

/// The root certificate, as devices show it.
#[derive(Clone, Copy, Debug)]
pub struct RootFacts<'a> {
    pub subject: &'a str,
    /// SHA-256 in capital pairs with colons between.
    pub sha256: &'a str,
}

impl TrustPage<'_> {
    pub fn html(&self) -> String {
        let content = match self.vouched {
            Vouched::ByUs(root) => self.steps_for(root),
            Vouched::BySomebodyElse => html! {
                section class="hero" {
                    h1 { "Not from here" }
                    p {
                        "The certificates for " (self.zone) " come from somebody else than this gateway. "
                        "Who made them knows what a device has to trust; ask the person in charge."
                    }
                }
            },
            Vouched::ByAPublicAuthority => html! {
                section class="hero" {
                    h1 { "Nothing to install" }
                    p { "A public authority vouches for the names in " (self.zone) ", so every device trusts them already." }
                }
            },
        };
        let script = matches!(self.vouched, Vouched::ByUs(_)).then_some(PROBE);
        page_with(script, &format!("Trust {}", self.zone), "trust", self.zone, Some("/"), content)
    }

    /// The value of `Content-Security-Policy` for this page: its stylesheet, its script, and one question over https.
    pub fn policy(&self) -> String {
        format!(
            "{OWN_PAGE_ONLY}; script-src {}; connect-src {}{PROBE_PATH}",
            sha256_source(PROBE),
            self.probe
        )
    }

    fn steps_for(&self, root: RootFacts<'_>) -> Markup {
        let mine = Platform::of(self.user_agent);
        let others = Platform::ALL.into_iter().filter(|other| Some(*other) != mine);
        html! {
            section class="hero" {
                h1 { "Open it with a lock" }
                p {
                    "This house signs its own certificates. Once this device trusts its root, every name in "
                    (self.zone) " opens over https without a warning. The root is good for these names and for no others: "
                    "it cannot vouch for your bank."
                }
            }
            section {
                p class="card probe" id="probe" data-probe={ (self.probe) (PROBE_PATH) } role="status" {
                    b { "Not trusted yet." }
                    " Without scripts this cannot be seen from here: after the steps, open "
                    a href={ (self.https) (TRUST_PATH) } { (self.https) (TRUST_PATH) }
                    " and look for the lock."
                }
            }
            @if let Some(platform) = mine {
                section {
                    h2 { "On this device: " (platform.title()) }
                    div class="card" { (self.platform(platform, root)) }
                }
            }
            @if is_firefox(self.user_agent) && mine != Some(Platform::Ios) {
                section {
                    h2 { "Firefox" }
                    div class="card" { (self.firefox(mine)) }
                }
            }
            section {
                h2 { "Is it the right one?" }
                div class="card" {
                    p { "The device shows the fingerprint before it installs, or " (root.subject) " in its list afterwards. It must be this:" }
                    code class="command" { (in_pairs(root.sha256)) }
                    p {
                        "Compare it over another way than this page: the person in charge reads it from "
                        code { "ztgate certs show" } "."
                    }
                }
            }
            section {
                h2 { "Other devices" }
                @for platform in others {
                    details class="card" {
                        summary { (platform.title()) }
                        (self.platform(platform, root))
                    }
                }
                details class="card" {
                    summary { "Firefox" }
                    (self.firefox(None))
                }
                details class="card" {
                    summary { "Televisions, consoles, printers" }
                    p {
                        "Most cannot be taught a root. Use http there: "
                        "ZeroTier encrypts that, too, and the gateway knows the device either way."
                    }
                }
            }
        }
    }

    /// The steps, in the makers' own words as far as these could be found:
    /// - Apple Support 102390 (switching on full trust) and 102400 (a profile that is not installed within eight minutes is
    ///   deleted). Where a Mac has the list of profiles differs by its version.
    /// - Android since 11 opens no CA certificate by itself (developer.android.com/work/versions/android-11), and apps that
    ///   are made for Android 7 or later trust none that was added (developer.android.com/privacy-and-security/security-config).
    /// - Chromium's own certificate manager since 2025 (docs/linux/cert_management.md has the database behind it).
    fn platform(&self, platform: Platform, root: RootFacts<'_>) -> Markup {
        let profile = html! { a class="button" href="/trust/apple.mobileconfig" { "Get the profile" } };
        let certificate = html! { a class="button" href="/trust/root.crt" { "Get the certificate" } };
        match platform {
            Platform::Ios => html! {
                ol {
                    li { "In Safari: " (profile) " and allow it." }
                    li { "Within eight minutes: Settings, “Profile Downloaded” near the top, Install. It is in General, VPN & Device Management, too." }
                    li { "Settings, General, About, Certificate Trust Settings: under “Enable full trust for root certificates” switch on " b { (root.subject) } ". Without this step nothing changes." }
                }
            },
            Platform::Mac => html! {
                ol {
                    li { (profile) " and open it." }
                    li { "System Settings, General, Device Management (on older ones Privacy & Security, Profiles): open the profile, Install." }
                    li { "If a browser still warns: Keychain Access, " b { (root.subject) } ", Trust: Always Trust." }
                }
                p { "An iPad that shows this: the steps are those of “iPhone and iPad” below." }
            },
            Platform::Android => html! {
                ol {
                    li { (certificate) " and leave it in Downloads: opening it there does not install it." }
                    li { "Settings, search for “CA certificate” (under Security, Encryption & credentials, Install a certificate)." }
                    li { "CA certificate, Install anyway, and choose " code { (self.zone) ".crt" } "." }
                }
                p { "Chrome trusts it then. Most apps trust no root that was added: let those use http, which ZeroTier encrypts." }
            },
            Platform::Windows => html! {
                p { "In PowerShell, as yourself. It checks the fingerprint first, and Windows asks once more:" }
                code class="command" { (self.powershell(root)) }
                p { "Edge, Chrome, Firefox and most programs trust it then." }
            },
            Platform::Linux => html! {
                p { "In a terminal. It checks the fingerprint first:" }
                code class="command" { (self.shell(root)) }
                p { "On Fedora and Arch the last two commands are " code { "sudo trust anchor $d/" (self.zone) ".crt" } "." }
                p { "Chrome and Chromium have a list of their own: Settings, Privacy and security, Security, Manage certificates; Local certificates, Installed by you, Trusted certificates: Import " code { "/usr/local/share/ca-certificates/" (self.zone) ".crt" } "." }
            },
            Platform::ChromeOs => html! {
                ol {
                    li { (certificate) }
                    li { "Chrome's settings, search for “certificates”, Manage certificates: Local certificates, Installed by you, Trusted certificates: Import. Older ones: Authorities, Import, and tick “identifying websites”." }
                }
            },
        }
    }

    /// Firefox trusts what was added to the system since version 120 on Windows and the Mac
    /// (support.mozilla.org/kb/automatically-trust-third-party-certificates). On Android it can, and does not by itself
    /// (Fenix: `allowThirdPartyRootCerts` is false).
    fn firefox(&self, platform: Option<Platform>) -> Markup {
        let by_system = html! {
            "Firefox trusts what the system was taught, since version 120. If it warns all the same: Settings, search for “certificates”, "
            "“Allow Firefox to automatically trust third-party root certificates you install”."
        };
        let android = html! {
            "Install it as for Android, then: Settings, About Firefox, tap the logo five times; back, Secret Settings: Use third party CA certificates."
        };
        let own_list = html! {
            ol {
                li { a href="/trust/root.crt" { "Get the certificate" } "; if Firefox asks, tick “identify websites”, and you are done." }
                li { "If it was only saved: Settings, search for “certificates”, View Certificates, Authorities, Import." }
            }
        };
        html! {
            @match platform {
                Some(Platform::Windows | Platform::Mac) => p { (by_system) },
                Some(Platform::Android) => p { (android) },
                Some(_) => {
                    p { "Firefox keeps a list of its own beside the system's." }
                    (own_list)
                },
                None => {
                    p { "On Windows and Mac: " (by_system) }
                    p { "On Android: " (android) }
                    p { "Elsewhere it keeps a list of its own beside the system's:" }
                    (own_list)
                },
            }
        }
    }

    /// One line that fetches the certificate, compares its fingerprint and only then installs it for the current user.
    fn powershell(&self, root: RootFacts<'_>) -> String {
        let hex = root.sha256.replace(':', "");
        format!(
            "$f = \"$env:TEMP\\{zone}.crt\"; Invoke-WebRequest -UseBasicParsing {http}/trust/root.crt -OutFile $f; \
             if ((Get-FileHash $f -Algorithm SHA256).Hash -ne '{hex}') {{ throw 'Another fingerprint: not installed.' }}; \
             Import-Certificate -FilePath $f -CertStoreLocation Cert:\\CurrentUser\\Root",
            zone = self.zone,
            http = self.http,
        )
    }

    /// The same for the system's store of Debian and its relatives. In a folder that nobody else can write to: what was
    /// checked is what is installed.
    fn shell(&self, root: RootFacts<'_>) -> String {
        let hex = root.sha256.replace(':', "").to_ascii_lowercase();
        let zone = self.zone;
        format!(
            "d=$(mktemp -d) && curl -fsSo \"$d/root.der\" {http}/trust/root.crt && \
             echo \"{hex}  $d/root.der\" | sha256sum -c && \
             openssl x509 -inform der -in \"$d/root.der\" -out \"$d/{zone}.crt\" && \
             sudo cp \"$d/{zone}.crt\" /usr/local/share/ca-certificates/ && sudo update-ca-certificates",
            http = self.http,
        )
    }
}

/// A fingerprint that a narrow page breaks between two pairs and never within one, for it is compared by eye.
fn in_pairs(sha256: &str) -> Markup {
    html! { @for pair in sha256.split_inclusive(':') { (pair) wbr; } }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::portal::layout::tests::assert_is_one_file;

    const IPHONE: &str =
        "Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) AppleWebKit/605.1.15 Safari/604.1";
    const FIREFOX: &str = "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:140.0) Gecko/20100101 Firefox/140.0";

    const ROOT: RootFacts<'static> =
        RootFacts { subject: "ztgate root a1b2 for home.arpa", sha256: "AB:CD:EF" };

    fn example(user_agent: &'static str) -> TrustPage<'static> {
        TrustPage {
            zone: "home.arpa",
            http: "http://gate.home.arpa",
            https: "https://gate.home.arpa:8443",
            probe: "https://trust-probe.home.arpa:8443",
            user_agent,
            vouched: Vouched::ByUs(ROOT),
        }
    }

    /// The heading of the steps that are open, and what stands before the other devices.
    fn opened(html: &str) -> &str {
        html.split_once("Other devices").unwrap().0
    }

    #[test]
    fn a_device_sees_its_own_steps_first() {
        let html = example(IPHONE).html();
        let first = opened(&html);
        assert!(
            first.contains("On this device: iPhone and iPad") && first.contains("Certificate Trust Settings")
        );
        assert!(first.contains("href=\"/trust/apple.mobileconfig\"") && !first.contains("PowerShell"));
        assert!(first.contains("AB:<wbr>CD:<wbr>EF"));
        let html = example(FIREFOX).html();
        let first = opened(&html);
        assert!(first.contains("On this device: Windows") && first.contains("<h2>Firefox</h2>"));
        assert!(first.contains("since version 120") && !first.contains("Secret Settings"));
        let html = example("Mozilla/5.0 (Android 15; Mobile; rv:140.0) Gecko/140.0 Firefox/140.0").html();
        let first = opened(&html);
        assert!(first.contains("Secret Settings") && !first.contains("since version 120"));
        let html = example("curl/8.14.1").html();
        assert!(!html.contains("On this device"));
        for platform in Platform::ALL {
            assert!(html.contains(&format!("<summary>{}</summary>", platform.title())), "{platform:?}");
        }
    }

    #[test]
    fn a_line_to_copy_checks_the_fingerprint_before_it_installs() {
        let page = example(FIREFOX);
        let root = ROOT;
        for (line, check, install) in [
            (page.powershell(root), "-ne 'ABCDEF'", "Import-Certificate"),
            (page.shell(root), "echo \"abcdef  $d/root.der\" | sha256sum -c &&", "update-ca-certificates"),
        ] {
            let (before, after) = line.split_once(check).unwrap_or_else(|| panic!("{line}"));
            assert!(
                before.contains("http://gate.home.arpa/trust/root.crt") && after.contains(install),
                "{line}"
            );
        }
    }

    #[test]
    fn the_policy_lets_it_ask_one_question() {
        let page = example(IPHONE);
        let html = page.html();
        // Not the page's own name: whoever clicks a warning for that away would be told that it is trusted.
        let probe = "https://trust-probe.home.arpa:8443/trust/probe";
        assert!(html.contains(&format!("data-probe=\"{probe}\"")));
        let policy = page.policy();
        assert!(policy.ends_with(&format!("; connect-src {probe}")), "{policy}");
        assert!(
            policy.contains(&sha256_source(PROBE)) && html.contains(&format!("<script>{PROBE}</script>"))
        );
        assert!(!PROBE.contains("</") && !policy.contains("unsafe"));
        assert_is_one_file(&html.replace(&format!("<script>{PROBE}</script>"), ""));
    }

    #[test]
    fn where_somebody_else_vouches_there_is_nothing_to_install() {
        for (vouched, words) in [
            (Vouched::ByAPublicAuthority, "Nothing to install"),
            (Vouched::BySomebodyElse, "ask the person in charge"),
        ] {
            let html = TrustPage { vouched, ..example(IPHONE) }.html();
            assert!(html.contains(words) && !html.contains("<script"));
            assert_is_one_file(&html);
        }
    }
}
