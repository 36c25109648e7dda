//! A film's bytes: made from their offset, so that any range agrees with the whole and none is ever stored.

use std::convert::Infallible;
use std::ops::Range;
use std::pin::Pin;
use std::sync::LazyLock;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

/// The bytes of one film.
pub(super) const LENGTH: u64 = 2_000_000_000;

/// After so many bytes the noise repeats. A prime, so that a range which is off by a block or a page shows.
const PERIOD: u64 = 1_048_573;
const FRAME: u64 = 64 * 1024;

/// Shared by all films and all readers: a frame is a slice of it and costs no copy.
static NOISE: LazyLock<Bytes> = LazyLock::new(|| {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let bytes = (0..PERIOD).map(|_| {
        // Knuth's constants for a 64-bit linear congruential generator; its top bits are the good ones.
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 56) as u8
    });
    bytes.collect()
});

/// Streams one span of a film.
#[derive(Debug)]
pub(super) struct Reel {
    /// Where in the noise the film begins, which makes films differ.
    begins: u64,
    left: Range<u64>,
}

impl Reel {
    pub(super) fn new(film: usize, span: Range<u64>) -> Self {
        Self { begins: film as u64 * 100_003, left: span }
    }
}

impl Body for Reel {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.left.is_empty() {
            return Poll::Ready(None);
        }
        let from = (self.begins + self.left.start) % PERIOD;
        let count = FRAME.min(PERIOD - from).min(self.left.end - self.left.start);
        self.left.start += count;
        Poll::Ready(Some(Ok(Frame::data(NOISE.slice(from as usize..(from + count) as usize)))))
    }

    fn is_end_stream(&self) -> bool {
        self.left.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left.end - self.left.start)
    }
}

#[cfg(test)]
#[allow(clippy::single_range_in_vec_init)] // Pieces of a whole, of which there is sometimes one.
mod tests {
    use aws_lc_rs::digest::{Context, SHA256};
    use http_body_util::BodyExt;

    use super::*;

    async fn hash(film: usize, pieces: &[Range<u64>]) -> Vec<u8> {
        let mut hash = Context::new(&SHA256);
        for piece in pieces {
            let mut reel = Reel::new(film, piece.clone());
            while let Some(Ok(frame)) = reel.frame().await {
                hash.update(frame.data_ref().unwrap());
            }
        }
        hash.finish().as_ref().to_vec()
    }

    #[tokio::test]
    async fn pieces_agree_with_the_whole() {
        let end = 2 * PERIOD + 77;
        let whole = hash(3, &[0..end]).await;
        for cut in [1, 4096, FRAME, FRAME + 1, PERIOD - 1, PERIOD, PERIOD + 1, end - 1] {
            assert_eq!(hash(3, &[0..cut, cut..end]).await, whole, "cut at {cut}");
        }
        let shreds: Vec<_> = (0..end).step_by(100_000).map(|at| at..(at + 100_000).min(end)).collect();
        assert_eq!(hash(3, &shreds).await, whole);
    }

    #[tokio::test]
    async fn other_places_and_other_films_have_other_bytes() {
        let here = hash(0, &[0..5000]).await;
        for (film, span) in
            [(1, 0..5000), (0, 1..5001), (0, FRAME..FRAME + 5000), (0, 1 << 20..(1 << 20) + 5000)]
        {
            assert_ne!(hash(film, &[span]).await, here);
        }
    }

    #[tokio::test]
    async fn a_film_is_as_long_as_it_says_in_small_frames() {
        let mut reel = Reel::new(0, 0..LENGTH);
        assert_eq!(reel.size_hint().exact(), Some(LENGTH));
        let mut count = 0;
        while let Some(Ok(frame)) = reel.frame().await {
            let frame = frame.into_data().unwrap().len() as u64;
            assert!(frame <= FRAME);
            count += frame;
        }
        assert_eq!(count, LENGTH);
    }
}
