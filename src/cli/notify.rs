//! `ztgate notify test`: whether notifications arrive. Works from the configuration alone, without a running gateway.

use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

use jiff::Timestamp;

use crate::config::Config;
use crate::notify::{Answer, Event, Target, TargetKind, What};

use super::style::{Style, Tone};

#[derive(Debug, clap::Args)]
pub struct NotifyArgs {
    #[command(subcommand)]
    verb: NotifyVerb,
}

#[derive(Debug, clap::Subcommand)]
enum NotifyVerb {
    /// Send a test to each receiver, and say what came back; 1 if one did not get it
    Test {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
}

pub fn run(args: &NotifyArgs, file: &Path, out: &mut dyn Write, style: Style) -> anyhow::Result<ExitCode> {
    let NotifyVerb::Test { json } = args.verb;
    let config = super::load(file)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let tried = runtime.block_on(test(&config, Timestamp::now()));
    if json {
        writeln!(out, "{}", as_json(&tried))?;
    } else {
        out.write_all(table(&tried, style).as_bytes())?;
    }
    if tried.is_empty() {
        eprintln!(
            "ztgate: nobody is told anything: there is no [notify] in {}; deploy/notify.md has examples",
            file.display()
        );
    }
    let arrived = !tried.is_empty() && tried.iter().all(|tried| tried.answer.is_delivered());
    Ok(if arrived { ExitCode::SUCCESS } else { ExitCode::from(super::NO) })
}

/// One receiver and what it said.
struct Tried {
    kind: TargetKind,
    url: String,
    answer: Answer,
}

async fn test(config: &Config, now: Timestamp) -> Vec<Tried> {
    let event = Event::new(config.network, now, What::Test);
    let mut tried = Vec::new();
    for target in TargetKind::ALL.into_iter().filter_map(|kind| Target::of(kind, &config.notify)) {
        let answer = target.deliver(&event, now).await;
        tried.push(Tried { kind: target.kind(), url: target.url().to_string(), answer });
    }
    tried
}

fn table(tried: &[Tried], style: Style) -> String {
    let rows: Vec<_> = tried
        .iter()
        .map(|Tried { kind, url, answer }| {
            let tone = if answer.is_delivered() { Tone::Good } else { Tone::Bad };
            vec![
                (Tone::Name, kind.as_str().to_owned()),
                (Tone::Plain, url.clone()),
                (tone, answer.to_string()),
            ]
        })
        .collect();
    style.columns(&rows)
}

/// `[{"receiver":"ntfy","url":"https://ntfy.sh","delivered":true,"answer":"…"}]`
fn as_json(tried: &[Tried]) -> serde_json::Value {
    let one = |Tried { kind, url, answer }: &Tried| {
        let delivered = answer.is_delivered();
        serde_json::json!({
            "receiver": kind.as_str(), "url": url, "delivered": delivered, "answer": answer.to_string(),
        })
    };
    tried.iter().map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::from_text;

    #[tokio::test]
    async fn each_receiver_is_told_and_says_what_it_said() {
        let app = axum::Router::new().route("/topic", axum::routing::post(|| async { "ok" }));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(async move { axum::serve(listener, app).await });
        let text = format!(
            "network = \"5e02d9cb41c0ffee\"\nzone = \"home.arpa\"\n[notify]\nntfy = \"http://127.0.0.1:{port}/topic\"\n\
             webhook = \"http://127.0.0.1:{port}/s3cret\"\nsecret_file = \"/nonexistent/secret\"\n"
        );
        let config = from_text(&text, &[]).unwrap();
        let tried = test(&config, "2026-11-23T12:00:00Z".parse().unwrap()).await;
        let said = table(&tried, Style::PLAIN).replace(&port.to_string(), "PORT");
        insta::assert_snapshot!(said, @r#"
        webhook  http://127.0.0.1:PORT  /nonexistent/secret: there is no such file; check the path in ztgate.toml
        ntfy     http://127.0.0.1:PORT  delivered: HTTP 200 OK
        "#);
        assert_eq!(as_json(&tried)[1]["delivered"], true);
        assert!(!as_json(&tried).to_string().contains("s3cret"));
    }
}
