//! The films that the demo shows, with their posters: titles and drawings made up for it.

use maud::{PreEscaped, html};

/// One film of the catalogue.
#[derive(Debug)]
pub(super) struct Film {
    /// Its name in addresses.
    pub(super) slug: &'static str,
    pub(super) title: &'static str,
    pub(super) year: u16,
    pub(super) minutes: u32,
    /// The colours of the poster's background, from the top down.
    sky: [&'static str; 3],
    /// The drawing: SVG on 400 by 600.
    art: &'static str,
}

pub(super) const FILMS: [Film; 8] = [
    Film {
        slug: "the-long-orbit",
        title: "The Long Orbit",
        year: 2031,
        minutes: 131,
        sky: ["#070a1f", "#241a52", "#7a2f6b"],
        art: r##"<g fill="#fff"><circle cx="60" cy="70" r="2"/><circle cx="140" cy="40" r="1.5"/><circle cx="330" cy="60" r="2.5"/><circle cx="370" cy="190" r="1.5"/><circle cx="40" cy="210" r="1.5"/><circle cx="250" cy="90" r="1.5"/><circle cx="90" cy="400" r="2"/><circle cx="350" cy="380" r="2"/></g><g transform="rotate(-24 200 250)"><path d="M20 250a180 52 0 0 1 360 0" fill="none" stroke="#f6c177" stroke-width="5"/><circle cx="200" cy="250" r="104" fill="#e8734f"/><path d="M98 268a104 104 0 0 0 204 0q-90 38-204 0z" fill="#b8434f"/><path d="M20 250a180 52 0 0 0 360 0" fill="none" stroke="#ffe1a8" stroke-width="5"/><circle cx="352" cy="277" r="13" fill="#fff3d6"/></g>"##,
    },
    Film {
        slug: "salt-and-signal",
        title: "Salt & Signal",
        year: 2019,
        minutes: 97,
        sky: ["#123a4a", "#1f6f78", "#f2b880"],
        art: r##"<path d="M186 120L-40 40v150zM214 120L440 30v190z" fill="#ffe9b0" opacity=".5"/><path d="M170 440l14-290h32l14 290z" fill="#f7f1e3"/><path d="M179 260h42l4 70h-50zM174 370h52l3 60h-58z" fill="#c8443a"/><path d="M176 150h48v-14h-48zM184 136v-30h32v30z" fill="#23313a"/><circle cx="200" cy="121" r="12" fill="#fff6cf"/><path d="M178 106l22-26 22 26z" fill="#c8443a"/><path d="M100 450q60-50 110-40t110 50v140H60z" fill="#16262e"/><path d="M0 470q50-22 100 0t100 0 100 0 100 0v130H0z" fill="#0f5160"/><path d="M0 510q50-18 100 0t100 0 100 0 100 0v90H0z" fill="#0b3d4b"/>"##,
    },
    Film {
        slug: "night-ferry",
        title: "Night Ferry",
        year: 2024,
        minutes: 112,
        sky: ["#0a1a33", "#173a63", "#3f6c94"],
        art: r##"<circle cx="285" cy="130" r="58" fill="#f8ecc9"/><circle cx="266" cy="118" r="9" fill="#e6d5a6"/><circle cx="302" cy="150" r="12" fill="#e6d5a6"/><path d="M0 400h400v200H0z" fill="#0a1526"/><g fill="#f8ecc9" opacity=".55"><path d="M240 420h90v5h-90zM255 442h60v5h-60zM232 464h70v5h-70zM270 486h44v5h-44z"/></g><path d="M50 340h300l-34 74H88z" fill="#d9482b"/><path d="M50 340h300l-9 20H59z" fill="#f4efe4"/><path d="M96 300h210v40H96zM130 266h120v34H130z" fill="#f4efe4"/><path d="M168 220h34v46h-34z" fill="#d9482b"/><path d="M168 232h34v10h-34z" fill="#16202e"/><g fill="#ffcf5c"><path d="M110 312h18v14h-18zM140 312h18v14h-18zM170 312h18v14h-18zM200 312h18v14h-18zM230 312h18v14h-18zM260 312h18v14h-18zM144 276h16v12h-16zM172 276h16v12h-16zM200 276h16v12h-16z"/></g>"##,
    },
    Film {
        slug: "paper-mountains",
        title: "Paper Mountains",
        year: 2008,
        minutes: 88,
        sky: ["#ffd9c2", "#ff9e8a", "#e4576f"],
        art: r##"<circle cx="200" cy="190" r="84" fill="#fff4e0"/><path d="M-20 400L110 210l70 96 70-130 170 224z" fill="#f07a72"/><path d="M110 210l70 96-40 40zM250 176l170 224-130-90z" fill="#fff" opacity=".28"/><path d="M-20 480L70 320l80 90 90-120 180 190z" fill="#b93a64"/><path d="M70 320l80 90-54 30zM240 290l180 190-140-80z" fill="#fff" opacity=".18"/><path d="M-20 600V470l90-60 110 80 110-90 130 100v100z" fill="#5d2353"/><path d="M262 120l46-14-20 40-8-16z" fill="#5d2353"/>"##,
    },
    Film {
        slug: "winter-garden",
        title: "Winter Garden",
        year: 2016,
        minutes: 104,
        sky: ["#dff1ec", "#8cc7bb", "#2d6a6a"],
        art: r##"<path d="M60 470V210a140 140 0 0 1 280 0v260z" fill="#f3faf6" opacity=".55"/><path d="M60 470V210a140 140 0 0 1 280 0v260M200 70v400M60 230h280M60 350h280M130 90v380M270 90v380" fill="none" stroke="#235556" stroke-width="5"/><path d="M200 470q-6-120 0-230" fill="none" stroke="#17403c" stroke-width="8"/><path d="M200 400q-90-10-100-90 90 0 100 90zM200 360q90-10 104-96-92 0-104 96zM200 300q-70-14-76-86 70 6 76 86zM200 270q60-10 70-80-64 2-70 80z" fill="#1f6b4f"/><circle cx="200" cy="216" r="24" fill="#e2574c"/><g fill="#fff"><circle cx="30" cy="120" r="6"/><circle cx="90" cy="50" r="5"/><circle cx="330" cy="50" r="6"/><circle cx="374" cy="160" r="5"/><circle cx="28" cy="300" r="5"/><circle cx="372" cy="310" r="7"/><circle cx="250" cy="30" r="4"/></g><path d="M0 460q200-46 400 0v140H0z" fill="#f6fbf9"/>"##,
    },
    Film {
        slug: "red-line",
        title: "Red Line",
        year: 1998,
        minutes: 119,
        sky: ["#f2e6d0", "#efc98b", "#e2793f"],
        art: r##"<circle cx="200" cy="250" r="110" fill="#d12f2a"/><path d="M0 300h400v300H0z" fill="#20191a"/><path d="M196 300h8L330 600H70z" fill="#3a2b29"/><path d="M194 300h4L130 600H92zM202 300h4l102 300h-38z" fill="#e9d5b0"/><g fill="#8a6a4f"><path d="M190 326h20l2 5h-24zM184 350h32l3 7h-38zM176 384h48l4 10h-56zM164 430h72l5 14h-82zM146 494h108l7 20H139z"/></g><path d="M150 300V180h100v120z" fill="#20191a"/><path d="M162 194h76v50h-76z" fill="#ffdf94"/><path d="M197 194h6v50h-6z" fill="#20191a"/><circle cx="168" cy="272" r="9" fill="#ffdf94"/><circle cx="232" cy="272" r="9" fill="#ffdf94"/>"##,
    },
    Film {
        slug: "low-tide",
        title: "Low Tide",
        year: 2012,
        minutes: 93,
        sky: ["#bfe9ef", "#f9e7bf", "#f4b56a"],
        art: r##"<circle cx="120" cy="150" r="56" fill="#ff8a4c"/><path d="M0 230h400v90H0z" fill="#2f9fb0"/><path d="M0 262q50-16 100 0t100 0 100 0 100 0v70H0z" fill="#57bcc2"/><path d="M0 300q60-20 130 0t140 0 130 4v296H0z" fill="#f3d9a2"/><path d="M0 380q120-40 210 0t190-6v226H0z" fill="#e3b873"/><path d="M0 470q140-40 400 6v124H0z" fill="#a8663f"/><path d="M214 372l120-40q10 40-26 58z" fill="#c23b3b"/><path d="M264 350l-26-130 74 108z" fill="#fff8ea"/><path d="M262 356l-28-140" stroke="#5b3826" stroke-width="5"/><g fill="none" stroke="#26474d" stroke-width="4"><path d="M250 110q12-12 22 0 10-12 22 0M310 150q9-9 16 0 8-9 16 0"/></g>"##,
    },
    Film {
        slug: "the-understudy",
        title: "The Understudy",
        year: 2027,
        minutes: 126,
        sky: ["#1c0a14", "#3a1020", "#16060d"],
        art: r##"<path d="M200 0L70 470h260z" fill="#ffe7b3" opacity=".5"/><ellipse cx="200" cy="466" rx="130" ry="30" fill="#ffe7b3"/><circle cx="200" cy="262" r="34" fill="#1b0b12"/><path d="M150 460q-8-150 50-160 58 10 50 160z" fill="#1b0b12"/><path d="M0 0h130q-10 240-96 330Q20 480 30 600H0zM400 0H270q10 240 96 330 14 150 4 270h30z" fill="#a3182f"/><path d="M40 0q6 200-26 320L0 300V0zM92 0q0 190-58 330l-10-10Q84 180 66 0zM360 0q-6 200 26 320l14-20V0zM308 0q0 190 58 330l10-10Q316 180 334 0z" fill="#6d0d20"/><path d="M0 0h400v44q-33 34-67 0-33 34-66 0-34 34-67 0-33 34-67 0-33 34-66 0-34 34-67 0z" fill="#c4213d"/>"##,
    },
];

impl Film {
    /// The film of that name, with its place in [`FILMS`].
    pub(super) fn find(slug: &str) -> Option<(usize, &'static Self)> {
        FILMS.iter().enumerate().find(|(_, film)| film.slug == slug)
    }

