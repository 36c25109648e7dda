//! The QR code that `ztgate certs trust` prints, read by a program that knows nothing of how it was made.

use std::process::Command;

use ztgate::ca::Ca;

use super::needs;

/// Pixels a module.
const SCALE: usize = 6;

/// The printed half blocks as a picture (PGM), black where nothing is printed, as on a dark terminal.
fn picture(printed: &str) -> Vec<u8> {
    let rows = printed.lines().flat_map(|line| {
        let row = |lit: [char; 2]| line.chars().map(|c| if lit.contains(&c) { 255 } else { 0 }).collect();
        let rows: [Vec<u8>; 2] = [row(['█', '▀']), row(['█', '▄'])];
        rows
    });
    let rows: Vec<Vec<u8>> = rows.collect();
    let mut picture = format!("P5 {} {} 255\n", rows[0].len() * SCALE, rows.len() * SCALE).into_bytes();
    for row in rows {
        let wide: Vec<u8> = row.iter().flat_map(|pixel| [*pixel; SCALE]).collect();
        (0..SCALE).for_each(|_| picture.extend(&wide));
    }
    picture
}

#[test]
fn the_printed_code_leads_to_the_trust_page() {
    let Some(reader) = needs("zbarimg") else { return };
    for (zone, port, address) in [
        ("home.arpa", "", "http://gate.home.arpa/trust"),
        (
            "a-rather-long-name.of-a-house.example.org",
            "http_port = 8080\n",
            "http://gate.a-rather-long-name.of-a-house.example.org:8080/trust",
        ),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let config = folder.path().join("ztgate.toml");
        let lines =
            format!("network = \"5e02d9cb41c0ffee\"\nzone = \"{zone}\"\nstate_dir = \"state\"\n{port}");
        std::fs::write(&config, lines).unwrap();
        std::fs::create_dir(folder.path().join("state")).unwrap();
        let now = jiff::Timestamp::now();
        Ca::open_or_create(&folder.path().join("state"), &zone.parse().unwrap(), now).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_ztgate"));
        command.args(["certs", "trust", "--qr", "--config"]).arg(&config);
        let output = command.output().unwrap();
        assert!(output.status.success(), "{output:?}");
        let printed = String::from_utf8(output.stdout).unwrap();
        let (code, words): (Vec<&str>, Vec<&str>) = printed.lines().partition(|line| line.starts_with('█'));
        assert!(words[0].ends_with(address) && words[2].starts_with("sha256"), "{words:?}");

        let image = folder.path().join("code.pgm");
        std::fs::write(&image, picture(&code.join("\n"))).unwrap();
        let read = Command::new(&reader).args(["--raw", "-q"]).arg(&image).output().unwrap();
        assert_eq!(String::from_utf8_lossy(&read.stdout).trim_end(), address, "{read:?}\n{printed}");
    }
}
