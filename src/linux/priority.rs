//! How the kernel shares the processor among our own threads.

use std::io;

/// Has the calling thread, and no other, yield to the rest of the process by so many steps of niceness; each is worth a
/// quarter of the processor where two want it (sched(7)). Needs no privilege, and cannot be taken back without.
///
/// # Errors
/// Those of setpriority(2), where a sandbox forbids it.
pub fn lower_own_by(steps: i32) -> io::Result<()> {
    // SAFETY: no memory is involved. On Linux niceness is a thread's, and 0 names the calling one (setpriority(2)).
    let status = unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, own()?.saturating_add(steps)) };
    if status == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// The calling thread's niceness.
fn own() -> io::Result<i32> {
    // SAFETY: it has no preconditions; -1 is a niceness, too, so the error number is what tells (getpriority(2)).
    let (niceness, error) = unsafe {
        *libc::__errno_location() = 0;
        (libc::getpriority(libc::PRIO_PROCESS, 0), *libc::__errno_location())
    };
    if error == 0 { Ok(niceness) } else { Err(io::Error::from_raw_os_error(error)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_yields_alone() {
        let before = own().unwrap();
        let inside = std::thread::spawn(|| lower_own_by(3).and_then(|()| own()).unwrap()).join().unwrap();
        assert_eq!((inside, own().unwrap()), ((before + 3).min(19), before));
    }
}
