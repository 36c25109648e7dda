//! Whether the machine's clock follows a source of time.

use std::io;

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
