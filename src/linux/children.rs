//! Programs of the house's own that we start: with no privilege of ours, and ended with all that they started.

use std::io;
use std::os::unix::process::CommandExt;
use std::process::Command;

/// Lets a program start without the capabilities that the unit gives us: they would be passed on to it (capabilities(7),
/// "Ambient capabilities").
pub fn without_our_capabilities(command: &mut Command) {
    let clear = || {
        // SAFETY: it takes numbers and touches no memory (prctl(2)); it may be called between fork and exec.
        let done = unsafe { libc::prctl(libc::PR_CAP_AMBIENT, libc::PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) };
        if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
    };
    // SAFETY: the closure makes one system call, allocates nothing and takes no lock.
    unsafe { command.pre_exec(clear) };
}

/// Kills a process group, unless it is gone already. Only for the group of a child that was not waited for yet: its number
/// is nobody else's until then (waitpid(2), "zombie").
pub fn kill_group(leader: u32) {
    let Ok(group) = libc::pid_t::try_from(leader) else { return };
    // A group of 0 or 1 would be our own, or everybody.
    if group > 1 {
        // SAFETY: it takes two numbers and touches no memory (killpg(3)).
        unsafe { libc::killpg(group, libc::SIGKILL) };
    }
}