    /// The poster: an SVG document on 400 by 600. It is XML, so each element is closed: `{}`, never `;`.
    pub(super) fn poster(&self) -> String {
        let lines = self.title_lines();
        let first = 566 - 46 * (lines.len() - 1);
        html! {
            svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 400 600" {
                defs {
                    linearGradient id="sky" x2="0" y2="1" {
                        @for (colour, offset) in self.sky.iter().zip(["0", ".5", "1"]) {
                            stop offset=(offset) stop-color=(colour) {}
                        }
                    }
                    linearGradient id="shade" x2="0" y2="1" {
                        stop offset=".62" stop-opacity="0" {}
                        stop offset="1" stop-opacity=".78" {}
                    }
                }
                rect width="400" height="600" fill="url(#sky)" {}
                (PreEscaped(self.art))
                rect width="400" height="600" fill="url(#shade)" {}
                g fill="#fff" font-family="system-ui,'Segoe UI',Roboto,'Helvetica Neue',Arial,sans-serif"
                    font-weight="800" font-size="46" letter-spacing="-1" {
                    @for (number, line) in lines.iter().enumerate() {
                        text x="28" y=(first + 46 * number) { (line) }
                    }
                }
            }
        }
        .into_string()
    }

    /// The last word, and a line for what stands before it.
    fn title_lines(&self) -> Vec<&'static str> {
        match self.title.rsplit_once(' ') {
            Some((start, end)) => vec![start, end],
            None => vec![self.title],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_film_is_found_by_a_name_that_needs_no_escaping() {
        for (number, film) in FILMS.iter().enumerate() {
            assert_eq!(Film::find(film.slug).unwrap().0, number);
            assert!(film.slug.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-'), "{}", film.slug);
        }
        assert!(Film::find("").is_none());
    }

    #[test]
    fn a_poster_is_one_document_with_its_title() {
        for film in &FILMS {
            let poster = film.poster();
            assert!(poster.starts_with("<svg xmlns=\"http://www.w3.org/2000/svg\""));
            assert!(!poster.contains("href"), "nothing from elsewhere");
            assert_eq!(unclosed(&poster), Vec::<&str>::new(), "{}", film.title);
        }
        assert!(FILMS[1].poster().contains("Salt &amp;"), "as text");
    }

    /// The elements that are still open where the document ends, or where one is closed that is not.
    fn unclosed(document: &str) -> Vec<&str> {
        let mut open = Vec::new();
        for tag in document.split('<').skip(1).map(|rest| rest.split('>').next().unwrap()) {
            match tag.strip_prefix('/') {
                Some(name) if open.last() == Some(&name) => drop(open.pop()),
                Some(_) => break,
                None if tag.ends_with('/') => {}
                None => open.push(tag.split(' ').next().unwrap()),
            }
        }
        open
    }
}
