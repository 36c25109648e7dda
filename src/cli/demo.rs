//! `ztgate demo`: the whole gateway at once, for anybody.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};

use crate::demo::{Demo, LAPTOP, Ports, TABLET};
use crate::linux::holder::Protocol;
use crate::linux::limits;

use super::reload::{Changes, reload};
use super::style::{Style, Tone};

#[derive(Debug, clap::Args)]
pub struct DemoArgs {
    /// The first of three plain ports; TLS is 363 above it
    #[arg(long, default_value_t = 8080, value_parser = clap::value_parser!(u16).range(1..=65000))]
    port: u16,
    /// Where the demo keeps its files; they are made anew at each start
    #[arg(long, value_name = "FOLDER")]
    folder: Option<PathBuf>,
}

pub fn run(args: &DemoArgs) -> anyhow::Result<ExitCode> {
    super::run::log_to_stderr("ztgate=warn,ztgate::cli::reload=info");
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().thread_name("ztgate-aside").build()?;
    runtime.block_on(serve(args))
}

async fn serve(args: &DemoArgs) -> anyhow::Result<ExitCode> {
    let mut ends = super::run::ends()?;
    // A closed terminal ends it too: nobody is left who could.
    let mut hangup = signal(SignalKind::hangup())?;
    let ports = Ports::from(args.port);
    for port in [ports.laptop, ports.tablet, ports.television, ports.tls] {
        if let Some(holder) = crate::linux::holder::holder(Protocol::Tcp, ([127, 0, 0, 1], port).into()) {
            anyhow::bail!("port {port} is held by {holder}; try: ztgate demo --port {}", other(args.port));
        }
    }
    let folder = match &args.folder {
        Some(folder) => folder.clone(),
        None => own_folder(args.port)?,
    };
    let demo = Demo::start(&folder, ports).await?;
    tokio::select! {
        () = ready(&demo) => {}
        () = ends.recv() => return end(demo).await,
        _ = hangup.recv() => return end(demo).await,
    }
    let mut changes = Changes::watch(&super::load(&demo.config_file)?);
    print!("{}", banner(&demo, ports, Style::of_stdout()));
    loop {
        tokio::select! {
            () = ends.recv() => break,
            _ = hangup.recv() => break,
            () = changes.next() => reload(&demo.gateway, &demo.config_file, &mut changes),
        }
    }
    end(demo).await
}

async fn end(demo: Demo) -> anyhow::Result<ExitCode> {
    demo.stop().await;
    Ok(ExitCode::SUCCESS)
}

/// Waits until ports are open and the two devices are proved, which takes a moment at the first start.
async fn ready(demo: &Demo) {
    let mut tick = tokio::time::interval(Duration::from_millis(20));
    loop {
        tick.tick().await;
        if demo.gateway.is_listening() && demo.gateway.proved() >= 3 {
            return;
        }
    }
}

/// A folder of this user's and this port's in the system's folder for such things. Its name can be guessed, so what is there already must
/// be ours.
fn own_folder(port: u16) -> anyhow::Result<PathBuf> {
    let folder = std::env::temp_dir().join(format!("ztgate-demo-{}-{port}", limits::user()));
    match std::fs::symlink_metadata(&folder) {
        Ok(found) if !found.is_dir() || found.uid() != limits::user() || found.mode() & 0o022 != 0 => {
            anyhow::bail!("{} is not this user's alone; try: ztgate demo --folder FOLDER", folder.display())
        }
        _ => Ok(folder),
    }
}

/// Another first port to try, with room for the rest.
fn other(port: u16) -> u16 {
    if port > 60_000 { port - 1000 } else { port + 1000 }
}

/// What to open and to type; no line is longer than a terminal of 80 columns, unless a path of theirs is.
fn banner(demo: &Demo, ports: Ports, style: Style) -> String {
    let Ports { laptop, tablet, television, tls } = ports;
    let head = |text: &str| style.paint(Tone::Head, text);
    let quiet = |text: &str| style.paint(Tone::Quiet, text);
    let mut open = vec![
        (format!("http://films.localhost:{laptop}/"), "posters, and films of 2 GB to download"),
        (format!("http://chat.localhost:{laptop}/"), "a chat over WebSocket"),
        (format!("http://gate.localhost:{laptop}/"), "who you are, and what you may open"),
        (format!("https://films.localhost:{tls}/"), "with TLS, by a CA not trusted yet"),
    ];
    if demo.samples.aria2().is_some() {
        open.insert(2, (format!("http://aria2.localhost:{laptop}/jsonrpc"), "aria2, for apps: may add"));
    }
    let mut others = vec![
        (format!("http://chat.localhost:{tablet}/"), format!("{TABLET}: may chat")),
        (format!("http://films.localhost:{tablet}/"), format!("{TABLET}: refused, no rule lets it in")),
        (format!("http://gate.localhost:{television}/"), "a new TV: waits to be admitted".to_owned()),
    ];
    if demo.samples.aria2().is_some() {
        let aria2 = format!("http://aria2.localhost:{tablet}/jsonrpc");
        others.insert(1, (aria2, format!("{TABLET}: may see what is downloaded")));
    }
    let config = demo.config_file.display();
    format!(
        "\n{title}\n\n\
         There is no ZeroTier here, so {simulated} which device a connection\n\
         comes from, and only this machine can connect. Everything else is real.\n\n\
         {open_head}\n{open}\n\
         {others_head}\n{others}\n\
         {type_head}\n\
         \x20 alias ztgate='{program} --config {config}'\n\
         \x20 ztgate status\n\
         \x20 ztgate devices --pending\n\
         \x20 ztgate access\n\
         \x20 ztgate why {TABLET} films\n\
         \x20 ztgate audit --follow\n\
         \x20 curl -i http://films.localhost:{tablet}/\n\n\
         {edit}\n\
         {end}\n\n",
        title = head("ztgate demo: the front door of a home lab, on this machine"),
        simulated = style.paint(Tone::Odd, "the port decides"),
        open_head = head(&format!("Open in a browser, as {LAPTOP} of mum")),
        open = links(style, &open),
        others_head = head("The same gateway, as other devices see it"),
        others = links(style, &others),
        type_head = head("Type in another terminal"),
        program = program(),
        edit = quiet(&format!("Edit {config}: it takes effect when saved.")),
        end = quiet("Ctrl-C ends it."),
    )
}

/// One address a line, each with what it is.
fn links<T: AsRef<str>>(style: Style, rows: &[(String, T)]) -> String {
    let cell = |(address, what): &(String, T)| {
        vec![
            (Tone::Plain, String::new()),
            (Tone::Name, address.clone()),
            (Tone::Plain, what.as_ref().to_owned()),
        ]
    };
    style.columns(&rows.iter().map(cell).collect::<Vec<_>>())
}

/// This program as it was called, so that what is printed can be typed.
fn program() -> String {
    std::env::args_os()
        .next()
        .map_or_else(|| "ztgate".to_owned(), |name| Path::new(&name).display().to_string())
}
