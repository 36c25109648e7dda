//! Films: a page of posters, downloads of 2 GB with ranges, and a feed of what is playing.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{Stream, StreamExt, stream};
use http::header::{self, HeaderMap, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use maud::html;
use serde_json::json;
use tokio::time::{Instant, Interval, MissedTickBehavior};

use super::catalogue::{FILMS, Film};
use super::page::Page;
use super::range::{Asked, asked};
use super::reel::{LENGTH, Reel};
use super::serve::{self, Answer, Tasks, content, refuse_method, words};
use super::told::Told;

/// One event a second: slow enough that a buffering proxy would be noticed at once.
const BEAT: Duration = Duration::from_secs(1);
const SVG: &str = "image/svg+xml";

pub(super) async fn start(tasks: &Tasks) -> io::Result<SocketAddr> {
    let premiere = Instant::now();
    serve::serve(tasks, move |request| answer(&request, premiere)).await
}

fn answer<B>(request: &Request<B>, premiere: Instant) -> Answer {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return refuse_method();
    }
    match request.uri().path() {
        "/" => page(&Told::read(request.headers())),
        "/slow" => feed(premiere),
        path => poster(path)
            .or_else(|| download(path, request))
            .unwrap_or_else(|| words(StatusCode::NOT_FOUND, "No such film.\n")),
    }
}

/// `/posters/N.svg`, counted from 1.
fn poster(path: &str) -> Option<Answer> {
    let number: usize = path.strip_prefix("/posters/")?.strip_suffix(".svg")?.parse().ok()?;
    Some(content(SVG, FILMS.get(number.checked_sub(1)?)?.poster()))
}

/// `/film/NAME.mkv`: all of it, or the part that is asked for.
fn download<B>(path: &str, request: &Request<B>) -> Option<Answer> {
    let (number, film) = Film::find(path.strip_prefix("/film/")?.strip_suffix(".mkv")?)?;
    let tag = format!("\"{}-{LENGTH}\"", film.slug);
    let (status, span, range) = match part(request, &tag) {
        Asked::Whole => (StatusCode::OK, 0..LENGTH, None),
        Asked::Part(span) => {
            let range = format!("bytes {}-{}/{LENGTH}", span.start, span.end - 1);
            (StatusCode::PARTIAL_CONTENT, span, Some(range))
        }
        Asked::Beyond => (StatusCode::RANGE_NOT_SATISFIABLE, 0..0, Some(format!("bytes */{LENGTH}"))),
    };
    let mut answer = Response::new(Reel::new(number, span).boxed_unsync());
    *answer.status_mut() = status;
    let fields = [
        (header::CONTENT_TYPE, Some("video/x-matroska".to_owned())),
        (header::CONTENT_DISPOSITION, Some(format!("attachment; filename=\"{}.mkv\"", film.slug))),
        (header::ACCEPT_RANGES, Some("bytes".to_owned())),
        (header::ETAG, Some(tag)),
        (header::CONTENT_RANGE, range),
    ];
    for (name, value) in fields {
        // Slugs, digits and our own words: always a valid value.
        if let Some(value) = value.and_then(|value| HeaderValue::try_from(value).ok()) {
            answer.headers_mut().insert(name, value);
        }
    }
    Some(answer)
}

/// A range holds for GET only, and under If-Range only for the film as it is (RFC 9110, sections 13.1.5 and 14.2).
fn part<B>(request: &Request<B>, tag: &str) -> Asked {
    let field = |name| request.headers().get(name).map(HeaderValue::as_bytes);
    let unchanged = field(header::IF_RANGE).is_none_or(|known| known == tag.as_bytes());
    match field(header::RANGE).map(str::from_utf8) {
        Some(Ok(range)) if request.method() == Method::GET && unchanged => asked(range, LENGTH),
        _ => Asked::Whole,
    }
}

/// `/slow`: server-sent events without end.
fn feed(premiere: Instant) -> Answer {
    let mut beats = tokio::time::interval(BEAT);
    // After a reader that stopped for an hour: the present, not an hour's events at once.
    beats.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let events = events(beats, premiere).map(|event| Ok::<_, Infallible>(Frame::data(event)));
    let mut answer = Response::new(StreamBody::new(events).boxed_unsync());
    let headers: &mut HeaderMap = answer.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    answer
}

fn events(beats: Interval, premiere: Instant) -> impl Stream<Item = Bytes> {
    stream::unfold(beats, move |mut beats| async move {
        let now = beats.tick().await;
        Some((event(now.duration_since(premiere).as_secs()), beats))
    })
}

/// What plays so many seconds after the first film began: one after the other, round and round.
fn event(seconds: u64) -> Bytes {
    let programme: u64 = FILMS.iter().map(seconds_of).sum();
    let mut at = seconds % programme;
    let mut playing = &FILMS[0];
    for film in &FILMS {
        playing = film;
        if at < seconds_of(film) {
            break;
        }
        at -= seconds_of(film);
    }
    let playing = json!({ "film": playing.title, "at": at, "of": seconds_of(playing) });
    format!("data: {playing}\n\n").into()
}

fn seconds_of(film: &Film) -> u64 {
    u64::from(film.minutes) * 60
}

