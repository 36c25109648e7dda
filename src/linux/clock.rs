//! The machine's clocks, and whether the one on the wall follows a source of time.

use std::io;

use jiff::Timestamp;

use crate::model::{Clock, Moment};

/// The machine's clocks: CLOCK_REALTIME on the wall, and CLOCK_BOOTTIME, which counts sleep too. Both are read without
/// entering the kernel (vdso(7)), for the data path asks each request.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the wall clock")]
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }

    fn instant(&self) -> Moment {
        let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        // SAFETY: the kernel writes one `timespec`. It cannot fail: the clock is there since Linux 2.6.39 (clock_getres(2)).
        unsafe { libc::clock_gettime(libc::CLOCK_BOOTTIME, &mut time) };
        Moment::since_boot(time.tv_sec, time.tv_nsec)
    }
}

/// Whether something (NTP, PTP, the hypervisor) keeps the clock right, as adjtimex(2) tells. Reading needs no privilege.
///
/// # Errors
/// Those of adjtimex(2), where a sandbox forbids it.
pub fn is_synchronised() -> io::Result<bool> {
    // SAFETY: all fields are integers, for which zero is a value; `modes` = 0 reads only.
    let mut state: libc::timex = unsafe { std::mem::zeroed() };
    // SAFETY: the kernel writes one `timex`.
    let answer = unsafe { libc::adjtimex(&mut state) };
    if answer < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(answer != libc::TIME_ERROR && state.status & libc::STA_UNSYNC == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_moment_is_the_uptime_with_its_sleep() {
        let before = SystemClock.instant();
        // /proc/uptime is CLOCK_BOOTTIME in hundredths of a second (proc_uptime(5)).
        let uptime = std::fs::read_to_string("/proc/uptime").unwrap();
        let uptime: f64 = uptime.split(' ').next().unwrap().parse().unwrap();
        let after = SystemClock.instant();
        let seconds =
            |moment: Moment| moment.saturating_duration_since(Moment::since_boot(0, 0)).as_secs_f64();
        assert!(
            seconds(before) - 0.011 <= uptime && uptime <= seconds(after),
            "{before:?} {uptime} {after:?}"
        );
    }
}
