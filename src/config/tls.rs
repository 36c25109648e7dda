//! `[tls]`: where the gateway's certificates come from.

use std::path::Path;

use super::read::{Item, Keys, Report, Section, quote};
use super::{Acme, AcmeNames, Tls};
use crate::model::nearest;

const TLS_KEYS: Keys<'_> = Keys {
    known: &["certificate", "key", "acme", "contact", "ca", "names"],
    not_here: &[],
    meant: &[("cert", "certificate"), ("email", "contact"), ("directory", "acme")],
};

/// What people call them, and their directories (letsencrypt.org/docs/acme-protocol-updates).
const ACME_SERVERS: [(&str, &str); 2] = [
    ("letsencrypt", "https://acme-v02.api.letsencrypt.org/directory"),
    ("letsencrypt-staging", "https://acme-staging-v02.api.letsencrypt.org/directory"),
];

pub(super) fn read(root: &Section<'_>, folder: &Path, report: &mut Report) -> Tls {
    let Some(section) = root.section("tls", report) else { return Tls::PrivateCa };
    section.only(&TLS_KEYS, report);
    if let Some(item) = section.get("acme") {
        return read_acme(root, &section, &item, folder, report).map_or(Tls::PrivateCa, Tls::Acme);
    }
    match (section.text("certificate", report), section.text("key", report)) {
        (Some(certificate), Some(key)) => {
            Tls::Files { certificate: folder.join(certificate), key: folder.join(key) }
        }
        _ => {
            for key in ["certificate", "key"] {
                if section.get(key).is_none() {
                    let hint = "name both PEM files, or write acme = \"letsencrypt\", or remove [tls] for a private CA";
                    report.error(&section.spot.missing(key), "missing", hint);
                }
            }
            Tls::PrivateCa
        }
    }
}

fn read_acme(
    root: &Section<'_>,
    section: &Section<'_>,
    server: &Item<'_>,
    folder: &Path,
    report: &mut Report,
) -> Option<Acme> {
    for key in ["certificate", "key"] {
        if let Some(item) = section.get(key) {
            let message = "certificates come from files or from acme, not from both";
            report.error(&item.spot, message, "remove one of the two");
        }
    }
    if root.get("nameserver").is_none() {
        let message = "missing: how the ACME server is shown that the zone is yours";
        let hint =
            "name the domain's name server with server, key and secret_file, or a program of yours with hook";
        report.error(&root.spot.missing("nameserver"), message, hint);
    }
    let contact = section.get("contact").and_then(|item| Some((item.text(report)?, item)));
    let contact = contact.map(|(text, item)| {
        let address = text.strip_prefix("mailto:").unwrap_or(text);
        if !address.contains('@') || address.contains([' ', ',', '?']) {
            let hint = "leave the line out, or write it like \"me@example.org\"";
            report.error(&item.spot, format!("expected a mail address, found {}", quote(text)), hint);
        }
        format!("mailto:{address}")
    });
    let names = match section.get("names").and_then(|item| Some((item.text(report)?, item))) {
        None | Some(("wildcard", _)) => AcmeNames::Wildcard,
        Some(("each", _)) => AcmeNames::Each,
        Some((other, item)) => {
            let hint = "\"wildcard\" keeps the services' names out of public logs; \"each\" names every one";
            let message = format!("expected \"wildcard\" or \"each\", found {}", quote(other));
            report.error(&item.spot, message, hint);
            AcmeNames::Wildcard
        }
    };
    let ca = section.text("ca", report).map(|file| folder.join(file));
    let text = server.text(report)?;
    let known = ACME_SERVERS.iter().find(|(name, _)| *name == text).map(|(_, url)| *url);
    let directory = known.unwrap_or(text);
    let uri = directory.parse::<http::Uri>().ok();
    if uri.is_none_or(|uri| uri.scheme_str() != Some("https") || uri.host().is_none()) {
        let names = ACME_SERVERS.map(|(name, _)| name);
        let hint = match nearest(text, names) {
            Some(near) => format!("did you mean \"{near}\"?"),
            None => format!("write \"{}\", or the https URL of a directory", names.join("\" or \"")),
        };
        report.error(&server.spot, format!("expected an ACME server, found {}", quote(text)), hint);
        return None;
    }
    Some(Acme { directory: directory.to_owned(), contact: contact.into_iter().collect(), ca, names })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Problems, from_text};

    const TOP: &str = "network = \"5e02d9cb41c0ffee\"\nzone = \"home.example.org\"\n";
    const HOOK: &str = "[nameserver]\nhook = \"dns-hook\"\n";

    fn read(lines: &str) -> Result<Tls, String> {
        let config = from_text(&format!("{TOP}{lines}"), &[]);
        config.map(|config| config.tls).map_err(|problems| Problems(&problems).to_string())
    }

    #[test]
    fn an_acme_server_by_its_name_or_its_url() {
        let Ok(Tls::Acme(acme)) =
            read(&format!("{HOOK}[tls]\nacme = \"letsencrypt\"\ncontact = \"me@example.org\"\n"))
        else {
            panic!("no ACME");
        };
        assert_eq!(acme.directory, "https://acme-v02.api.letsencrypt.org/directory");
        assert_eq!((acme.contact, acme.names), (vec!["mailto:me@example.org".into()], AcmeNames::Wildcard));
        let url = "https://127.0.0.1:14000/dir";
        let Ok(Tls::Acme(acme)) =
            read(&format!("{HOOK}[tls]\nacme = \"{url}\"\nca = \"pebble.pem\"\nnames = \"each\"\n"))
        else {
            panic!("no ACME");
        };
        assert_eq!((acme.directory.as_str(), acme.names), (url, AcmeNames::Each));
        assert_eq!(acme.ca.as_deref(), Some(Path::new("/etc/ztgate/pebble.pem")));
    }

    #[test]
    fn what_will_not_do_is_said() {
        insta::assert_snapshot!(read("[tls]\nacme = \"letsencrypt\"\n").unwrap_err(), @r#"
        ztgate.toml:1: nameserver: missing: how the ACME server is shown that the zone is yours
          hint: name the domain's name server with server, key and secret_file, or a program of yours with hook
        "#);
        insta::assert_snapshot!(read(&format!(
            "{HOOK}[tls]\nacme = \"letsencript\"\nkey = \"k.pem\"\ncontact = \"me\"\nnames = \"all\"\n"
        )).unwrap_err(), @r#"
        ztgate.toml:6: tls.acme: expected an ACME server, found "letsencript"
          hint: did you mean "letsencrypt"?
        ztgate.toml:7: tls.key: certificates come from files or from acme, not from both
          hint: remove one of the two
        ztgate.toml:8: tls.contact: expected a mail address, found "me"
          hint: leave the line out, or write it like "me@example.org"
        ztgate.toml:9: tls.names: expected "wildcard" or "each", found "all"
          hint: "wildcard" keeps the services' names out of public logs; "each" names every one
        "#);
    }
}