fn page(told: &Told) -> Answer {
    let content = html! {
        main {
            header {
                h1 { "Films" }
                (told.card())
            }
            section class="now" aria-label="Now playing" {
                span class="bars" aria-hidden="true" { i {} i {} i {} i {} }
                div {
                    small { "Now playing" }
                    p { span id="film" { "–" } time id="at" { "Waiting for the feed …" } }
                    progress id="done" value="0" aria-label="How far it is" {}
                }
            }
            ul class="shelf" {
                @for (number, film) in FILMS.iter().enumerate() {
                    li {
                        a href={ "/film/" (film.slug) ".mkv" } download {
                            img src={ "/posters/" (number + 1) ".svg" } width="400" height="600" alt="";
                            h2 { (film.title) }
                            p { (film.year) " · " (film.minutes) " min" }
                            p class="get" { "Download · 2 GB" }
                        }
                    }
                }
            }
            footer { "Made-up films for the demo: each download is 2 GB of noise, and no player will play it." }
        }
    };
    Page {
        title: "Films",
        emblem: "M4 7h16v12H4zM4 11h16M8 7l2 4M14 7l2 4",
        style: include_str!("films.css"),
        script: include_str!("films.js"),
        content,
    }
    .answer()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(method: Method, path: &str, headers: &[(&str, &str)]) -> Answer {
        let mut request = Request::builder().method(method).uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        answer(&request.body(()).unwrap(), Instant::now())
    }

    fn field<'a>(answer: &'a Answer, name: &str) -> &'a str {
        answer.headers().get(name).map_or("", |value| value.to_str().unwrap())
    }

    async fn text(answer: Answer) -> String {
        String::from_utf8(answer.into_body().collect().await.unwrap().to_bytes().to_vec()).unwrap()
    }

    const FERRY: &str = "/film/night-ferry.mkv";
    const TAG: &str = "\"night-ferry-2000000000\"";

    #[test]
    fn a_download_is_whole_a_part_or_refused() {
        let table: [(&[(&str, &str)], _, _, _); 8] = [
            (&[], 200, LENGTH, ""),
            (&[("range", "bytes=0-0")], 206, 1, "bytes 0-0/2000000000"),
            (&[("range", "bytes=1999999990-")], 206, 10, "bytes 1999999990-1999999999/2000000000"),
            (&[("range", "bytes=-5")], 206, 5, "bytes 1999999995-1999999999/2000000000"),
            (&[("range", "bytes=2000000000-")], 416, 0, "bytes */2000000000"),
            (&[("range", "bytes=0-0"), ("if-range", TAG)], 206, 1, "bytes 0-0/2000000000"),
            (&[("range", "bytes=0-0"), ("if-range", "\"older\"")], 200, LENGTH, ""),
            (&[("range", "bytes=0-0,5-6")], 200, LENGTH, ""),
        ];
        for (headers, status, length, range) in table {
            let answer = ask(Method::GET, FERRY, headers);
            assert_eq!(answer.status(), status, "{headers:?}");
            assert_eq!(http_body::Body::size_hint(answer.body()).exact(), Some(length), "{headers:?}");
            assert_eq!(field(&answer, "content-range"), range, "{headers:?}");
            assert_eq!(field(&answer, "accept-ranges"), "bytes");
            assert_eq!(field(&answer, "etag"), TAG);
        }
        assert_eq!(ask(Method::HEAD, FERRY, &[("range", "bytes=0-0")]).status(), 200, "ranges are GET's");
    }

    #[tokio::test]
    async fn the_page_links_to_all_that_it_names() {
        let page = text(ask(Method::GET, "/", &[])).await;
        let links: Vec<_> = page
            .split(['"', '\''])
            .filter(|link| link.starts_with("/posters/") || link.starts_with("/film/"))
            .collect();
        assert_eq!(links.len(), 2 * FILMS.len());
        for link in links {
            assert_eq!(ask(Method::GET, link, &[]).status(), 200, "{link}");
        }
        assert!(page.contains("Salt &amp; Signal"));
        for foreign in ["http://", "https://", "//"].map(|start| format!("=\"{start}")) {
            assert!(!page.contains(&foreign), "nothing from elsewhere");
        }
    }

    #[tokio::test]
    async fn the_page_shows_what_the_gateway_said_as_text() {
        let page = text(ask(Method::GET, "/", &[("x-ztgate-device", "<script>alert(1)</script>")])).await;
        assert!(page.contains("You are <b>&lt;script&gt;alert(1)&lt;/script&gt;</b>"));
    }

    #[test]
    fn what_is_not_there_is_refused() {
        for path in
            ["/posters/0.svg", "/posters/9.svg", "/posters/x.svg", "/film/none.mkv", "/film/", "/nothing"]
        {
            assert_eq!(ask(Method::GET, path, &[]).status(), 404, "{path}");
        }
        let answer = ask(Method::POST, "/", &[]);
        assert_eq!((answer.status().as_u16(), field(&answer, "allow")), (405, "GET, HEAD"));
    }

    #[tokio::test]
    async fn the_feed_says_each_second_what_plays() {
        let answer = ask(Method::GET, "/slow", &[]);
        assert_eq!(field(&answer, "content-type"), "text/event-stream");
        let mut body = answer.into_body();
        let began = Instant::now();
        for _ in 0..2 {
            let event = body.frame().await.unwrap().unwrap().into_data().unwrap();
            let event = str::from_utf8(&event).unwrap();
            let json = event.strip_prefix("data: ").unwrap().strip_suffix("\n\n").unwrap();
            let playing: serde_json::Value = serde_json::from_str(json).unwrap();
            assert_eq!((&playing["film"], &playing["of"]), (&json!("The Long Orbit"), &json!(7860)));
        }
        assert!(began.elapsed() >= BEAT / 2, "one at once, the next a second later");
    }

    #[test]
    fn the_programme_goes_round() {
        let playing = |seconds| String::from_utf8(event(seconds).to_vec()).unwrap();
        let all = FILMS.iter().map(seconds_of).sum();
        assert!(playing(7859).contains("The Long Orbit"));
        assert!(playing(7860).contains("\"at\":0,\"film\":\"Salt & Signal\""));
        assert!(playing(all - 1).contains("The Understudy"));
        assert_eq!(playing(all), playing(0));
    }
}
